"""What a container finds around it: volumes, users, limits, probes; and what a runtime refuses."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from funcs.api import core, meta
from funcs.oci import layer, model
from funcs.oci.layout import Layout
from runtimes.cluster.node.plain import Relocation
from runtimes.cluster.node.shim import cgroups
from tests.node.harness import (
    IMAGE,
    REGISTRY,
    World,
    container_status,
    put_image,
    shell_entries,
    state,
    terminated,
    waiting,
)


def seed(world: World, kind: str, name: str, **content: Any) -> None:
    world.client.seed({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, **content})


async def test_volumes_hold_what_they_should(world: World) -> None:
    seed(world, "ConfigMap", "cm", data={"key": "value", "other": "x"})
    seed(world, "Secret", "sec", data={"password": "aHVudGVyMg=="})
    seed(world, "PersistentVolumeClaim", "claim", spec={"resources": {"requests": {"storage": "1Gi"}}})
    await world.create("vols", {
        "restartPolicy": "Never",
        "volumes": [
            {"name": "config", "configMap": {"name": "cm", "items": [{"key": "key", "path": "deep/renamed"}]}},
            {"name": "both", "projected": {"sources": [
                {"secret": {"name": "sec"}},
                {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            ]}},
            {"name": "disk", "persistentVolumeClaim": {"claimName": "claim"}},
        ],
        "containers": [{
            "name": "main", "image": IMAGE,
            "command": ["/bin/sh", "-c", "cat /config/deep/renamed /both/password /both/name; echo kept > /disk/file"],
            "volumeMounts": [
                {"name": "config", "mountPath": "/config"}, {"name": "both", "mountPath": "/both"},
                {"name": "disk", "mountPath": "/disk", "subPath": "sub/dir"},
            ],
        }],
    })  # fmt: skip
    pod = await world.phase("vols", "Succeeded")
    assert world.log(pod) == "valuehunter2vols\n"
    assert (world.settings.claims / "default/claim/sub/dir/file").read_text() == "kept\n"
    assert meta.status(await world.client.get(core.PERSISTENT_VOLUME_CLAIM, "claim", "default"))["phase"] == "Bound"


async def test_a_missing_secret_is_waited_for(world: World) -> None:
    await world.create("later", {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": IMAGE, "command": ["/bin/sh", "-c", "true"],
                        "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "p"}}}]}],
    })  # fmt: skip
    pod = await world.until("later", lambda pod: "waiting" in state(pod), "waiting")
    pod = await world.until(
        "later", lambda pod: state(pod)["waiting"]["reason"] == "CreateContainerConfigError", "refused"
    )
    assert state(pod)["waiting"]["message"] == 'secret "sec" not found'
    await world.delete("later")


async def test_a_sub_path_may_not_leave_its_volume(world: World) -> None:
    seed(world, "PersistentVolumeClaim", "claim", spec={})
    root = world.settings.claims / "default/claim"
    root.mkdir(parents=True)
    (root / "link").symlink_to("/etc")
    await world.create("escape", {
        "volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": "claim"}}],
        "containers": [{"name": "main", "image": IMAGE, "volumeMounts": [
            {"name": "disk", "mountPath": "/disk", "subPath": "link"}]}],
    })  # fmt: skip
    pod = await world.until("escape", lambda pod: waiting(pod) == "CreateContainerConfigError", "refused")
    assert "leaves its volume" in state(pod)["waiting"]["message"]
    await world.delete("escape")


async def test_exec_probes_decide_readiness_and_life(world: World) -> None:
    probe = {"exec": {"command": ["/bin/sh", "-c", "test -e /tmp/funcs-probe-$NAME"]}, "periodSeconds": 1}
    name = f"probe{os.getpid()}{world.runtime.name}"
    await world.run(
        "probed", f"sleep 0.1; touch /tmp/funcs-probe-{name}; sleep 60",
        env=[{"name": "NAME", "value": name}], readinessProbe=probe,
    )  # fmt: skip
    await world.until("probed", lambda pod: "running" in state(pod), "running")
    await world.until("probed", lambda pod: container_status(pod)["ready"], "ready")
    await world.delete("probed")
    if world.runtime.name == "process":
        Path(f"/tmp/funcs-probe-{name}").unlink()


async def test_a_container_that_fails_its_liveness_probe_is_restarted(world: World) -> None:
    probe = {"exec": {"command": ["/bin/sh", "-c", "exit 1"]}, "periodSeconds": 1, "failureThreshold": 1}
    await world.run("sick", "sleep 60", livenessProbe=probe, restartPolicy="Always")
    await world.until("sick", lambda pod: container_status(pod).get("restartCount") == 1, "restarted")
    await world.delete("sick")


async def test_a_web_server_is_ready_as_soon_as_it_answers(world: World) -> None:
    if world.runtime.name != "process":
        pytest.skip("the test image has no interpreter")
    server = (
        "import http.server, os; http.server.test(http.server.SimpleHTTPRequestHandler, port=int(os.environ['PORT']))"
    )
    await world.create("web", {"containers": [{
        "name": "main", "image": IMAGE, "command": ["/usr/local/bin/python3", "-c", server],
        "ports": [{"containerPort": 8080, "name": "http1"}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http1"}, "periodSeconds": 10},
    }]})  # fmt: skip
    pod = await world.until("web", lambda pod: container_status(pod).get("ready"), "ready")
    assert json.loads(meta.annotations(pod)["node.funcs.dev/ports"]).keys() == {"8080"}
    await world.delete("web")


async def test_the_root_the_user_and_the_limits_are_the_containers_own(world: World) -> None:
    if world.runtime.name != "crun":
        pytest.skip("only containers have them")
    await world.run(
        "own",
        "id -u; cat /app/greeting; touch /app/x 2>/dev/null || echo read-only; exit 1",
        securityContext={"runAsUser": 65532, "readOnlyRootFilesystem": True},
    )  # fmt: skip
    pod = await world.phase("own", "Failed")
    assert world.log(pod).splitlines()[:3] == ["65532", "hello from the image", "read-only"]


async def test_every_container_has_limits_of_its_own_and_they_cost_no_wait(world: World) -> None:
    if world.runtime.name != "crun" or not cgroups.joined_by_thread():
        pytest.skip("only containers have limits, and by default only under cgroup v1")
    limits = {"limits": {"memory": "64Mi", "cpu": "250m"}}
    pod = await world.run("limited", "sleep 30 & while true; do sleep 0.05; done", resources=limits)
    await world.until("limited", lambda pod: container_status(pod).get("ready"), "ready")
    group = f"funcs/{meta.uid(pod)}-main"

    def read(controller: str, name: str) -> str:
        return (Path(cgroups.ROOT) / controller / group / name).read_text().strip()

    assert read("pids", "pids.max") == "4096"
    assert read("memory", "memory.limit_in_bytes") == str(64 << 20)
    assert (read("cpu", "cpu.cfs_quota_us"), read("cpu", "cpu.shares")) == ("25000", "256")
    for controller in ("pids", "memory", "cpu"):
        assert len(read(controller, "cgroup.procs").split()) >= 2, "the container and what it has started"
    await world.delete("limited")
    assert not (Path(cgroups.ROOT) / "pids" / group).exists()


async def test_a_container_that_takes_too_much_memory_is_said_to_be_oom_killed(world: World) -> None:
    if world.runtime.name != "crun":
        pytest.skip("only containers have limits")
    await world.create("hungry", {"restartPolicy": "Never", "containers": [{
        "name": "main", "image": IMAGE, "command": ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"],
        "resources": {"limits": {"memory": "20Mi"}},
    }]})  # fmt: skip
    pod = await world.phase("hungry", "Failed")
    assert (terminated(pod)["reason"], terminated(pod)["exitCode"]) == ("OOMKilled", 137)


async def test_the_termination_message_is_what_the_container_left(world: World) -> None:
    if world.runtime.name != "crun":
        pytest.skip("the default path is not the process's own")
    await world.run("last", "echo 'so it ends' > /dev/termination-log; exit 1")
    assert terminated(await world.phase("last", "Failed"))["message"] == "so it ends\n"


async def test_process_isolation_refuses_by_name_what_it_cannot_honour(world: World) -> None:
    if world.runtime.name != "process":
        pytest.skip("containers can")
    await world.run("locked", "true", securityContext={"readOnlyRootFilesystem": True})
    pod = await world.until(
        "locked", lambda pod: "waiting" in state(pod) and state(pod)["waiting"].get("message"), "refused"
    )
    assert state(pod)["waiting"]["reason"] == "CreateContainerConfigError"
    assert "readOnlyRootFilesystem" in state(pod)["waiting"]["message"]
    await world.create("foreign", {"containers": [{"name": "main", "image": f"{REGISTRY}/test/foreign:1"}]})
    pod = await world.until(
        "foreign", lambda pod: "waiting" in state(pod) and state(pod)["waiting"].get("message"), "refused"
    )
    assert "dev.funcs.base=host" in state(pod)["waiting"]["message"]
    await world.delete("locked")
    await world.delete("foreign")


async def test_a_plain_process_finds_the_images_own_directories_a_home_and_python(
    world: World, images_root: Path
) -> None:
    if world.runtime.name != "process":
        pytest.skip("containers have a root of their own")
    entries = [*shell_entries(), layer.file("opt/tool/data", b"from opt\n"), layer.directory("home/nonroot")]
    config = model.Execution(
        env=["HOME=/home/nonroot", "TOOL=/opt/tool:/opt/other"], working_dir="/home/nonroot",
        labels={"dev.funcs.base": "host"},
    )  # fmt: skip
    put_image(Layout(images_root), "test/tool", "1", [sorted(entries, key=lambda entry: entry.path)], config)
    script = (
        "cat /opt/tool/data; echo $TOOL; touch ~/mine; pwd; ls /home/nonroot; /usr/local/bin/python -c 'print(6*7)'"
    )
    both = f"{script}; python -c 'print(6*7)'"
    made = {"name": "main", "image": f"{REGISTRY}/test/tool:1", "command": ["/bin/sh", "-c", both]}
    await world.create("tool", {"restartPolicy": "Never", "containers": [made]})
    pod = await world.phase("tool", "Succeeded")
    said, tool, cwd, *rest = world.log(pod).splitlines()
    home = world.directory(pod) / "main/home"
    assert (said, cwd, rest) == ("from opt", str(home), ["mine", "42", "42"])
    assert tool.endswith("-tree/opt/tool:/opt/other")
    assert (home / "mine").exists()


@pytest.mark.parametrize(
    ("text", "relocated"),
    [
        ("/func/main.py", "/snap/func/main.py"),
        ("/functions", "/functions"),
        ("PYTHONPATH=/func:/funcs/deps", "PYTHONPATH=/snap/func:/snap/funcs/deps"),
        ("/workspace/deep/x /workspace/y", "/vol/deep/x /vol/w/y"),
        ("/var/func", "/var/func"),
        ("x/func", "x/func"),
        ("--dir=/func", "--dir=/snap/func"),
        ("/usr/local/bin/python3.11 -m x", f"{sys.executable} -m x"),
        ("/usr/local/bin/python3-config", "/usr/local/bin/python3-config"),
    ],
)
def test_paths_are_relocated_at_their_boundaries_longest_first(text: str, relocated: str) -> None:
    places = {"/func": "/snap/func", "/funcs": "/snap/funcs", "/workspace": "/vol/w", "/workspace/deep": "/vol/deep"}
    assert Relocation(places, sys.executable).text(text) == relocated
