"""`funcs down` leaves nothing behind, `funcs up` finds everything as it was, and both say clearly what they did."""

from __future__ import annotations

import pytest

from funcs.platform import supervisor
from tests.scenarios.cluster import CONFIG_MAPS, SERVICES, TRIGGERS, Cluster, eventually, ready
from tests.scenarios.traces import Traces, network_namespaces
from tests.scenarios.traffic import Recorder


@pytest.mark.parametrize("killed", ["nothing", "supervisor", "everything"])
def test_down_leaves_nothing_behind(victim: Cluster, killed: str) -> None:
    namespaces = network_namespaces()
    traces = Traces.take(victim.places.root, namespaces)
    assert len(traces.processes) >= 1 + len(supervisor.PARTS) + len(victim.pods("who"))
    if killed == "supervisor":
        victim.kill("supervisor")
    elif killed == "everything":
        victim.kill_together(*supervisor.PARTS)
    victim.funcs("down")
    assert traces.left() == []
    assert "was not up" in victim.funcs("down").err
    victim.funcs("up")
    eventually("the function answers again", lambda: victim.call("who").status == 200)


def test_everything_is_as_it_was_after_down_and_up(victim: Cluster, recorder: Recorder) -> None:
    victim.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}})
    victim.subscribe("asleep", "http://127.0.0.1:9/", "for-later")
    victim.funcs("deploy", "who", "--no-git", "-e", "GREETING=second")
    assert victim.send("for-later", "for-later") == 202
    before = picture(victim)

    victim.funcs("down")
    victim.funcs("up")

    assert picture(victim) == before
    assert b'"greeting":"second"' in victim.call("who").body
    victim.serve("again", victim.image("who"))
    patched = victim.api.patch(
        f"{TRIGGERS}/asleep",
        json={"spec": {"subscriber": {"uri": recorder.url}}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert patched.status_code == 200, patched.text
    eventually("the event of before arrives", lambda: recorder.seen["for-later"] >= 1, 30)


def test_a_second_up_is_one_clear_error(cluster: Cluster) -> None:
    refused = cluster.funcs("up", code=9)
    assert refused.out == ""
    lines = refused.err.splitlines()
    assert lines[0].startswith(f'Error: the cluster "{cluster.name}" is already up')
    assert "funcs down" in lines[1]
    assert len(lines) == 2
    assert cluster.status().up


def test_a_port_in_use_is_named_with_the_option_that_changes_it(cluster: Cluster, another: Cluster) -> None:
    taken = cluster.record.ports.gateway
    others = ("--api-port=0", "--hub-port=0", "--broker-port=0")
    refused = another.funcs("up", *others, f"--gateway-port={taken}", code=9)
    assert f"port {taken} of the gateway is in use" in refused.err
    assert "--gateway-port" in refused.err


def test_purge_removes_the_state(another: Cluster) -> None:
    another.up()
    assert another.places.record.exists()
    another.funcs("down", "--purge")
    assert not another.places.root.exists()
    assert "there is no cluster" in another.funcs("status", code=3).err
    assert "was not up" in another.funcs("down", "--purge").err


def picture(cluster: Cluster) -> dict[str, object]:
    """What a person made, told apart from what a restart may rightly change (pods, their counts)."""
    services = cluster.get(SERVICES)["items"]
    assert all(ready(service) for service in services)
    paths = {
        "services": SERVICES,
        "revisions": SERVICES.replace("services", "revisions"),
        "routes": SERVICES.replace("services", "routes"),
        "triggers": TRIGGERS,
        "config maps": CONFIG_MAPS,
    }
    seen: dict[str, object] = {
        what: [(each["metadata"]["uid"], each.get("spec"), each.get("data")) for each in cluster.get(path)["items"]]
        for what, path in paths.items()
    }
    seen["traffic"] = [(each["metadata"]["name"], each["status"]["traffic"]) for each in services]
    return seen
