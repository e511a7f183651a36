"""Serving an application on a socket that somebody else opened.

Law: the socket is inherited and outlives this process; on cancellation long answers end first, then connections, then
the server. Signals are the process's own affair. IO: the socket, the TLS files.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

_GRACE = 3  # seconds for answers under way
_BEAT = 0.05  # seconds between looks at whether they are done


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of the server's certificate and key."""

    certificate: Path
    key: Path


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    app: ASGIApp, sock: socket.socket, tls: Tls | None = None, *, closing: Callable[[], None] = lambda: None
) -> None:
    """Serve until cancelled. `closing` is called first, for the application to end its long answers."""
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", log_config=None, log_level="error",
        access_log=False, server_header=False,
        timeout_graceful_shutdown=_GRACE, timeout_keep_alive=75, backlog=2048,
        ssl_certfile=tls.certificate if tls else None, ssl_keyfile=tls.key if tls else None,
    )  # fmt: skip
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        # Accepted connections inherit it; asyncio sets it only where the listening socket names its protocol.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = _Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[sock]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        closing()
        server.should_exit = True
        while server.server_state.tasks and not serving.done():
            await asyncio.wait([serving], timeout=_BEAT)
        server.force_exit = True  # what is left are idle connections, whose clients may never say goodbye
        await serving
        raise
