"""Serving's controllers, from a Service to pods wanted and back, over a Client in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from funcs.api import core, meta, serving
from funcs.api import serving_keys as keys
from funcs.api.conditions import find, is_ready
from funcs.api.meta import Object
from funcs.control.clock import ManualClock
from funcs.control.controller import Cache, Controller
from funcs.control.memory import MemoryClient
from funcs.control.testing import Chaos, World
from funcs.errors import NotFound
from runtimes.serving.autoscaler import Autoscaler
from runtimes.serving.controllers import controllers
from runtimes.serving.settings import AutoscalerSettings, ServingSettings

SETTINGS = ServingSettings(external_port=8080, autoscaler=AutoscalerSettings(stable_window=6, scale_to_zero_grace=1))
DIGEST = "@sha256:" + "a" * 64


class Platform:
    """A world of Serving's controllers, and a hand that plays the Deployment controller."""

    def __init__(self, chaos: Chaos | None = None) -> None:
        self.client = MemoryClient(rules=serving.RULES, clock=ManualClock())
        self.missing: set[str] = set()
        self.world = World(self._make, self.client, kinds=(core.CONFIG_MAP,), chaos=chaos)

    def _make(self, client: MemoryClient, cache: Cache) -> Sequence[Controller]:
        self.autoscaler = Autoscaler(client, cache, client.clock, SETTINGS)
        self.autoscaler.connected()
        return controllers(client, cache, client.clock, SETTINGS, self._digest, self.autoscaler)

    async def _digest(self, image: str) -> str:
        if image in self.missing:
            raise NotFound(f"{image}: manifest unknown")
        return image.partition(":")[0] + DIGEST

    async def apply(self, image: str = "localhost:5000/hello:1", **spec: Any) -> None:
        await self.client.apply(serving.SERVICE, service(image, **spec))
        await self.world.settle()

    async def get(self, kind: Any, name: str) -> Object:
        return await self.client.get(kind, name, "default")

    async def pods_ready(self, revision: str, count: int | None = None) -> None:
        """What the cluster would do: make as many pods as wanted, and report them ready."""
        name = f"{revision}-deployment"
        wanted = (await self.get(core.DEPLOYMENT, name))["spec"]["replicas"] if count is None else count
        status = {"replicas": wanted, "readyReplicas": wanted, "availableReplicas": wanted}
        await self.client.patch_status(core.DEPLOYMENT, name, status, "default")
        await self.world.settle()

    async def replicas(self, revision: str) -> int:
        return int((await self.get(core.DEPLOYMENT, f"{revision}-deployment"))["spec"]["replicas"])


def service(image: str, **spec: Any) -> Object:
    template = {"spec": {"containers": [{"image": image}]}, **spec.pop("template", {})}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "hello", "namespace": "default", "labels": {"team": "blue"}},
        "spec": {"template": template, **spec},
    }


@pytest.fixture(params=[None, 1, 2, 3], ids=["calm", "chaos 1", "chaos 2", "chaos 3"])
def platform(request: pytest.FixtureRequest) -> Platform:
    return Platform(Chaos(request.param) if request.param else None)


async def test_a_service_becomes_ready_once_its_pod_is(platform: Platform) -> None:
    await platform.apply()
    before = await platform.get(serving.SERVICE, "hello")
    assert find(before, "Ready").status == "Unknown"  # type: ignore[union-attr]

    await platform.pods_ready("hello-00001")

    found = await platform.get(serving.SERVICE, "hello")
    assert is_ready(found)
    assert found["status"]["url"] == "http://hello.default.localhost:8080"
    assert found["status"]["address"] == {"url": "http://hello.default.svc.cluster.local"}
    assert found["status"]["latestReadyRevisionName"] == "hello-00001"
    assert found["status"]["traffic"] == [{"latestRevision": True, "percent": 100, "revisionName": "hello-00001"}]


async def test_a_settled_world_costs_no_writes(platform: Platform) -> None:
    await platform.apply()
    await platform.pods_ready("hello-00001")
    await platform.world.settle()
    assert await platform.world.settle() == []
    for post in platform.world._posts:
        for kind in (serving.SERVICE, serving.CONFIGURATION, serving.REVISION, serving.ROUTE, serving.POD_AUTOSCALER):
            for obj in platform.client.objects(kind):
                post.queue.add(meta.key(obj))
    assert await platform.world.settle() == []


