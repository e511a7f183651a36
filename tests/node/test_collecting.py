"""What is in use is never removed; what is not goes after an hour."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from funcs.api import core
from funcs.api.catalog import KINDS
from funcs.control.clock import ManualClock
from funcs.control.ids import RandomIds
from funcs.control.memory import MemoryClient
from funcs.oci import layer, model
from funcs.oci.layout import Layout
from runtimes.cluster.collection import KEPT, collect
from runtimes.cluster.images import ImageStore
from tests.node.harness import MACHINE, PULLER, REGISTRY, put_image

NOW = time.time()  # the layout renews by the system's clock


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def client() -> MemoryClient:
    return MemoryClient(clock=ManualClock(NOW), ids=RandomIds())


def make(layout: Layout, repository: str, content: bytes, tag: str = "1") -> model.Descriptor:
    put_image(layout, repository, tag, [[layer.file("app/content", content)]], model.Execution())
    found = layout.resolve(repository, tag)
    assert found is not None
    return found


def age(layout: Layout, seconds: float) -> None:
    for blob in layout.blobs.iterdir():
        os.utime(blob, (NOW - seconds, NOW - seconds))


async def test_what_no_tag_and_no_object_names_goes_after_an_hour(layout: Layout, client: MemoryClient) -> None:
    old, new = make(layout, "a/b", b"old"), make(layout, "a/b", b"new")
    age(layout, KEPT - 60)
    assert await collect(client, KINDS, layout, NOW) == []
    age(layout, KEPT + 60)
    removed = await collect(client, KINDS, layout, NOW)
    assert old.digest in removed
    assert layout.has(new.digest)
    assert layout.resolve("a/b", old.digest) is None
    assert await collect(client, KINDS, layout, NOW) == []


@pytest.mark.parametrize("where", ["a revision at zero", "a pod that runs by tag"])
async def test_an_image_that_an_object_names_is_kept_whole(layout: Layout, client: MemoryClient, where: str) -> None:
    old = make(layout, "a/b", b"old")
    make(layout, "a/b", b"new")
    image = f"{REGISTRY}/a/b@{old.digest}"
    spec = {"containers": [{"name": "main", "image": image if where.startswith("a rev") else f"{REGISTRY}/a/b:1"}]}
    named = {
        "a revision at zero": {"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "spec": spec},
        "a pod that runs by tag": {"apiVersion": "v1", "kind": "Pod", "spec": spec,
                                   "status": {"containerStatuses": [{"name": "main", "imageID": image}]}},
    }  # fmt: skip
    client.seed({**named[where], "metadata": {"name": "one", "namespace": "default"}})
    age(layout, 10 * KEPT)
    assert await collect(client, KINDS, layout, NOW) == []
    store = ImageStore(layout, MACHINE, REGISTRY, PULLER)
    snapshot = await store.snapshot(await store.find(image), "layers")
    assert (snapshot.directories[0] / "app/content").read_bytes() == b"old"


async def test_an_image_just_asked_for_is_kept_until_an_object_names_it(layout: Layout, client: MemoryClient) -> None:
    old = make(layout, "a/b", b"old")
    make(layout, "a/b", b"new")
    age(layout, 10 * KEPT)
    await ImageStore(layout, MACHINE, REGISTRY, PULLER).find(f"{REGISTRY}/a/b@{old.digest}")
    assert await collect(client, KINDS, layout, NOW) == []


async def test_a_deleted_object_lets_go_of_its_image(layout: Layout, client: MemoryClient) -> None:
    old = make(layout, "a/b", b"old")
    make(layout, "a/b", b"new")
    data = {"image": f"{REGISTRY}/a/b@{old.digest}"}
    client.seed({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "default"},
                 "data": data})  # fmt: skip
    age(layout, 10 * KEPT)
    assert await collect(client, KINDS, layout, NOW) == []
    await client.delete(core.CONFIG_MAP, "one", "default")
    assert old.digest in await collect(client, KINDS, layout, NOW)


async def test_snapshots_go_with_their_images_and_not_before(layout: Layout, client: MemoryClient) -> None:
    store = ImageStore(layout, MACHINE, REGISTRY, PULLER)
    make(layout, "a/b", b"old")
    old = [each for form in ("layers", "tree") for each in await unpacked(store, form)]
    make(layout, "a/b", b"new")
    new = [each for form in ("layers", "tree") for each in await unpacked(store, form)]
    later = old[0].stat().st_ctime + 1
    assert store.collect(later) == []
    age(layout, 10 * KEPT)
    assert await collect(client, KINDS, layout, NOW)
    assert store.collect(old[0].stat().st_ctime) == [], "an hour's grace"
    assert sorted(store.collect(later)) == sorted(each.name for each in old)
    assert all(each.exists() for each in new)


async def unpacked(store: ImageStore, form: str) -> tuple[Path, ...]:
    image = await store.find(f"{REGISTRY}/a/b:1")
    return (await store.snapshot(image, "tree" if form == "tree" else "layers")).directories
