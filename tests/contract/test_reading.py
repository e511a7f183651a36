"""get, list and watch, on every Client."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from funcs.api import meta
from funcs.api.core import CONFIG_MAP
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.control.client import Client, EventType, Selection, WatchEvent
from funcs.errors import BadRequest, Expired, NotFound

DEADLINE = 10.0


def config(namespace: str, name: str, labels: dict[str, str] | None = None, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {"suite": "contract", **(labels or {})}},
        "data": data,
    }


async def events(client: Client, count: int, selection: Selection, **options: Any) -> list[WatchEvent]:
    found: list[WatchEvent] = []
    async with asyncio.timeout(DEADLINE), aclosing(client.watch(CONFIG_MAP, selection, **options)) as stream:  # type: ignore[type-var]
        async for event in stream:
            found.append(event)
            if len(found) == count:
                break
    return found


def told(found: list[WatchEvent]) -> list[tuple[str, str]]:
    return [(str(event.type), meta.name(event.object)) for event in found]


async def test_what_was_created_can_be_read(client: Client, namespace: str) -> None:
    made = await client.create(CONFIG_MAP, config(namespace, "a", x="1"))
    found = await client.get(CONFIG_MAP, "a", namespace)
    assert found == made
    assert found["data"] == {"x": "1"}
    assert (found["apiVersion"], found["kind"]) == ("v1", "ConfigMap")
    assert meta.uid(found)
    assert meta.resource_version(found)
    assert meta.parse_timestamp(found["metadata"]["creationTimestamp"]) > 0


async def test_what_is_not_there_is_not_found(client: Client, namespace: str) -> None:
    with pytest.raises(NotFound, match=r"configmaps.*missing"):
        await client.get(CONFIG_MAP, "missing", namespace)


async def test_a_kind_that_is_not_served_is_not_found(client: Client) -> None:
    kind = Kind(group="nobody.example.com", version="v1", kind="Nothing", plural="nothings")
    with pytest.raises(NotFound):
        await client.list(kind)


async def test_the_caller_owns_what_it_reads(client: Client, namespace: str) -> None:
    given = config(namespace, "a", x="1")
    made = await client.create(CONFIG_MAP, given)
    given["data"]["x"] = made["data"]["x"] = "changed"
    assert (await client.get(CONFIG_MAP, "a", namespace))["data"] == {"x": "1"}


async def test_a_list_is_ordered_and_names_its_version(client: Client, namespace: str) -> None:
    for name in ("c", "a", "b"):
        await client.create(CONFIG_MAP, config(namespace, name))
    found = await client.list(CONFIG_MAP, Selection(namespace=namespace, labels="suite=contract"))
    assert [meta.name(obj) for obj in found.items] == ["a", "b", "c"]
    assert all((obj["apiVersion"], obj["kind"]) == ("v1", "ConfigMap") for obj in found.items)
    assert found.resource_version
    assert not found.continue_token


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ("app=x", ["a", "b"]),
        ("app==x,tier=front", ["a"]),
        ("app!=x,suite", ["c", "d"]),
        ("tier", ["a", "c"]),
        ("!tier,suite", ["b", "d"]),
        ("app in (x,y)", ["a", "b", "c"]),
        ("app notin (x,y),suite=contract", ["d"]),
        ("app=nobody", []),
    ],
)
async def test_labels_select(client: Client, namespace: str, labels: str, names: list[str]) -> None:
    await client.create(CONFIG_MAP, config(namespace, "a", {"app": "x", "tier": "front"}))
    await client.create(CONFIG_MAP, config(namespace, "b", {"app": "x"}))
    await client.create(CONFIG_MAP, config(namespace, "c", {"app": "y", "tier": "back"}))
    await client.create(CONFIG_MAP, config(namespace, "d"))
    found = await client.list(CONFIG_MAP, Selection(namespace=namespace, labels=labels))
    assert [meta.name(obj) for obj in found.items] == names


async def test_fields_select(client: Client, namespace: str) -> None:
    for name in ("a", "b"):
        await client.create(CONFIG_MAP, config(namespace, name))
    found = await client.list(CONFIG_MAP, Selection(namespace=namespace, fields="metadata.name=b"))
    assert [meta.name(obj) for obj in found.items] == ["b"]


@pytest.mark.parametrize(
    "selection", [Selection(labels="a in (b"), Selection(labels="a=b c"), Selection(fields="spec.nothing=1")]
)
async def test_a_selector_that_cannot_be_understood_is_refused(client: Client, selection: Selection) -> None:
    with pytest.raises(BadRequest):
        await client.list(CONFIG_MAP, selection)


async def test_pages_show_the_state_of_the_first(client: Client, namespace: str) -> None:
    for name in ("a", "b", "c", "d", "e"):
        await client.create(CONFIG_MAP, config(namespace, name))
    chosen = {"namespace": namespace, "labels": "suite=contract"}
    first = await client.list(CONFIG_MAP, Selection(**chosen, limit=2))  # type: ignore[arg-type]
    await client.create(CONFIG_MAP, config(namespace, "bb"))
    await client.delete(CONFIG_MAP, "d", namespace)
    second = await client.list(CONFIG_MAP, Selection(**chosen, limit=2, continue_token=first.continue_token))  # type: ignore[arg-type]
    third = await client.list(CONFIG_MAP, Selection(**chosen, limit=2, continue_token=second.continue_token))  # type: ignore[arg-type]
    names = [[meta.name(obj) for obj in page.items] for page in (first, second, third)]
    assert names == [["a", "b"], ["c", "d"], ["e"]]
    assert first.resource_version == second.resource_version == third.resource_version
    assert not third.continue_token


async def test_a_continue_token_of_somebody_else_is_refused(client: Client) -> None:
    with pytest.raises((BadRequest, Expired)):
        await client.list(CONFIG_MAP, Selection(limit=1, continue_token="bm9uc2Vuc2U="))


async def test_a_watch_from_a_list_misses_nothing(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config(namespace, "before"))
    selection = Selection(namespace=namespace, labels="suite=contract")
    listed = await client.list(CONFIG_MAP, selection)
    await client.create(CONFIG_MAP, config(namespace, "a"))
    await client.patch(CONFIG_MAP, "a", {"data": {"x": "1"}}, namespace)
    await client.delete(CONFIG_MAP, "a", namespace)
    found = await events(client, 3, selection, resource_version=listed.resource_version)
    assert told(found) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    versions = [int(meta.resource_version(event.object)) for event in found]
    assert versions == sorted(set(versions))
    assert found[2].object["data"] == {"x": "1"}


async def test_a_watch_from_now_begins_with_what_exists(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config(namespace, "a"))
    await client.create(CONFIG_MAP, config(namespace, "b"))
    found = await events(client, 2, Selection(namespace=namespace, labels="suite=contract"))
    assert sorted(told(found)) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_watch_sees_what_is_written_while_it_waits(client: Client, namespace: str) -> None:
    selection = Selection(namespace=namespace, labels="suite=contract")
    listed = await client.list(CONFIG_MAP, selection)
    waiting = asyncio.create_task(events(client, 1, selection, resource_version=listed.resource_version))
    await asyncio.sleep(0)
    await client.create(CONFIG_MAP, config(namespace, "a"))
    assert told(await waiting) == [("ADDED", "a")]


async def test_what_enters_and_leaves_a_selection_is_added_and_deleted(client: Client, namespace: str) -> None:
    selection = Selection(namespace=namespace, labels="colour=red")
    listed = await client.list(CONFIG_MAP, selection)
    await client.create(CONFIG_MAP, config(namespace, "a", {"colour": "blue"}))
    for colour in ("red", "blue"):
        await client.patch(CONFIG_MAP, "a", {"metadata": {"labels": {"colour": colour}}}, namespace)
    found = await events(client, 2, selection, resource_version=listed.resource_version)
    assert told(found) == [("ADDED", "a"), ("DELETED", "a")]


async def test_a_watch_ends_at_its_timeout(client: Client, namespace: str) -> None:
    listed = await client.list(CONFIG_MAP, Selection(namespace=namespace))
    found = await events(
        client, 1, Selection(namespace=namespace), resource_version=listed.resource_version, timeout=1.0
    )
    assert [event for event in found if event.type is not EventType.BOOKMARK] == []
