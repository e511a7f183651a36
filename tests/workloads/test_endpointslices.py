"""Where the pods behind a Service really are."""

from typing import Any

from runtimes.cluster.workloads.endpointslices import slices


def service(target: object = 8080) -> dict[str, Any]:
    return {
        "metadata": {"name": "hello-private", "namespace": "default", "uid": "s1", "labels": {"app": "hello"}},
        "spec": {"selector": {"app": "hello"}, "ports": [{"name": "http", "port": 80, "targetPort": target}]},
    }


def pod(name: str, *, port: int | None = None, ready: bool = True, deleting: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "default", "uid": name}
    if port:
        metadata["annotations"] = {"node.funcs.dev/ports": f'{{"8080": {port}}}'}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": "c", "ports": [{"name": "user-port", "containerPort": 8080}]}]},
        "status": {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def test_a_pod_is_reached_at_the_port_its_node_gave_it() -> None:
    (found,) = slices(service(), [pod("a", port=40123)])
    assert found["ports"] == [{"name": "http", "port": 40123, "protocol": "TCP"}]


def test_a_named_target_port_is_looked_up_in_the_containers() -> None:
    (found,) = slices(service("user-port"), [pod("a", port=40123)])
    assert found["ports"][0]["port"] == 40123


def test_pods_with_different_ports_are_in_different_slices() -> None:
    found = slices(service(), [pod("a", port=1), pod("b", port=2), pod("c", port=1)])
    assert [[end["targetRef"]["name"] for end in one["endpoints"]] for one in found] == [["a", "c"], ["b"]]
    assert len({one["metadata"]["name"] for one in found}) == 2


def test_a_leaving_pod_serves_on_but_gets_nothing_new() -> None:
    (found,) = slices(service(), [pod("a", deleting=True)])
    assert found["endpoints"][0]["conditions"] == {"ready": False, "serving": True, "terminating": True}


def test_a_service_without_pods_has_one_empty_slice() -> None:
    (found,) = slices(service(), [])
    assert (found["endpoints"], found["ports"]) == ([], [])


def test_slices_carry_the_labels_of_their_service() -> None:
    (found,) = slices(service(), [pod("a")])
    assert found["metadata"]["labels"]["app"] == "hello"
    assert found["metadata"]["labels"]["kubernetes.io/service-name"] == "hello-private"
