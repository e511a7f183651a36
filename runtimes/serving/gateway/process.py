"""The gateway as a process: watches, reports, serves, and ends politely.

Law: serves only once everything was listed, and drains when told to stop; metrics are read over a socket of their own.
IO: the sockets given, the Client's, the line to the autoscaler.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable

from funcs.control.client import Client
from funcs.control.clock import Clock
from runtimes.http.message import Request, Response, text
from runtimes.http.server import serve

from .gateway import Gateway
from .reporter import Reporter
from .settings import GatewaySettings
from .watches import Watches


async def main_gateway(
    settings: GatewaySettings,
    client: Client,
    sock: socket.socket,
    stats_path: str,
    clock: Clock,
    *,
    random: Callable[[], float],
    stop: asyncio.Event,
    ready: Callable[[], None] = lambda: None,
    admin: socket.socket | None = None,
) -> None:
    """Serve `sock` (bound) until `stop` is set, then drain.

    `stats_path` is the autoscaler's unix socket; `random` gives 0 ≤ x < 1; `ready` is called when serving begins;
    `admin` (bound, TCP or unix) answers `GET /metrics` in Prometheus' text format and `GET /healthz`.
    """
    watches = Watches(client, clock, random)
    reporter = Reporter(stats_path, settings.name, clock)
    gateway = Gateway(settings, watches, reporter.poke, clock, random, unique=secrets.token_hex(8))
    watches.feed(gateway)
    helpers = [asyncio.create_task(watches.run()), asyncio.create_task(reporter.run(gateway))]
    admin_server = await serve(_admin(gateway), admin) if admin is not None else None
    try:
        await _unless_failed(watches.synced(), helpers)
        sock.setblocking(False)
        server = await asyncio.get_running_loop().create_server(gateway.accept, sock=sock, backlog=settings.backlog)
        try:
            ready()
            await _unless_failed(stop.wait(), helpers)
        finally:
            server.close()
            gateway.drain()
            await _until_quiet(gateway, settings.drain_timeout)
    finally:
        await gateway.close()
        if admin_server is not None:
            await admin_server.close()
        for helper in helpers:
            helper.cancel()
        await asyncio.wait(helpers)


async def _unless_failed(waiting: object, helpers: list[asyncio.Task[None]]) -> None:
    """Wait; a helper that ends first has failed, and its error is raised."""
    awaited = asyncio.ensure_future(waiting)  # type: ignore[call-overload]
    try:
        await asyncio.wait([awaited, *helpers], return_when=asyncio.FIRST_COMPLETED)
        for helper in helpers:
            if helper.done():
                helper.result()
    finally:
        awaited.cancel()


async def _until_quiet(gateway: Gateway, timeout: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await gateway.quiet.wait()


def _admin(gateway: Gateway) -> Callable[[Request], Response]:
    def handle(request: Request) -> Response:
        path = request.target.partition(b"?")[0]
        if path == b"/metrics":
            return Response(200, ((b"content-type", b"text/plain; version=0.0.4"),), gateway.metrics().encode())
        if path == b"/healthz":
            return text(200, "ok")
        return text(404, "There are /metrics and /healthz.")

    return handle
