"""One contract, every Client. To add an implementation, add a way to open it to `IMPLEMENTATIONS`."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from funcs.api.core import NAMESPACE
from funcs.control.client import Client
from funcs.control.clock import SystemClock
from funcs.control.memory import MemoryClient

Open = Callable[[Path], AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def memory(directory: Path) -> AsyncIterator[Client]:
    client = MemoryClient(clock=SystemClock())
    yield client
    await client.close()


IMPLEMENTATIONS: dict[str, Open] = {"memory": memory}

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