async def test_the_deployment_runs_the_image_by_digest_with_knatives_environment(platform: Platform) -> None:
    await platform.apply()
    deployment = await platform.get(core.DEPLOYMENT, "hello-00001-deployment")
    revision = await platform.get(serving.REVISION, "hello-00001")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "localhost" + DIGEST or container["image"].endswith(DIGEST)
    assert {"name": "PORT", "value": "8080"} in container["env"]
    assert {"name": "K_REVISION", "value": "hello-00001"} in container["env"]
    assert {"name": "K_SERVICE", "value": "hello"} in container["env"]
    assert container["ports"] == [{"name": "user-port", "containerPort": 8080, "protocol": "TCP"}]
    assert container["readinessProbe"]["tcpSocket"] == {"port": 8080}
    assert container["readinessProbe"]["periodSeconds"] == 1
    assert deployment["spec"]["selector"] == {"matchLabels": {keys.REVISION_UID: meta.uid(revision)}}
    assert deployment["spec"]["replicas"] == 1
    assert revision["status"]["containerStatuses"][0]["imageDigest"].endswith(DIGEST)


async def test_labels_of_the_service_reach_the_configuration_but_not_the_revision(platform: Platform) -> None:
    await platform.apply()
    configuration = await platform.get(serving.CONFIGURATION, "hello")
    revision = await platform.get(serving.REVISION, "hello-00001")
    assert meta.labels(configuration)["team"] == "blue"
    assert meta.annotations(configuration)[keys.ROUTES] == "hello"
    assert "team" not in meta.labels(revision)
    assert meta.labels(revision)[keys.ROUTING_STATE] == "active"


async def test_a_new_template_makes_a_revision_that_takes_the_traffic_when_it_is_ready(platform: Platform) -> None:
    await platform.apply()
    await platform.pods_ready("hello-00001")
    await platform.apply("localhost:5000/hello:2")

    meanwhile = await platform.get(serving.SERVICE, "hello")
    assert meanwhile["status"]["traffic"][0]["revisionName"] == "hello-00001"
    assert find(meanwhile, "Ready").status == "Unknown"  # type: ignore[union-attr]

    await platform.pods_ready("hello-00002")
    after = await platform.get(serving.SERVICE, "hello")
    assert is_ready(after)
    assert after["status"]["traffic"][0]["revisionName"] == "hello-00002"
    old = await platform.get(serving.REVISION, "hello-00001")
    assert meta.labels(old)[keys.ROUTING_STATE] == "reserve"
    assert keys.ROUTES not in meta.annotations(old)
    scaler = await platform.get(serving.POD_AUTOSCALER, "hello-00001")
    assert scaler["spec"]["reachability"] == "Unreachable"


async def test_a_change_of_labels_makes_no_revision(platform: Platform) -> None:
    await platform.apply()
    await platform.client.patch(serving.SERVICE, "hello", {"metadata": {"labels": {"team": None, "x": "y"}}}, "default")
    await platform.world.settle()
    configuration = await platform.get(serving.CONFIGURATION, "hello")
    assert "team" not in meta.labels(configuration)
    assert meta.labels(configuration)["x"] == "y"
    assert len(platform.client.objects(serving.REVISION)) == 1


async def test_an_idle_revision_goes_to_zero_and_stays_ready(platform: Platform) -> None:
    await platform.apply()
    await platform.pods_ready("hello-00001")
    for _ in range(8):
        await platform.world.advance(2)
    assert await platform.replicas("hello-00001") == 0
    await platform.pods_ready("hello-00001")
    revision = await platform.get(serving.REVISION, "hello-00001")
    assert is_ready(revision)
    active = find(revision, "Active")
    assert active is not None
    assert (active.status, active.reason) == ("False", "NoTraffic")
    assert is_ready(await platform.get(serving.SERVICE, "hello"))
    assert revision["status"]["desiredReplicas"] == 0


async def test_a_poke_wakes_a_revision_at_zero_at_once(platform: Platform) -> None:
    await platform.apply()
    await platform.pods_ready("hello-00001")
    for _ in range(8):
        await platform.world.advance(2)
    await platform.pods_ready("hello-00001")
    await platform.autoscaler.poke(meta.Key("default", "hello-00001"))
    assert await platform.replicas("hello-00001") == 1


async def test_nothing_is_scaled_down_while_no_gateway_reports(platform: Platform) -> None:
    platform.autoscaler.disconnected()
    await platform.apply()
    await platform.pods_ready("hello-00001")
    for _ in range(20):
        await platform.world.advance(2)
    assert await platform.replicas("hello-00001") == 1


async def test_load_scales_up_through_the_scale_subresource(platform: Platform) -> None:
    await platform.apply()
    await platform.pods_ready("hello-00001")
    for _ in range(6):
        platform.autoscaler.record(meta.Key("default", "hello-00001"), 350.0, 100)
        await platform.world.advance(1)
    assert await platform.replicas("hello-00001") == 5
    scaled = [write for write in platform.client.writes if write.subresource == "scale"]
    assert scaled


