"""The object core: what belongs to one kind or one door only, and need not be asked of every Client."""

from __future__ import annotations

from typing import Any

import pytest

from funcs.api import admission, meta
from funcs.api.admission import Request, Rules
from funcs.api.core import CLUSTER_ROLE, CONFIG_MAP, DEPLOYMENT, NAMESPACE, POD
from funcs.api.meta import Object
from funcs.api.serving import SERVICE as KNATIVE_SERVICE
from funcs.control.client import DeleteOptions, PatchType, WriteOptions
from funcs.control.clock import ManualClock
from funcs.control.engine import LARGEST, EngineSettings
from funcs.control.memory import MemoryClient
from funcs.errors import BadRequest, FieldError, Invalid, NotFound, Unavailable, Unsupported, UnsupportedMediaType


def pod(phase: str = "Running", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"nodeName": "here", "containers": [{"name": "main"}], **spec},
        "status": {"phase": phase},
    }


class TestGrace:
    async def test_a_running_pod_lingers_until_it_is_deleted_without_grace(self) -> None:
        client = MemoryClient()
        client.seed(pod())
        lingering = await client.delete(POD, "p")
        assert lingering is not None
        assert lingering["metadata"]["deletionGracePeriodSeconds"] == 30
        assert meta.parse_timestamp(lingering["metadata"]["deletionTimestamp"]) == client.clock.now() + 30
        await client.patch_status(POD, "p", {"phase": "Failed"})
        assert await client.get(POD, "p")
        assert await client.delete(POD, "p", options=DeleteOptions(grace_seconds=0)) is None
        with pytest.raises(NotFound):
            await client.get(POD, "p")

    async def test_grace_can_be_shortened_but_not_lengthened(self) -> None:
        client = MemoryClient()
        client.seed(pod(terminationGracePeriodSeconds=20))
        for asked, granted in ((None, 20), (5, 5), (60, 5)):
            lingering = await client.delete(POD, "p", options=DeleteOptions(grace_seconds=asked))
            assert lingering is not None
            assert lingering["metadata"]["deletionGracePeriodSeconds"] == granted

    @pytest.mark.parametrize("seed", [pod("Succeeded"), pod("Failed"), pod(nodeName="")])
    async def test_a_pod_that_does_not_run_goes_at_once(self, seed: Object) -> None:
        client = MemoryClient()
        client.seed(seed)
        assert await client.delete(POD, "p") is None


class TestAdmission:
    def client(self) -> MemoryClient:
        def default(request: Request) -> None:
            request.object.setdefault("data", {}).setdefault("by", request.user or "nobody")

        def validate(request: Request) -> list[FieldError]:
            bad = (request.object.get("data") or {}).get("bad")
            return [FieldError("must not be bad", "data.bad")] if bad else []

        rules = {CONFIG_MAP: Rules(default=default, validate=validate)}
        return MemoryClient(rules=rules)

    async def test_objects_are_defaulted_and_owned_by_their_creator(self) -> None:
        made = await self.client().create(CONFIG_MAP, {"metadata": {"name": "a"}}, WriteOptions(user="alice"))
        assert made["data"] == {"by": "alice"}

    @pytest.mark.parametrize("verb", ["create", "update", "patch", "apply"])
    async def test_no_door_leads_past_validation(self, verb: str) -> None:
        client = self.client()
        await client.create(CONFIG_MAP, {"metadata": {"name": "a"}})
        bad: Object = {"metadata": {"name": "a"}, "data": {"bad": "yes"}}
        attempts = {
            "create": lambda: client.create(CONFIG_MAP, bad),
            "update": lambda: client.update(CONFIG_MAP, bad),
            "patch": lambda: client.patch(CONFIG_MAP, "a", bad),
            "apply": lambda: client.apply(CONFIG_MAP, bad),
        }
        with pytest.raises(Invalid) as caught:
            await attempts[verb]()
        assert [cause.path for cause in caught.value.causes] == ["data.bad"]
        assert "bad" not in (await client.get(CONFIG_MAP, "a"))["data"]

    async def test_rules_see_the_config_of_the_moment(self) -> None:
        config = {"config-defaults": {"x": "1"}}
        seen: list[Any] = []
        rules = {CONFIG_MAP: Rules(default=lambda request: seen.append(dict(request.config)))}
        client = MemoryClient(settings=EngineSettings(rules=rules, config=lambda: config))
        await client.create(CONFIG_MAP, {"metadata": {"name": "a"}})
        config = {"config-defaults": {"x": "2"}}
        await client.create(CONFIG_MAP, {"metadata": {"name": "b"}})
        assert [found["config-defaults"]["x"] for found in seen] == ["1", "2"]

    async def test_warnings_reach_whoever_listens(self) -> None:
        told: list[tuple[str, ...]] = []
        rules = {CONFIG_MAP: admission.Rules(warn=lambda request: ["unwise"])}
        settings = EngineSettings(rules=rules, warn=lambda kind, key, warnings: told.append(warnings))
        await MemoryClient(settings=settings).create(CONFIG_MAP, {"metadata": {"name": "a"}})
        assert told == [("unwise",)]


