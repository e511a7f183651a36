"""A live API server on an ephemeral loopback port over a MemoryClient, for protocol tests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from funcs.api import catalog, meta
from funcs.api.kinds import Kind
from funcs.api.meta import Object, Objects
from funcs.api.rules import RULES, VIEWS
from funcs.control.client import LogOptions
from funcs.control.clock import SystemClock
from funcs.control.engine import EngineSettings
from funcs.control.ids import RandomIds
from funcs.control.memory import MemoryClient
from runtimes.cluster import pki
from runtimes.cluster.api.app import ApiServer, ApiSettings
from runtimes.cluster.api.authentication import Authenticator, TokenIssuer
from runtimes.cluster.api.bootstrap import bootstrap
from runtimes.cluster.api.server import Tls, serve
from runtimes.cluster.api.tokens import TokenKey
from runtimes.cluster.api.users import MASTERS, StaticTokens, static_token

ADMIN_TOKEN = "admin-token"
ALICE_TOKEN = "alice-token"
TOKENS = StaticTokens([static_token("admin", [MASTERS], ADMIN_TOKEN), static_token("alice", ["devs"], ALICE_TOKEN)])


class Roles:
    """A Reader straight over a MemoryClient: never behind."""

    def __init__(self, client: MemoryClient) -> None:
        self._client = client

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        found = [obj for obj in self.list(kind, namespace or None) if meta.name(obj) == name]
        return found[0] if found else None

    def list(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> Objects:
        wanted = (labels or {}).items()
        return [
            obj
            for obj in self._client.objects(kind)
            if namespace in (None, meta.namespace(obj)) and wanted <= meta.labels(obj).items()
        ]


class Lines:
    """A LogSource of two lines, and then silence for who follows."""

    async def stream(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        yield b"one\n"
        yield b"two\n"
        if options.follow:
            await asyncio.Event().wait()


def signing_key() -> TokenKey:
    return TokenKey(ec.generate_private_key(ec.SECP256R1()))


def make(key: TokenKey) -> tuple[ApiServer, MemoryClient]:
    clock, ids = SystemClock(), RandomIds()
    hooks = {"token": TokenIssuer(key, clock, ids).issue}
    settings = EngineSettings(hooks=hooks, logs=Lines(), rules=RULES)
    client = MemoryClient(clock=clock, ids=ids, settings=settings)
    server = ApiServer(
        ApiSettings(kinds=catalog.KINDS, views=VIEWS, rules=RULES),
        client, Roles(client), Authenticator(TOKENS, key, client, clock), clock,
    )  # fmt: skip
    return server, client


@dataclass(frozen=True)
class Running:
    """A server in a thread of its own, so that blocking clients can be driven against it."""

    url: str
    kubeconfig: Path
    pki: pki.Pki
    client: MemoryClient
    loop: asyncio.AbstractEventLoop
    server: ApiServer

    def seed(self, *objects: Object) -> None:
        """Put objects in place, past admission."""
        asyncio.run_coroutine_threadsafe(self._seed(objects), self.loop).result(10)

    async def _seed(self, objects: tuple[Object, ...]) -> None:
        self.client.seed(*objects)


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Running]:
    """Serve in a thread until the block ends; the thread has ended when this returns."""
    clock = SystemClock()
    files = pki.ensure(directory / "pki", clock.now())
    sock = socket.create_server(("127.0.0.1", 0))
    url = f"https://127.0.0.1:{sock.getsockname()[1]}"
    config = directory / "kubeconfig"
    pki.write_private(config, yaml.safe_dump(pki.kubeconfig("test", url, files.authority_pem(), ADMIN_TOKEN)).encode())
    started: threading.Event = threading.Event()
    found: list[Running] = []
    stop: list[asyncio.Event] = []

    async def main() -> None:
        server, client = make(TokenKey(files.token_key()))
        await bootstrap(client, catalog.KINDS, VIEWS, clock.now())
        task = asyncio.create_task(serve(server, sock, Tls(files.server, files.server_key), closing=server.close))
        stop.append(asyncio.Event())
        found.append(Running(url, config, files, client, asyncio.get_running_loop(), server))
        started.set()
        await stop[0].wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    try:
        assert started.wait(20), "the server did not start"
        yield found[0]
    finally:
        if found:
            found[0].loop.call_soon_threadsafe(stop[0].set)
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"
