"""One contract, every Client. To add an implementation, add a way to open it to `IMPLEMENTATIONS`."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from funcs.api import catalog
from funcs.api.core import NAMESPACE
from funcs.control.client import Client
from funcs.control.clock import SystemClock
from funcs.control.ids import RandomIds
from funcs.control.informer import Informers
from funcs.control.memory import MemoryClient
from funcs.kube import HttpClient, to_server
from runtimes.cluster.api.app import ApiServer, ApiSettings
from runtimes.cluster.api.authentication import Authenticator
from runtimes.cluster.api.server import serve
from runtimes.cluster.api.tokens import TokenKey
from runtimes.cluster.api.users import MASTERS, StaticTokens, static_token
from runtimes.cluster.store import StoreClient

Open = Callable[[Path], AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def memory(directory: Path) -> AsyncIterator[Client]:
    client = MemoryClient(clock=SystemClock())
    yield client
    await client.close()


@asynccontextmanager
async def store(directory: Path) -> AsyncIterator[Client]:
    client = await StoreClient.open(directory / "store", catalog.KINDS, SystemClock(), RandomIds())
    yield client
    await client.close()


@asynccontextmanager
async def http(directory: Path) -> AsyncIterator[Client]:
    """The same engine, behind the embedded API server and the client over HTTP."""
    clock, ids = SystemClock(), RandomIds()
    behind = await StoreClient.open(directory / "store", catalog.KINDS, clock, ids)
    key = TokenKey(ec.generate_private_key(ec.SECP256R1()))
    authenticator = Authenticator(StaticTokens([static_token("admin", [MASTERS], "secret")]), key, behind, clock)
    server = ApiServer(ApiSettings(kinds=catalog.KINDS), behind, Informers(), authenticator, clock)
    sock = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(serve(server, sock, closing=server.close))
    client = HttpClient(to_server(f"http://127.0.0.1:{sock.getsockname()[1]}", token="secret"))
    try:
        yield client
    finally:
        await client.close()
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        await behind.close()


IMPLEMENTATIONS: dict[str, Open] = {"memory": memory, "store": store, "http": http}

_serial = itertools.count(1)


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    async with IMPLEMENTATIONS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
async def namespace(client: Client) -> AsyncIterator[str]:
    made = await client.create(NAMESPACE, {"metadata": {"generateName": f"contract-{next(_serial)}-"}})
    yield made["metadata"]["name"]
    await client.delete(NAMESPACE, made["metadata"]["name"])
