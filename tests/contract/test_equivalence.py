"""The store is the memory with a disk under it: every sequence of operations ends the same in both, and reopened."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funcs.api import catalog
from funcs.api.core import CONFIG_MAP, DEPLOYMENT
from funcs.api.kinds import Kind
from funcs.control.client import Client, DeleteOptions, ObjectList, PatchType, Selection, WriteOptions
from funcs.control.clock import ManualClock
from funcs.control.ids import SerialIds
from funcs.control.memory import MemoryClient
from funcs.errors import FuncsError
from runtimes.cluster.store import StoreClient

Operation = tuple[str, Kind, str, Any]

kinds = st.sampled_from([CONFIG_MAP, DEPLOYMENT])
names = st.sampled_from(["a", "b", "c"])
bodies = st.fixed_dictionaries(
    {},
    optional={
        "data": st.dictionaries(names, st.sampled_from(["1", "2"]), max_size=2),
        "spec": st.fixed_dictionaries({"replicas": st.integers(0, 2)}),
        "status": st.fixed_dictionaries({"replicas": st.integers(0, 2)}),
        "labels": st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2"]), max_size=2),
        "finalizers": st.lists(st.sampled_from(["f.example.com/1", "f.example.com/2"]), unique=True, max_size=2),
    },
)
verbs = st.sampled_from(["create", "update", "apply", "apply", "patch", "patch", "status", "scale", "delete", "delete"])
operations = st.lists(st.tuples(verbs, kinds, names, bodies), max_size=25)


async def perform(client: Client, operation: Operation) -> object:
    """What came of it, with errors as values."""
    verb, kind, name, body = operation
    metadata = {key: body[key] for key in ("labels", "finalizers") if key in body}
    rest = {key: body[key] for key in ("data", "spec", "status") if key in body}
    obj = {"metadata": {"name": name, **metadata}, **rest}
    manager = WriteOptions(manager=f"m{len(rest)}")
    try:
        match verb:
            case "create":
                return await client.create(kind, obj, manager)
            case "update":
                return await client.update(kind, obj, manager)
            case "apply":
                return await client.apply(kind, obj, manager, force=len(metadata) != 1)
            case "patch":
                chosen = PatchType.STRATEGIC if len(rest) == 2 else PatchType.MERGE
                return await client.patch(kind, name, {"metadata": metadata, **rest}, type=chosen)
            case "status":
                return await client.patch_status(kind, name, body.get("status", {}))
            case "scale":
                return await client.patch(kind, name, {"spec": body.get("spec", {})}, subresource="scale")
            case _:
                propagation = "Foreground" if "finalizers" in body else "Background"
                return await client.delete(kind, name, options=DeleteOptions(propagation=propagation))  # type: ignore[arg-type]
    except FuncsError as error:
        return (type(error), str(error))


async def content(client: Client) -> list[ObjectList]:
    chosen = [Selection(), Selection(labels="x=1"), Selection(labels="x!=1,y")]
    return [await client.list(kind, selection) for kind in (CONFIG_MAP, DEPLOYMENT) for selection in chosen]


async def compare(sequence: list[Operation], directory: Path) -> None:
    clock = ManualClock()
    memory = MemoryClient(clock=clock)
    store = await StoreClient.open(directory, catalog.KINDS, clock, SerialIds())
    try:
        for operation in sequence:
            assert await perform(memory, operation) == await perform(store, operation)
            await clock.advance(0.4)
        wanted = await content(memory)
        assert await content(store) == wanted
    finally:
        await store.close()
    reopened = await StoreClient.open(directory, catalog.KINDS, clock, SerialIds())
    try:
        found = await content(reopened)
    finally:
        await reopened.close()
    assert [replace(listed, resource_version="") for listed in found] == [
        replace(listed, resource_version="") for listed in wanted
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations)
def test_store_and_memory_agree(sequence: list[Operation]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(compare(sequence, Path(directory)))