class TestEnvelope:
    @pytest.mark.parametrize(
        ("obj", "words"),
        [
            ({"apiVersion": "v2", "metadata": {"name": "a"}}, 'apiVersion: expected "v1"'),
            ({"kind": "Secret", "metadata": {"name": "a"}}, 'kind: expected "ConfigMap"'),
            ({"metadata": []}, "metadata: must be a mapping"),
            ({"metadata": {"name": "a", "resourceVersion": "1"}}, "resourceVersion should not be set"),
            ({"metadata": {"name": "a"}, "spec": "x"}, "spec: must be a mapping"),
            ({"metadata": {"name": "a"}, "data": {"x": object()}}, "not JSON"),
            ({"metadata": {"name": "a"}, "data": {"x": "y" * LARGEST}}, "more than"),
        ],
    )
    async def test_what_is_no_object_is_a_bad_request(self, obj: Any, words: str) -> None:
        with pytest.raises((BadRequest, Invalid)) as caught:
            await MemoryClient().create(CONFIG_MAP, obj)
        assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("metadata", "path"),
        [
            ({"labels": {"a": 1}}, "metadata.labels"),
            ({"labels": {"a": "-"}}, "metadata.labels"),
            ({"annotations": {"a/b/c": "x"}}, "metadata.annotations"),
            ({"annotations": {"a": "x" * 300_000}}, "metadata.annotations"),
            ({"finalizers": "x"}, "metadata.finalizers"),
            ({"ownerReferences": [{"kind": "Pod"}]}, "metadata.ownerReferences[0].apiVersion"),
            ({"name": "../etc"}, "metadata.name"),
            ({"namespace": "a/b"}, "metadata.namespace"),
        ],
    )
    async def test_bad_metadata_is_named(self, metadata: Any, path: str) -> None:
        with pytest.raises(Invalid) as caught:
            await MemoryClient().create(CONFIG_MAP, {"metadata": {"name": "a", **metadata}})
        assert path in [cause.path for cause in caught.value.causes]

    async def test_cluster_wide_kinds_lie_in_no_namespace(self) -> None:
        client = MemoryClient()
        with pytest.raises(BadRequest, match="lies in no namespace"):
            await client.create(NAMESPACE, {"metadata": {"name": "a", "namespace": "b"}})
        assert await client.create(NAMESPACE, {"metadata": {"name": "a"}})
        assert await client.get(NAMESPACE, "a", "ignored")

    async def test_roles_may_have_colons_in_their_names(self) -> None:
        client = MemoryClient()
        assert await client.create(CLUSTER_ROLE, {"metadata": {"name": "system:node"}})
        with pytest.raises(Invalid):
            await client.create(CLUSTER_ROLE, {"metadata": {"name": "a/b"}})

    async def test_a_name_cannot_change(self) -> None:
        client = MemoryClient()
        await client.create(CONFIG_MAP, {"metadata": {"name": "a"}})
        with pytest.raises(BadRequest, match=r"metadata\.name"):
            await client.patch(CONFIG_MAP, "a", {"metadata": {"name": "b"}})


async def test_a_patch_may_not_tear_the_metadata_out() -> None:
    client = MemoryClient()
    await client.create(CONFIG_MAP, {"metadata": {"name": "a"}})
    for operations in ([{"op": "remove", "path": "/metadata"}], [{"op": "replace", "path": "", "value": []}]):
        with pytest.raises(BadRequest):
            await client.patch(CONFIG_MAP, "a", operations, type=PatchType.JSON)


async def test_strategic_patches_are_for_kubernetes_own_kinds() -> None:
    client = MemoryClient()
    client.seed({"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "s"}})
    with pytest.raises(UnsupportedMediaType, match="strategic-merge-patch") as caught:
        await client.patch(KNATIVE_SERVICE, "s", {"spec": {}}, type=PatchType.STRATEGIC)
    assert caught.value.code == 415


async def test_managed_fields_say_who_wrote_what() -> None:
    client = MemoryClient()
    obj = {"metadata": {"name": "web", "labels": {"a": "b"}}, "spec": {"replicas": 1}}
    await client.create(DEPLOYMENT, obj, WriteOptions(manager="one"))
    await client.patch_status(DEPLOYMENT, "web", {"replicas": 1})
    changed = await client.patch(DEPLOYMENT, "web", {"spec": {"replicas": 2}}, options=WriteOptions(manager="two"))
    assert [
        (entry["manager"], entry["operation"], entry.get("subresource", ""), entry["fieldsV1"])
        for entry in changed["metadata"]["managedFields"]
    ] == [
        ("one", "Update", "", {"f:metadata": {"f:labels": {"f:a": {}}}}),
        ("funcs", "Update", "status", {"f:status": {"f:replicas": {}}}),
        ("two", "Update", "", {"f:spec": {"f:replicas": {}}}),
    ]


async def test_subresources_are_served_by_hooks_or_refused_by_name() -> None:
    async def evict(kind: Any, obj: Object, body: Object) -> Object:
        return {"evicted": meta.name(obj), **body}

    client = MemoryClient(settings=EngineSettings(hooks={"eviction": evict}))
    client.seed(pod())
    assert await client.subresource(POD, "p", "eviction", {"x": 1}) == {"evicted": "p", "x": 1}
    with pytest.raises(Unsupported, match='no subresource "binding"'):
        await client.subresource(POD, "p", "binding", {})
    with pytest.raises(NotFound):
        await client.subresource(POD, "q", "eviction", {})


async def test_a_closed_client_ends_its_watches_and_refuses_writes() -> None:
    client = MemoryClient(clock=ManualClock())
    watch = client.watch(CONFIG_MAP, resource_version="0")
    await client.close()
    assert [event async for event in watch] == []
    with pytest.raises(Unavailable):
        await client.create(CONFIG_MAP, {"metadata": {"name": "a"}})
