"""Lifecycle hooks and probes by every handler that is supported; the others are refused by name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from funcs.api import core, meta
from funcs.api.meta import Object
from tests.node.harness import World, container_status, terminated, waiting

FOREVER = "trap 'exit 0' TERM; while true; do sleep 0.05; done"


def exec_(script: str) -> Object:
    return {"exec": {"command": ["/bin/sh", "-c", script]}}


def events(world: World, reason: str) -> list[str]:
    return [each["message"] for each in world.client.objects(core.EVENT) if each["reason"] == reason]


async def until_event(world: World, reason: str) -> str:
    async with asyncio.timeout(8):
        while not (found := events(world, reason)):
            await asyncio.sleep(0.01)
    return found[0]


def scratch() -> Object:
    return {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}


async def with_volume(world: World, name: str, script: str, **container: Any) -> Object:
    made = {"name": "main", "command": ["/bin/sh", "-c", script], "image": "localhost:7500/test/sh:1", **scratch()}
    spec = {"restartPolicy": "Never", "containers": [made | container], "volumes": [{"name": "scratch"}]}
    return await world.create(name, spec)


async def test_a_container_is_ready_only_after_its_post_start_hook(world: World) -> None:
    hook = exec_("while [ ! -e /scratch/go ]; do sleep 0.02; done; touch /scratch/greeted")
    pod = await with_volume(world, "greeter", FOREVER, lifecycle={"postStart": hook})
    running = await world.until("greeter", lambda pod: "running" in (container_status(pod).get("state") or {}), "up")
    assert container_status(running)["started"] is False
    assert container_status(running)["ready"] is False
    place = world.directory(pod) / "volumes/scratch"
    (place / "go").touch()
    await world.until("greeter", lambda pod: container_status(pod)["ready"], "ready")
    assert (place / "greeted").exists()
    await world.delete("greeter")


async def test_a_failed_post_start_hook_kills_the_container(world: World) -> None:
    await world.run("doomed", FOREVER, lifecycle={"postStart": exec_("echo no luck; exit 3")})
    await world.until("doomed", terminated, "terminated")
    assert "no luck" in await until_event(world, "FailedPostStartHook")


async def test_a_post_start_hook_is_not_run_again_by_the_next_node(world: World) -> None:
    pod = await with_volume(world, "once", FOREVER, lifecycle={"postStart": exec_("echo x >> /scratch/runs")})
    await world.until("once", lambda pod: container_status(pod).get("ready"), "ready")
    await world.stop()
    await world.start()
    assert (world.directory(pod) / "volumes/scratch/runs").read_text() == "x\n"
    await world.delete("once")
    assert not world.directory(pod).exists()


async def test_the_pre_stop_hook_runs_before_the_container_is_told(world: World) -> None:
    script = "trap 'ls /scratch; exit 0' TERM; touch /scratch/up; while true; do sleep 0.05; done"
    pod = await with_volume(world, "leaver", script, lifecycle={"preStop": exec_("touch /scratch/farewell")})
    await world.until("leaver", lambda found: (world.directory(pod) / "volumes/scratch/up").exists(), "up")
    log = world.directory(pod) / "main/log"
    with log.open() as kept:  # the file outlives its name
        await world.delete("leaver")
        assert "farewell" in kept.read()


async def test_a_pre_stop_hook_takes_no_more_than_the_grace(world: World) -> None:
    await world.run("slow", FOREVER, lifecycle={"preStop": exec_("sleep 60")})
    await world.until("slow", lambda pod: container_status(pod).get("ready"), "ready")
    async with asyncio.timeout(8):
        await world.delete("slow")
    assert events(world, "FailedPreStopHook")


async def test_a_pre_stop_hook_may_sleep(world: World) -> None:
    await world.run("sleeper", FOREVER, lifecycle={"preStop": {"sleep": {"seconds": 1}}})
    await world.until("sleeper", lambda pod: container_status(pod).get("ready"), "ready")
    began = asyncio.get_running_loop().time()
    await world.delete("sleeper")
    assert asyncio.get_running_loop().time() - began > 0.9


@pytest.mark.parametrize(
    ("field", "spec", "named"),
    [
        ("lifecycle", {"preStop": {"tcpSocket": {"port": 80}}}, "handler tcpSocket"),
        ("lifecycle", {"postStart": {}, "preStop": {"exec": {}, "httpGet": {"port": 80}}}, "handler httpGet, exec"),
        ("readinessProbe", {"grpc": {"port": 80}}, "handler grpc"),
        ("livenessProbe", {"httpGet": {"port": 80, "scheme": "HTTPS"}}, "over HTTPS"),
        ("startupProbe", {"tcpSocket": {"port": "nowhere"}}, "no port named 'nowhere'"),
    ],
)
async def test_a_handler_that_is_not_supported_is_named_before_anything_runs(
    world: World, field: str, spec: Object, named: str
) -> None:
    await world.run("refused", "echo never", **{field: spec})
    refused = await world.until("refused", lambda pod: waiting(pod) == "CreateContainerConfigError", "refused")
    assert named in container_status(refused)["state"]["waiting"]["message"]


async def test_a_tcp_probe_is_met_when_somebody_listens(world: World) -> None:
    ports = [{"containerPort": 8080}]
    pod = await world.run("listener", FOREVER, ports=ports, readinessProbe={"tcpSocket": {"port": 8080}})
    running = await world.until("listener", lambda pod: "running" in (container_status(pod).get("state") or {}), "up")
    assert container_status(running)["ready"] is False
    real = (meta.annotations(running) or meta.annotations(pod))["node.funcs.dev/ports"]
    port = int(real.split(":")[1].strip(" }"))
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
    async with server:
        await world.until("listener", lambda pod: container_status(pod)["ready"], "ready")
    await world.delete("listener")


async def test_a_startup_probe_holds_the_others_back(world: World) -> None:
    startup = exec_("test -e /scratch/started") | {"periodSeconds": 1, "failureThreshold": 60}
    pod = await with_volume(world, "riser", FOREVER, startupProbe=startup,
                            livenessProbe=exec_("test -e /scratch/started"), readinessProbe=exec_("true"))  # fmt: skip
    running = await world.until("riser", lambda pod: "running" in (container_status(pod).get("state") or {}), "up")
    assert (container_status(running)["started"], container_status(running)["ready"]) == (False, False)
    (world.directory(pod) / "volumes/scratch/started").touch()
    ready = await world.until("riser", lambda pod: container_status(pod)["ready"], "ready")
    assert container_status(ready)["started"] is True
    assert container_status(ready)["restartCount"] == 0
    await world.delete("riser")


async def test_a_startup_probe_that_never_succeeds_ends_the_container(world: World) -> None:
    await world.run("stuck", FOREVER, startupProbe=exec_("false") | {"periodSeconds": 1, "failureThreshold": 1})
    await world.until("stuck", terminated, "terminated")
    assert "Startup probe failed" in await until_event(world, "Unhealthy")
