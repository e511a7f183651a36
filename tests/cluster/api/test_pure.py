"""Tables, ages, JSONPath, rules of access, media types: pure, in microseconds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcs.api import core, serving
from funcs.api.meta import Object
from funcs.control.memory import MemoryClient
from funcs.errors import BadRequest, FuncsError, Invalid, NotFound
from runtimes.cluster.api import ages, hosts, jsonpath, media, pods, printers, protobuf, rbac, requests, roles, status
from runtimes.cluster.api.rbac import Attributes
from runtimes.cluster.api.users import MASTERS, User

from .live import Roles

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"), (10799, "179m"), (10800, "3h"),
     (11000, "3h3m"), (8 * 3600, "8h"), (172799, "47h"), (172800, "2d"), (176400, "2d1h"), (8 * 86400, "8d"),
     (729 * 86400, "729d"),
     (730 * 86400, "2y"), (735 * 86400, "2y5d"), (8 * 365 * 86400, "8y"), (-1, "0s"), (-5, "<invalid>")],
)  # fmt: skip
def test_an_age_reads_as_kubectl_prints_it(seconds: float, text: str) -> None:
    assert ages.human(seconds) == text


DOCUMENT = {
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}], "none": None},
    "metadata": {"labels": {"a.b/c": "dotted"}},
    "list": [1, 2, 3],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".status.conditions[?(@.type=='Ready')].status", ["True"]),
        ('.status.conditions[?(@.type=="Missing")].status', []),
        (".status.conditions[?(@.type!='Ready')].type", ["Other"]),
        (".metadata.labels['a\\.b/c']", ["dotted"]),
        (".metadata.labels.a\\.b/c", ["dotted"]),
        ("{.list[1]}", [2]),
        (".list[-1]", [3]),
        (".list[*]", [1, 2, 3]),
        (".status.none", []),
        (".not.there", []),
    ],
)
def test_a_path_finds(path: str, found: list[Any]) -> None:
    assert jsonpath.find(path, DOCUMENT) == found


@pytest.mark.parametrize("path", ["..all", ".a[?(@.b>1)]", ".a[", ".a b"])
def test_a_path_that_is_not_of_the_language_is_refused(path: str) -> None:
    with pytest.raises(Invalid):
        jsonpath.find(path, {})


def pod(phase: str = "Running", **status: Any) -> Object:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{}]}, "status": {"phase": phase, **status}}


def container(**state: Any) -> list[Object]:
    return [{"ready": "running" in state, "restartCount": 0, "state": state}]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        pytest.param(pod("Pending"), "Pending", id="the phase alone"),
        pytest.param(pod(containerStatuses=container(running={})), "Running", id="running"),
        pytest.param(
            pod(containerStatuses=container(waiting={"reason": "CrashLoopBackOff"})), "CrashLoopBackOff", id="waiting"
        ),
        pytest.param(
            pod("Succeeded", containerStatuses=container(terminated={"exitCode": 0, "reason": "Completed"})),
            "Completed", id="completed",
        ),
        pytest.param(pod(containerStatuses=container(terminated={"exitCode": 3})), "ExitCode:3", id="no reason"),
        pytest.param(pod("Failed", reason="Evicted"), "Evicted", id="the pod's own reason"),
        pytest.param(
            pod("Pending", initContainerStatuses=container(terminated={"exitCode": 1, "reason": "Error"})),
            "Init:Error", id="init failed",
        ),
        pytest.param({**pod(), "metadata": {"deletionTimestamp": "x"}}, "Terminating", id="being deleted"),
    ],
)  # fmt: skip
def test_the_status_of_a_pod(found: Object, reason: str) -> None:
    assert pods.reason(found) == reason


def test_our_kinds_print_their_own_columns() -> None:
    obj = {
        "metadata": {"name": "hello"},
        "status": {"url": "http://x", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    printer = printers.printer(serving.SERVICE)
    assert list(printer.row(obj, NOW)) == ["hello", "http://x", None, None, "True", None]


@pytest.mark.parametrize("kind", core.KINDS, ids=str)
def test_every_printer_fills_its_columns_even_of_an_empty_object(kind: Any) -> None:
    printer = printers.printer(kind)
    assert len(printer.row({"metadata": {"name": "x"}}, NOW)) == len(printer.columns)


ALICE = User("alice", ("devs",))


def reader(*objects: Object) -> Roles:
    client = MemoryClient()
    client.seed(*roles.bootstrap(), *objects)
    return Roles(client)


def bound(role: str, kind: str = "ClusterRole", namespace: str = "default") -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "b", "namespace": namespace},
        "roleRef": {"kind": kind, "name": role},
        "subjects": [{"kind": "Group", "name": "devs"}],
    }


@pytest.mark.parametrize(
    ("attributes", "allowed"),
    [
        pytest.param(Attributes(verb="get", resource="pods", namespace="default"), True, id="held"),
        pytest.param(Attributes(verb="get", resource="pods", namespace="other"), False, id="another namespace"),
        pytest.param(Attributes(verb="delete", resource="pods", namespace="default"), False, id="another verb"),
        pytest.param(
            Attributes(verb="get", resource="secrets", namespace="default"), False, id="secrets are not viewed"
        ),
        pytest.param(
            Attributes(verb="get", resource="pods", subresource="log", namespace="default"), True, id="a subresource"
        ),
        pytest.param(Attributes(verb="get", resource="pods"), False, id="the cluster's scope"),
    ],
)
def test_a_viewer_views_and_no_more(attributes: Attributes, allowed: bool) -> None:
    assert rbac.is_allowed(ALICE, attributes, reader(bound("view"))) is allowed


def test_masters_may_do_anything() -> None:
    assert rbac.is_allowed(User("root", (MASTERS,)), Attributes(verb="any", resource="thing"), reader())


@pytest.mark.parametrize("name", [roles.NODE_USER, roles.GATEWAY_USER, roles.BROKER_USER])
def test_no_component_may_touch_roles_or_read_all_secrets_but_the_node(name: str) -> None:
    world, user = reader(), User(name)
    for kind in ("roles", "clusterroles", "rolebindings"):
        group = "rbac.authorization.k8s.io"
        assert not rbac.is_allowed(user, Attributes(verb="create", group=group, resource=kind), world)
    secrets = Attributes(verb="get", resource="secrets", namespace="default")
    assert rbac.is_allowed(user, secrets, world) is (name == roles.NODE_USER)


def test_rules_cover_only_what_they_hold() -> None:
    held = [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]
    assert rbac.covers(held, {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["x"]})
    assert not rbac.covers(held, {"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]})
    assert not rbac.covers(held, {"verbs": ["get"], "nonResourceURLs": ["/metrics"]})


@pytest.mark.parametrize(
    ("header", "host"),
    [("localhost:6443", "localhost"), ("[::1]:80", "::1"), ("EVIL.example.com", "evil.example.com"), ("a:b", "")],
)
def test_a_host_header_is_read(header: str, host: str) -> None:
    assert hosts.host_of(header) == host


@given(st.binary(max_size=300))
def test_any_protobuf_is_read_or_refused(data: bytes) -> None:
    try:
        protobuf.decode(b"k8s\x00" + data)
    except BadRequest:
        pass


@given(st.binary(max_size=200))
def test_a_broken_pod_in_protobuf_is_refused_and_never_an_error_of_ours(data: bytes) -> None:
    def field(number: int, content: bytes) -> bytes:
        size = len(content)
        length = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
        return bytes([number << 3 | 2]) + length + content

    body = b"k8s\x00" + field(1, field(1, b"v1") + field(2, b"Pod")) + field(2, data)
    try:
        assert protobuf.decode(body)["kind"] == "Pod"
    except BadRequest:
        pass


@given(st.binary(max_size=300), st.sampled_from(["application/json", "application/yaml"]))
def test_any_body_is_read_or_refused(data: bytes, content_type: str) -> None:
    try:
        media.decode(data, content_type)
    except FuncsError:
        pass


@pytest.mark.parametrize(
    ("accept", "transform"),
    [
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "Table"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", ""),
        ("application/vnd.kubernetes.protobuf,*/*;q=0.1", ""),
        ("", ""),
    ],
)
def test_the_best_acceptable_form_is_made(accept: str, transform: str) -> None:
    assert media.negotiate(accept, ("Table;v1",)) == media.Accepted(
        "application/json", transform, "v1" if transform else ""
    )


def test_a_status_names_its_resource() -> None:
    info = requests.read_info("GET", "/apis/apps/v1/namespaces/default/deployments/web", {})
    assert status.failure(NotFound('deployments.apps "web" not found'), info) == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404, "reason": "NotFound",
        "message": 'deployments.apps "web" not found',
        "details": {"name": "web", "group": "apps", "kind": "deployments"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "verb", "namespace", "resource", "name"),
    [
        ("GET", "/api/v1/pods", "list", "", "pods", ""),
        ("DELETE", "/api/v1/namespaces/a/pods", "deletecollection", "a", "pods", ""),
        ("GET", "/api/v1/namespaces/a", "get", "a", "namespaces", "a"),
        ("PUT", "/api/v1/namespaces/a/status", "update", "a", "namespaces", "a"),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/d/scale", "patch", "a", "deployments", "d"),
        ("GET", "/version", "get", "", "", ""),
    ],
)
def test_a_path_is_read(method: str, path: str, verb: str, namespace: str, resource: str, name: str) -> None:
    info = requests.read_info(method, path, {})
    assert (info.verb, info.namespace, info.resource, info.name) == (verb, namespace, resource, name)
