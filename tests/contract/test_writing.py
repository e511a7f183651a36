"""create, update, apply, patch, status and scale, on every Client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from funcs.api import meta
from funcs.api.core import CONFIG_MAP, DEPLOYMENT
from funcs.api.meta import Object
from funcs.control.client import Client, PatchType, WriteOptions
from funcs.errors import AlreadyExists, BadRequest, Conflict, Invalid, NotFound


def config(namespace: str, name: str = "a", **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def deployment(namespace: str, name: str = "web", replicas: int = 0) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "paused": True,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "nowhere.example.com/none:1"}]},
            },
        },
    }


class TestCreate:
    async def test_a_name_is_taken_once(self, client: Client, namespace: str) -> None:
        await client.create(CONFIG_MAP, config(namespace))
        with pytest.raises(AlreadyExists, match='configmaps "a" already exists'):
            await client.create(CONFIG_MAP, config(namespace))

    async def test_names_can_be_generated(self, client: Client, namespace: str) -> None:
        made = [
            await client.create(CONFIG_MAP, {"metadata": {"generateName": "run-", "namespace": namespace}})
            for _ in range(3)
        ]
        names = {meta.name(obj) for obj in made}
        assert len(names) == 3
        assert all(name.startswith("run-") and len(name) == len("run-") + 5 for name in names)

    async def test_the_system_sets_its_own_fields(self, client: Client, namespace: str) -> None:
        obj = deployment(namespace)
        obj["metadata"] |= {"uid": "mine", "generation": 7, "creationTimestamp": "1999-01-01T00:00:00Z"}
        obj["status"] = {"replicas": 5}
        made = await client.create(DEPLOYMENT, obj)
        assert meta.uid(made) != "mine"
        assert meta.generation(made) == 1
        assert made["metadata"]["creationTimestamp"] > "2020"
        assert meta.status(made).get("replicas", 0) == 0

    @pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a..b", "x" * 254])
    async def test_a_bad_name_is_refused_and_named(self, client: Client, namespace: str, name: str) -> None:
        with pytest.raises(Invalid) as caught:
            await client.create(CONFIG_MAP, config(namespace, name))
        assert [cause.path for cause in caught.value.causes] == ["metadata.name"]

    async def test_labels_are_checked(self, client: Client, namespace: str) -> None:
        obj = config(namespace)
        obj["metadata"]["labels"] = {"a b": "c"}
        with pytest.raises(Invalid, match=r"metadata\.labels"):
            await client.create(CONFIG_MAP, obj)

    async def test_a_dry_run_changes_nothing(self, client: Client, namespace: str) -> None:
        made = await client.create(CONFIG_MAP, config(namespace), WriteOptions(dry_run=True))
        assert meta.name(made) == "a"
        with pytest.raises(NotFound):
            await client.get(CONFIG_MAP, "a", namespace)


class TestUpdate:
    async def test_an_update_replaces(self, client: Client, namespace: str) -> None:
        made = await client.create(CONFIG_MAP, config(namespace, x="1"))
        made["data"] = {"y": "2"}
        updated = await client.update(CONFIG_MAP, made)
        assert updated["data"] == {"y": "2"}
        assert int(meta.resource_version(updated)) > int(meta.resource_version(made))

    async def test_a_stale_update_conflicts(self, client: Client, namespace: str) -> None:
        made = await client.create(CONFIG_MAP, config(namespace))
        await client.update(CONFIG_MAP, made | {"data": {"x": "1"}})
        with pytest.raises(Conflict, match="the object has been modified") as caught:
            await client.update(CONFIG_MAP, made | {"data": {"x": "2"}})
        assert not isinstance(caught.value, AlreadyExists)

    async def test_an_update_of_nothing_is_not_found(self, client: Client, namespace: str) -> None:
        with pytest.raises(NotFound):
            await client.update(CONFIG_MAP, config(namespace))

    async def test_an_update_that_changes_nothing_keeps_the_version(self, client: Client, namespace: str) -> None:
        made = await client.create(CONFIG_MAP, config(namespace, x="1"))
        assert meta.resource_version(await client.update(CONFIG_MAP, made)) == meta.resource_version(made)

    async def test_only_one_of_many_racing_updates_wins(self, client: Client, namespace: str) -> None:
        made = await client.create(CONFIG_MAP, config(namespace))
        racing = (client.update(CONFIG_MAP, made | {"data": {"n": str(n)}}) for n in range(8))
        outcomes = await asyncio.gather(*racing, return_exceptions=True)
        assert sum(isinstance(outcome, dict) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 7

    async def test_the_generation_counts_changes_of_the_spec_only(self, client: Client, namespace: str) -> None:
        await client.create(DEPLOYMENT, deployment(namespace))
        labelled = await client.patch(DEPLOYMENT, "web", {"metadata": {"labels": {"a": "b"}}}, namespace)
        assert meta.generation(labelled) == 1
        changed = await client.patch(DEPLOYMENT, "web", {"spec": {"minReadySeconds": 5}}, namespace)
        assert meta.generation(changed) == 2


class TestStatus:
    async def test_status_and_the_rest_are_written_through_different_doors(
        self, client: Client, namespace: str
    ) -> None:
        made = await client.create(DEPLOYMENT, deployment(namespace))
        written = await client.patch_status(DEPLOYMENT, "web", {"observedGeneration": 1, "replicas": 3}, namespace)
        assert meta.status(written)["replicas"] == 3
        assert meta.generation(written) == 1
        both = await client.patch(
            DEPLOYMENT,
            "web",
            {"spec": {"minReadySeconds": 9}, "status": {"replicas": 4}},
            namespace,
            subresource="status",
        )
        assert meta.status(both)["replicas"] == 4
        assert meta.spec(both).get("minReadySeconds", 0) == meta.spec(made).get("minReadySeconds", 0)
        main = await client.patch(
            DEPLOYMENT, "web", {"spec": {"minReadySeconds": 9}, "status": {"replicas": 5}}, namespace
        )
        assert meta.status(main)["replicas"] == 4
        assert meta.spec(main)["minReadySeconds"] == 9

    async def test_the_status_can_be_put(self, client: Client, namespace: str) -> None:
        made = await client.create(DEPLOYMENT, deployment(namespace))
        made["status"] = {"observedGeneration": 1, "replicas": 2}
        made["spec"]["minReadySeconds"] = 9
        updated = await client.update(DEPLOYMENT, made, subresource="status")
        assert meta.status(updated)["replicas"] == 2
        assert meta.spec(updated).get("minReadySeconds", 0) == 0

    async def test_a_kind_without_status_has_no_such_door(self, client: Client, namespace: str) -> None:
        await client.create(CONFIG_MAP, config(namespace))
        with pytest.raises(NotFound):
            await client.patch_status(CONFIG_MAP, "a", {"x": 1}, namespace)


class TestScale:
    async def test_scaling_is_a_patch_of_the_subresource(self, client: Client, namespace: str) -> None:
        await client.create(DEPLOYMENT, deployment(namespace))
        scaled = await client.patch(DEPLOYMENT, "web", {"spec": {"replicas": 3}}, namespace, subresource="scale")
        assert (scaled["apiVersion"], scaled["kind"]) == ("autoscaling/v1", "Scale")
        assert scaled["spec"]["replicas"] == 3
        found = await client.get(DEPLOYMENT, "web", namespace)
        assert meta.spec(found)["replicas"] == 3
        assert meta.generation(found) == 2

    async def test_a_scale_below_zero_is_refused(self, client: Client, namespace: str) -> None:
        await client.create(DEPLOYMENT, deployment(namespace))
        with pytest.raises(Invalid):
            await client.patch(DEPLOYMENT, "web", {"spec": {"replicas": -1}}, namespace, subresource="scale")


class TestPatch:
    async def test_a_merge_patch_merges_and_null_removes(self, client: Client, namespace: str) -> None:
        await client.create(CONFIG_MAP, config(namespace, a="1", b="2"))
        patched = await client.patch(CONFIG_MAP, "a", {"data": {"b": None, "c": "3"}}, namespace)
        assert patched["data"] == {"a": "1", "c": "3"}

    async def test_a_json_patch_is_all_or_nothing(self, client: Client, namespace: str) -> None:
        await client.create(CONFIG_MAP, config(namespace, a="1"))
        patch = [{"op": "add", "path": "/data/b", "value": "2"}, {"op": "test", "path": "/data/a", "value": "other"}]
        with pytest.raises(Invalid):
            await client.patch(CONFIG_MAP, "a", patch, namespace, type=PatchType.JSON)
        patch[1]["value"] = "1"
        patched = await client.patch(CONFIG_MAP, "a", patch, namespace, type=PatchType.JSON)
        assert patched["data"] == {"a": "1", "b": "2"}

    async def test_a_strategic_patch_merges_containers_by_name(self, client: Client, namespace: str) -> None:
        await client.create(DEPLOYMENT, deployment(namespace))
        env = [{"name": "A", "value": "1"}]
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": env}]}}}}
        patched = await client.patch(DEPLOYMENT, "web", patch, namespace, type=PatchType.STRATEGIC)
        container = patched["spec"]["template"]["spec"]["containers"][0]
        assert container["image"] == "nowhere.example.com/none:1"
        assert container["env"] == env

    async def test_a_patch_that_states_a_stale_version_conflicts(self, client: Client, namespace: str) -> None:
        made = await client.create(CONFIG_MAP, config(namespace))
        await client.patch(CONFIG_MAP, "a", {"data": {"x": "1"}}, namespace)
        stale = {"metadata": {"resourceVersion": meta.resource_version(made)}, "data": {"x": "2"}}
        with pytest.raises(Conflict):
            await client.patch(CONFIG_MAP, "a", stale, namespace)

    async def test_a_patch_that_changes_nothing_keeps_the_version(self, client: Client, namespace: str) -> None:
        made = await client.create(CONFIG_MAP, config(namespace, x="1"))
        patched = await client.patch(CONFIG_MAP, "a", {"data": {"x": "1"}}, namespace)
        assert meta.resource_version(patched) == meta.resource_version(made)

    @pytest.mark.parametrize(("type", "patch"), [(PatchType.MERGE, []), (PatchType.JSON, {}), (PatchType.JSON, [{}])])
    async def test_what_is_no_patch_is_refused(
        self, client: Client, namespace: str, type: PatchType, patch: Any
    ) -> None:
        await client.create(CONFIG_MAP, config(namespace))
        with pytest.raises((BadRequest, Invalid)):
            await client.patch(CONFIG_MAP, "a", patch, namespace, type=type)

    async def test_a_patch_of_nothing_is_not_found(self, client: Client, namespace: str) -> None:
        with pytest.raises(NotFound):
            await client.patch(CONFIG_MAP, "a", {"data": {}}, namespace)


class TestApply:
    async def test_apply_creates_then_merges(self, client: Client, namespace: str) -> None:
        made = await client.apply(CONFIG_MAP, config(namespace, a="1"))
        assert meta.uid(made)
        await client.patch(CONFIG_MAP, "a", {"data": {"b": "2"}}, namespace)
        applied = await client.apply(CONFIG_MAP, config(namespace, a="3"))
        assert applied["data"] == {"a": "3", "b": "2"}

    async def test_what_a_manager_stops_mentioning_goes(self, client: Client, namespace: str) -> None:
        await client.apply(CONFIG_MAP, config(namespace, a="1", b="2"))
        assert (await client.apply(CONFIG_MAP, config(namespace, a="1")))["data"] == {"a": "1"}

    async def test_what_another_manager_owns_too_stays(self, client: Client, namespace: str) -> None:
        await client.apply(CONFIG_MAP, config(namespace, a="1", b="2"), WriteOptions(manager="one"))
        await client.apply(CONFIG_MAP, config(namespace, b="2"), WriteOptions(manager="two"))
        applied = await client.apply(CONFIG_MAP, config(namespace, a="1"), WriteOptions(manager="one"))
        assert applied["data"] == {"a": "1", "b": "2"}

    async def test_without_force_a_difference_of_opinion_conflicts(self, client: Client, namespace: str) -> None:
        await client.apply(CONFIG_MAP, config(namespace, a="1"), WriteOptions(manager="one"))
        with pytest.raises(Conflict, match=r"conflict with \"one\".*\.data\.a"):
            await client.apply(CONFIG_MAP, config(namespace, a="2"), WriteOptions(manager="two"), force=False)
        forced = await client.apply(CONFIG_MAP, config(namespace, a="2"), WriteOptions(manager="two"))
        assert forced["data"] == {"a": "2"}

    async def test_containers_merge_by_name(self, client: Client, namespace: str) -> None:
        await client.apply(DEPLOYMENT, deployment(namespace), WriteOptions(manager="one"))
        partial = {"name": "main", "env": [{"name": "A", "value": "1"}]}
        more: Object = {
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {"template": {"spec": {"containers": [partial]}}},
        }
        applied = await client.apply(DEPLOYMENT, more, WriteOptions(manager="two"))
        container = applied["spec"]["template"]["spec"]["containers"][0]
        assert container["image"] == "nowhere.example.com/none:1"
        assert container["env"] == [{"name": "A", "value": "1"}]
        del partial["env"]
        applied = await client.apply(DEPLOYMENT, more, WriteOptions(manager="two"))
        assert "env" not in applied["spec"]["template"]["spec"]["containers"][0]

    async def test_applying_again_changes_nothing(self, client: Client, namespace: str) -> None:
        made = await client.apply(DEPLOYMENT, deployment(namespace))
        again = await client.apply(DEPLOYMENT, deployment(namespace))
        assert meta.resource_version(again) == meta.resource_version(made)

    async def test_a_status_can_be_applied(self, client: Client, namespace: str) -> None:
        await client.apply(DEPLOYMENT, deployment(namespace))
        status: Object = {
            "metadata": {"name": "web", "namespace": namespace},
            "status": {"observedGeneration": 1, "replicas": 6},
        }
        applied = await client.apply(DEPLOYMENT, status, subresource="status")
        assert meta.status(applied)["replicas"] == 6
        assert meta.spec(applied)["paused"] is True
