"""Controllers over a MemoryClient come to rest, in order or in chaos, and then cost nothing."""

from __future__ import annotations

import pytest

from funcs.api import meta
from funcs.api.core import CONFIG_MAP, DEPLOYMENT, REPLICA_SET
from funcs.api.meta import Key, Object
from funcs.control.client import Client
from funcs.control.controller import Cache, Controller, LookAgain, Watch, owner_key
from funcs.control.memory import MemoryClient, Write
from funcs.control.testing import Chaos, World, settle
from funcs.errors import Invalid, NotFound, Unavailable


def copying(client: Client, cache: Cache) -> list[Controller]:
    """A ReplicaSet for each Deployment, its replicas copied down and its status copied up."""

    async def reconcile(key: Key) -> None:
        owner = cache.get(DEPLOYMENT, key.name, key.namespace)
        if owner is None:
            return
        children = cache.owned_by(REPLICA_SET, meta.uid(owner))
        replicas = meta.spec(owner)["replicas"]
        if not children:
            await client.create(REPLICA_SET, _child(owner, replicas))
        elif meta.spec(children[0])["replicas"] != replicas:
            await client.patch(REPLICA_SET, meta.name(children[0]), {"spec": {"replicas": replicas}}, key.namespace)
        elif meta.status(owner).get("replicas") != replicas:
            await client.patch_status(DEPLOYMENT, key.name, {"replicas": replicas}, key.namespace)

    return [Controller("copying", reconcile, (Watch(DEPLOYMENT), Watch(REPLICA_SET, owner_key(DEPLOYMENT))))]


def _child(owner: Object, replicas: int) -> Object:
    return {
        "metadata": {
            "name": f"{meta.name(owner)}-1",
            "namespace": meta.namespace(owner),
            "ownerReferences": [meta.controller_reference(owner, DEPLOYMENT)],
        },
        "spec": {"replicas": replicas},
    }


def deployment(name: str = "web", replicas: int = 2) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": replicas},
    }


async def test_a_world_settles_and_the_writes_are_recorded() -> None:
    client = MemoryClient()
    client.seed(deployment())
    await settle(copying, client)
    assert [str(write) for write in client.writes] == [
        "create replicasets.apps default/web-1",
        "patch deployments.apps default/web/status",
    ]


async def test_a_settled_world_costs_no_writes() -> None:
    client = MemoryClient()
    client.seed(deployment())
    await settle(copying, client)
    client.take_writes()
    await settle(copying, client)  # a second process, started on the same state
    assert client.writes == []


@pytest.mark.parametrize("seed", range(12))
async def test_chaos_in_the_watches_leads_to_the_same_end(seed: int) -> None:
    client = MemoryClient()
    client.seed(*(deployment(f"web-{index}", index) for index in range(4)))
    world = await settle(copying, client, chaos=Chaos(seed))
    await client.patch(DEPLOYMENT, "web-3", {"spec": {"replicas": 9}})
    await world.settle()
    assert {meta.name(obj): meta.spec(obj)["replicas"] for obj in client.objects(REPLICA_SET)} == {
        "web-0-1": 0,
        "web-1-1": 1,
        "web-2-1": 2,
        "web-3-1": 9,
    }
    assert await world.settle() == []


async def test_time_moves_only_by_hand() -> None:
    looks: list[float] = []

    def ticking(client: MemoryClient, cache: Cache) -> list[Controller]:
        async def reconcile(key: Key) -> LookAgain:
            looks.append(client.clock.now())
            return LookAgain(10.0)

        return [Controller("ticking", reconcile, (Watch(CONFIG_MAP),))]

    client = MemoryClient()
    client.seed({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    world = await settle(ticking, client)
    await world.advance(9.0)
    assert len(looks) == 1
    await world.advance(1.0)
    assert len(looks) == 2


async def test_controllers_that_never_rest_are_caught() -> None:
    def restless(client: MemoryClient, cache: Cache) -> list[Controller]:
        async def reconcile(key: Key) -> None:
            count = int((cache.get(CONFIG_MAP, "a", "default") or {}).get("data", {}).get("n", 0))
            await client.patch(CONFIG_MAP, "a", {"data": {"n": str(count + 1)}})

        return [Controller("restless", reconcile, (Watch(CONFIG_MAP),))]

    client = MemoryClient()
    client.seed({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    with pytest.raises(AssertionError, match="do not come to rest"):
        await settle(restless, client)


async def test_a_write_that_fails_for_now_is_tried_again() -> None:
    client = MemoryClient()
    client.seed(deployment())
    refusals = iter([Unavailable("disk full"), Unavailable("disk full")])

    def refuse(write: Write) -> None:
        error = next(refusals, None)
        if error is not None:
            raise error

    client.refuse = refuse
    await settle(copying, client)
    assert [write.verb for write in client.writes] == ["create", "create", "create", "patch"]


async def test_a_write_that_can_never_succeed_is_not_repeated() -> None:
    client = MemoryClient()
    client.seed(deployment())

    def refuse(write: Write) -> None:
        raise Invalid("no")

    client.refuse = refuse
    world = await settle(copying, client)
    assert [(failure.key, str(failure.error)) for failure in world.failures] == [(Key("default", "web"), "no")]
    assert len(client.writes) == 1


async def test_a_kind_that_nothing_watches_cannot_be_read_from_the_cache() -> None:
    world = World(copying, MemoryClient())
    with pytest.raises(LookupError, match="nothing watches v1/ConfigMap"):
        world.cache.get(CONFIG_MAP, "a")


async def test_what_is_gone_is_not_found() -> None:
    with pytest.raises(NotFound, match='configmaps "a" not found'):
        await MemoryClient().get(CONFIG_MAP, "a")
