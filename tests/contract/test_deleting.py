"""delete, with preconditions, finalizers and propagation, on every Client."""

from __future__ import annotations

import pytest

from funcs.api import meta
from funcs.api.core import CONFIG_MAP
from funcs.api.meta import Object
from funcs.control.client import Client, DeleteOptions, PatchType
from funcs.errors import Conflict, Invalid, NotFound

HOLD = "contract.example.com/hold"


def config(namespace: str, *finalizers: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": namespace, "finalizers": list(finalizers)},
    }


async def test_what_is_deleted_is_gone(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config(namespace))
    assert await client.delete(CONFIG_MAP, "a", namespace) is None
    with pytest.raises(NotFound):
        await client.get(CONFIG_MAP, "a", namespace)
    with pytest.raises(NotFound):
        await client.delete(CONFIG_MAP, "a", namespace)


async def test_the_name_is_free_again_for_another(client: Client, namespace: str) -> None:
    first = await client.create(CONFIG_MAP, config(namespace))
    await client.delete(CONFIG_MAP, "a", namespace)
    second = await client.create(CONFIG_MAP, config(namespace))
    assert meta.uid(first) != meta.uid(second)


async def test_a_finalizer_keeps_it_until_the_last_is_removed(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config(namespace, HOLD, f"{HOLD}-2"))
    lingering = await client.delete(CONFIG_MAP, "a", namespace)
    assert lingering is not None
    assert meta.is_deleting(lingering)
    remove = [{"op": "remove", "path": "/metadata/finalizers/0"}]
    held = await client.patch(CONFIG_MAP, "a", remove, namespace, type=PatchType.JSON)
    assert meta.finalizers(held) == [f"{HOLD}-2"]
    await client.patch(CONFIG_MAP, "a", remove, namespace, type=PatchType.JSON)
    with pytest.raises(NotFound):
        await client.get(CONFIG_MAP, "a", namespace)


async def test_deleting_twice_keeps_the_first_time(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config(namespace, HOLD))
    first = await client.delete(CONFIG_MAP, "a", namespace)
    second = await client.delete(CONFIG_MAP, "a", namespace)
    assert first is not None
    assert second is not None
    assert first["metadata"]["deletionTimestamp"] == second["metadata"]["deletionTimestamp"]
    assert meta.resource_version(first) == meta.resource_version(second)
    await client.patch(CONFIG_MAP, "a", {"metadata": {"finalizers": None}}, namespace)


async def test_no_finalizer_is_added_to_what_is_being_deleted(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config(namespace, HOLD))
    await client.delete(CONFIG_MAP, "a", namespace)
    with pytest.raises(Invalid, match=r"metadata\.finalizers"):
        await client.patch(CONFIG_MAP, "a", {"metadata": {"finalizers": [HOLD, f"{HOLD}-2"]}}, namespace)
    await client.patch(CONFIG_MAP, "a", {"metadata": {"finalizers": None}}, namespace)


async def test_a_deletion_cannot_be_taken_back(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config(namespace, HOLD))
    await client.delete(CONFIG_MAP, "a", namespace)
    patched = await client.patch(
        CONFIG_MAP, "a", {"metadata": {"deletionTimestamp": None, "labels": {"a": "b"}}}, namespace
    )
    assert meta.is_deleting(patched)
    await client.patch(CONFIG_MAP, "a", {"metadata": {"finalizers": None}}, namespace)


@pytest.mark.parametrize("options", [DeleteOptions(uid="another"), DeleteOptions(resource_version="1")])
async def test_preconditions_are_kept(client: Client, namespace: str, options: DeleteOptions) -> None:
    made = await client.create(CONFIG_MAP, config(namespace))
    with pytest.raises(Conflict, match="Precondition failed"):
        await client.delete(CONFIG_MAP, "a", namespace, options)
    fitting = DeleteOptions(uid=meta.uid(made), resource_version=meta.resource_version(made))
    assert await client.delete(CONFIG_MAP, "a", namespace, fitting) is None


@pytest.mark.parametrize(("propagation", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
async def test_propagation_waits_for_the_collector(
    client: Client, namespace: str, propagation: str, finalizer: str
) -> None:
    await client.create(CONFIG_MAP, config(namespace, HOLD))
    options = DeleteOptions(propagation=propagation)  # type: ignore[arg-type]
    lingering = await client.delete(CONFIG_MAP, "a", namespace, options)
    assert lingering is not None
    assert set(meta.finalizers(lingering)) == {HOLD, finalizer}
    assert meta.is_deleting(lingering)
    await client.patch(CONFIG_MAP, "a", {"metadata": {"finalizers": None}}, namespace)


async def test_a_dry_run_deletes_nothing(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config(namespace))
    await client.delete(CONFIG_MAP, "a", namespace, DeleteOptions(dry_run=True))
    assert await client.get(CONFIG_MAP, "a", namespace)