async def test_a_crashing_container_is_told_with_its_exit_code(platform: Platform) -> None:
    await platform.apply()
    revision = await platform.get(serving.REVISION, "hello-00001")
    pod = crashed_pod(revision)
    await platform.client.create(core.POD, pod)
    await platform.client.patch_status(core.POD, "hello-pod", pod["status"], "default")
    await platform.world.settle()
    found = find(await platform.get(serving.REVISION, "hello-00001"), "ContainerHealthy")
    assert found is not None
    assert (found.status, found.reason) == ("False", "ExitCode3")
    assert found.message == "Container failed with: ModuleNotFoundError: PIL"
    ready = find(await platform.get(serving.SERVICE, "hello"), "ConfigurationsReady")
    assert ready is not None
    assert ready.reason == "RevisionFailed"
    assert "ModuleNotFoundError: PIL" in ready.message


async def test_an_image_that_is_not_there_is_told_and_tried_again(platform: Platform) -> None:
    platform.missing.add("localhost:5000/hello:1")
    await platform.apply()
    found = find(await platform.get(serving.REVISION, "hello-00001"), "ContainerHealthy")
    assert found is not None
    assert (found.status, found.reason) == ("False", "ContainerMissing")
    assert 'Unable to fetch image "localhost:5000/hello:1"' in found.message
    platform.missing.clear()
    await platform.world.advance(10)
    await platform.pods_ready("hello-00001")
    assert is_ready(await platform.get(serving.SERVICE, "hello"))


async def test_a_foreign_configuration_of_that_name_is_not_taken_over(platform: Platform) -> None:
    foreign = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Configuration",
        "metadata": {"name": "hello", "namespace": "default"},
        "spec": {"template": {"spec": {"containers": [{"image": "x" + DIGEST}]}}},
    }
    await platform.client.create(serving.CONFIGURATION, foreign)
    await platform.apply()
    found = find(await platform.get(serving.SERVICE, "hello"), "ConfigurationsReady")
    assert found is not None
    assert found.reason == "NotOwned"


async def test_traffic_to_a_revision_that_does_not_exist_is_refused_by_name(platform: Platform) -> None:
    await platform.apply()
    await platform.pods_ready("hello-00001")
    await platform.apply(traffic=[{"revisionName": "hello-00009", "percent": 100}])
    found = find(await platform.get(serving.ROUTE, "hello"), "AllTrafficAssigned")
    assert found is not None
    assert (found.status, found.reason) == ("False", "RevisionMissing")
    assert found.message == 'Revision "hello-00009" referenced in traffic not found.'
    assert (await platform.get(serving.ROUTE, "hello"))["status"]["traffic"][0]["revisionName"] == "hello-00001"


async def test_tags_have_urls_of_their_own(platform: Platform) -> None:
    await platform.apply(traffic=[{"latestRevision": True, "percent": 100, "tag": "next"}])
    await platform.pods_ready("hello-00001")
    found = await platform.get(serving.SERVICE, "hello")
    assert found["status"]["traffic"][0]["url"] == "http://next-hello.default.localhost:8080"


async def test_a_name_of_ones_own_that_is_taken_is_told(platform: Platform) -> None:
    await platform.apply(template={"metadata": {"name": "hello-one"}})
    await platform.pods_ready("hello-one")
    await platform.apply(image="localhost:5000/hello:2", template={"metadata": {"name": "hello-two"}})
    await platform.pods_ready("hello-two")
    await platform.apply(image="localhost:5000/hello:3", template={"metadata": {"name": "hello-one"}})
    found = find(await platform.get(serving.SERVICE, "hello"), "RoutesReady")
    assert found is not None
    assert found.reason == "RevisionNameTaken"


async def test_a_deleted_service_leaves_no_route_behind(platform: Platform) -> None:
    await platform.apply()
    await platform.client.delete(serving.ROUTE, "hello", "default")
    await platform.world.settle()
    assert await platform.get(serving.ROUTE, "hello")  # made again
    await platform.client.delete(serving.SERVICE, "hello", "default")
    assert platform.world.failures == []


def crashed_pod(revision: Object) -> Object:
    labels = {keys.REVISION: meta.name(revision), keys.REVISION_UID: meta.uid(revision)}
    ended = {"exitCode": 3, "message": "ModuleNotFoundError: PIL"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "hello-pod", "namespace": "default", "labels": labels},
        "spec": {"containers": [{"name": "user-container", "image": "x"}]},
        "status": {"containerStatuses": [{"name": "user-container", "lastState": {"terminated": ended}}]},
    }
