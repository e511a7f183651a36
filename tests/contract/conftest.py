"""One contract, every Client. To add an implementation, add a way to open it to `IMPLEMENTATIONS`."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from funcs.api import catalog
from funcs.api.core import NAMESPACE
from funcs.control.client import Client
from funcs.control.clock import SystemClock
from funcs.control.ids import RandomIds
from funcs.control.memory import MemoryClient
from funcs.kube import HttpClient, from_kubeconfig
from runtimes.cluster.store import StoreClient
from tests.cluster.api.serving import Running, running

Open = Callable[[pytest.FixtureRequest, Path], AbstractAsyncContextManager[Client]]

CLUSTER = os.environ.get("FUNCS_TEST_KUBECONFIG", "")


@asynccontextmanager
async def memory(request: pytest.FixtureRequest, directory: Path) -> AsyncIterator[Client]:
    client = MemoryClient(clock=SystemClock())
    yield client
    await client.close()


@asynccontextmanager
async def store(request: pytest.FixtureRequest, directory: Path) -> AsyncIterator[Client]:
    client = await StoreClient.open(directory / "store", catalog.KINDS, SystemClock(), RandomIds())
    yield client
    await client.close()


@asynccontextmanager
async def http(request: pytest.FixtureRequest, directory: Path) -> AsyncIterator[Client]:
    """Over TLS to our own API server."""
    server: Running = request.getfixturevalue("api_server")
    client = HttpClient(await from_kubeconfig(server.kubeconfig))
    yield client
    await client.close()


@asynccontextmanager
async def cluster(request: pytest.FixtureRequest, directory: Path) -> AsyncIterator[Client]:
    """Over HTTP to a real Kubernetes."""
    client = HttpClient(await from_kubeconfig(Path(CLUSTER)))
    yield client
    await client.close()


IMPLEMENTATIONS: dict[str, Open] = {"memory": memory, "store": store, "http": http}
if CLUSTER:
    IMPLEMENTATIONS["cluster"] = cluster

_serial = itertools.count(1)


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    async with IMPLEMENTATIONS[request.param](request, tmp_path) as opened:
        yield opened


@pytest.fixture
async def namespace(client: Client) -> AsyncIterator[str]:
    made = await client.create(NAMESPACE, {"metadata": {"generateName": f"contract-{next(_serial)}-"}})
    yield made["metadata"]["name"]
    await client.delete(NAMESPACE, made["metadata"]["name"])
