"""What the platform says to wrong input: one clear error with cause and remedy, and what runs goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection

import pytest

from tests.scenarios.cluster import Cluster

GOOD = "def handle(ctx, event):\n    return 'good'\n"
HEADERS = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/test", "ce-type": "test"}
STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
EVENT = {"specversion": "1.0", "id": "1", "source": "/test", "type": "test"}


@pytest.fixture(scope="module")
def serving(cluster: Cluster) -> Iterator[Cluster]:
    """The session's cluster with a function `steady`, whose good Revision is to survive every bad deploy."""
    write(cluster, GOOD)
    cluster.funcs("deploy", "steady", "--no-git")
    yield cluster
    cluster.funcs("delete", "steady")


def write(cluster: Cluster, source: str, requirements: str = "") -> None:
    place = cluster.work / "steady"
    place.mkdir(exist_ok=True)
    (place / "func.yaml").write_text("name: steady\nruntime: python\n")
    (place / "func.py").write_text(source)
    (place / "requirements.txt").write_text(requirements)


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        pytest.param("def handle(ctx, event)\n    1\n", 6, "func.py, line 1: SyntaxError: expected ':'", id="syntax"),
        pytest.param(f"\nimport nosuch\n{GOOD}", 7, "/func/func.py:2: No module named 'nosuch'", id="no such module"),
        pytest.param(f"{{}}['key']\n{GOOD}", 7, "/func/func.py:1: KeyError: 'key'", id="exception at import"),
        pytest.param("def handel(): pass\n", 7, "/func/func.py has no 'handle'", id="no handle"),
        pytest.param("raise SystemExit(3)\n", 7, "/func/func.py:1: the module ends the process", id="ends the process"),
        pytest.param(f"def init(ctx): {{}}['key']\n{GOOD}", 7, "/func/func.py:1: init() raised KeyError", id="init"),
    ],
)  # fmt: skip
def test_a_handler_that_does_not_load_fails_the_deploy_and_the_old_revision_serves(
    serving: Cluster, source: str, code: int, said: str
) -> None:
    write(serving, source)
    done = serving.funcs("deploy", "steady", "--no-git", code=code, timeout=30)
    error = done.err[done.err.index("Error: ") :]
    assert error.count(said) == 1
    assert "Traceback (most recent call last):\n" not in error
    if code == 7:
        assert error.startswith('Error: RevisionFailed: Revision "steady-')
        assert "\n  → See `funcs logs steady` and `funcs describe steady`.\n" in error
    assert serving.call("steady").body == b"good"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("requests ===> 3", "requirements.txt, line 1: 'requests ===> 3' is not a requirement"),
        ("./here", "requirements.txt, line 1: './here' is a directory, repository or archive"),
    ],
)
def test_a_dependency_that_cannot_be_one_is_named_by_its_line(serving: Cluster, line: str, said: str) -> None:
    write(serving, GOOD, f"{line}\n")
    assert f"Error: {said}" in serving.funcs("deploy", "steady", "--no-git", code=6).err
    assert serving.call("steady").body == b"good"


@pytest.mark.parametrize(
    ("field", "code", "said"),
    [
        ("runtime: go", 6, "Error: functions in 'go' are not built here, only in python\n  → Set `runtime: python`"),
        ("namespace: nowhere", 3, 'Error: there is no namespace "nowhere"\n  → Make it with `kubectl create namespace'),
        ("deployer: keda", 4, "Error: the deployer 'keda' is not here, only knative\n  → Set `deployer: knative`"),
        (
            "build: {builder: pack}",
            6,
            "Error: the builder 'pack' is not here, only host\n  → Set `build.builder: host`",
        ),
    ],
)
def test_what_is_not_here_is_refused_before_anything_is_built(
    serving: Cluster, field: str, code: int, said: str
) -> None:
    write(serving, GOOD)
    described = field if field.startswith("runtime") else f"runtime: python\n{field}"
    (serving.work / "steady" / "func.yaml").write_text(f"name: steady\n{described}\n")
    done = serving.funcs("deploy", "steady", "--no-git", code=code)
    assert done.err.startswith(said)


def test_a_second_up_says_that_it_is_up(serving: Cluster) -> None:
    done = serving.funcs("up", code=9)
    assert done.err.startswith('Error: the cluster "t" is already up (supervisor ')
    assert done.err.endswith("\n  → `funcs status` shows it, `funcs down` stops it.\n")


@pytest.mark.parametrize("command", ["invoke", "describe", "logs", "delete"])
def test_a_function_that_is_not_there(serving: Cluster, command: str) -> None:
    done = serving.funcs(command, "nosuch", code=3)
    assert done.err == 'Error: there is no function "nosuch" in "default"\n  → See `funcs list -A`.\n'


def test_a_function_that_fails_prints_its_answer_and_ends_with_a_code_of_its_own(serving: Cluster) -> None:
    place = serving.work / "fails"
    place.mkdir()
    (place / "func.yaml").write_text("name: fails\nruntime: python\n")
    (place / "func.py").write_text("def handle(ctx, event):\n    raise ValueError('secret')\n")
    serving.funcs("deploy", "fails", "--no-git")
    done = serving.funcs("invoke", "fails", code=8)
    assert json.loads(done.out)["status"] == 500
    assert "secret" not in done.out
    assert done.err == "Error: the function answered 500\n  → See `funcs logs fails`.\n"
    serving.funcs("delete", "fails")


@pytest.mark.parametrize(
    ("host", "status", "said"),
    [
        ("nosuch.default.localhost", 404, 'no route for host "nosuch.default.localhost"\nServices are at <name>.'),
        ("a b", 400, "the Host header is not a host name\nSend Host: "),
    ],
)
def test_an_unknown_host_at_the_gateway(serving: Cluster, host: str, status: int, said: str) -> None:
    found, text = post(serving.record.ports.gateway, "/", {"Host": host}, b"")
    assert (found, text[: len(said)]) == (status, said)


def without(found: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in found.items() if key != name}


def encoded(event: Mapping[str, object]) -> bytes:
    return json.dumps(event).encode()


BAD_EVENTS = [
    *(pytest.param(without(HEADERS, f"ce-{name}"), b"", 400, name, id=f"no ce-{name}") for name in EVENT),
    pytest.param(HEADERS | {"ce-specversion": "0.3"}, b"", 400, "0.3", id="specversion"),
    pytest.param(HEADERS | {"ce-time": "yesterday"}, b"", 400, "RFC 3339", id="time"),
    pytest.param(HEADERS | {"ce-source": "a b"}, b"", 400, "source is not a URI reference", id="source"),
    pytest.param(HEADERS | {"ce-dataschema": "x"}, b"", 400, "dataschema", id="dataschema"),
    pytest.param(HEADERS | {"ce-bad_name": "x"}, b"", 400, "bad_name", id="name"),
    pytest.param({}, b"x", 400, "ce-specversion", id="no event"),
    pytest.param(STRUCTURED, b"{", 400, "JSON", id="not JSON"),
    pytest.param(STRUCTURED, b"[]", 400, "JSON", id="not an object"),
    *(pytest.param(STRUCTURED, encoded(without(EVENT, name)), 400, name, id=f"no {name}") for name in EVENT),
    pytest.param(STRUCTURED, encoded(EVENT | {"id": 1}), 400, "id", id="id of a number"),
    pytest.param(STRUCTURED, encoded(EVENT | {"data_base64": "!"}), 400, "data_base64", id="base64"),
    pytest.param(BATCH, b"[]", 400, "batches are not accepted", id="batch"),
    pytest.param(HEADERS, b"x" * (1 << 20) + b"x", 413, "larger than 1048576 bytes", id="too large"),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "body", "status", "said"), BAD_EVENTS)
def test_a_malformed_event_at_the_broker(
    serving: Cluster, headers: dict[str, str], body: bytes, status: int, said: str
) -> None:
    found, text = post(serving.record.ports.broker, "/default/default", headers, body)
    assert found == status
    assert said in text


def test_an_unknown_broker(serving: Cluster) -> None:
    status, text = post(serving.record.ports.broker, "/default/nosuch", HEADERS, b"")
    assert status == 404
    assert "there is no broker nosuch in namespace default" in text


RESOURCES = [
    pytest.param(
        "serving.knative.dev/v1", "Service", {"template": {"spec": {"containers": []}}},
        'The Service "bad" is invalid: spec.template.spec.containers: missing field(s)', id="Service",
    ),
    pytest.param(
        "eventing.knative.dev/v1", "Trigger", {"broker": "default"},
        'The Trigger "bad" is invalid: spec.subscriber.ref, spec.subscriber.uri: expected at least one, got none',
        id="Trigger",
    ),
    pytest.param(
        "tekton.dev/v1", "TaskRun", {},
        'The TaskRun "bad" is invalid: spec.taskRef, spec.taskSpec: expected exactly one, got neither', id="TaskRun",
    ),
    pytest.param(
        "tekton.dev/v1", "PipelineRun",
        {"pipelineSpec": {"tasks": [
            {"name": name, "runAfter": [after], "taskSpec": {"steps": [{"image": "x", "script": "x"}]}}
            for name, after in (("a", "b"), ("b", "a"))
        ]}},
        'The PipelineRun "bad" is invalid: spec.pipelineSpec.tasks: invalid value: cycle detected', id="cycle",
    ),
    pytest.param("v1", "Pod", {"containers": []}, 'The Pod "bad" is invalid: spec.containers: Required', id="Pod"),
    pytest.param("no.dev/v1", "Nope", {}, 'no matches for kind "Nope" in version "no.dev/v1"', id="unknown kind"),
]  # fmt: skip


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")
@pytest.mark.parametrize(("version", "kind", "spec", "said"), RESOURCES)
def test_an_invalid_resource_is_refused_with_its_field(
    serving: Cluster, version: str, kind: str, spec: dict[str, object], said: str
) -> None:
    manifest = json.dumps({"apiVersion": version, "kind": kind, "metadata": {"name": "bad"}, "spec": spec})
    assert said in serving.kubectl("apply", "-f", "-", code=1, input=manifest).err


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("store/objects.db", "control does not start: the store {root}/store/objects.db is damaged or not a database"),
        ("broker/log.db", "broker does not start: the event log {root}/broker/log.db is damaged or not a database"),
    ],
)
def test_a_damaged_database_is_named_by_up_and_left_as_it_is(another: Cluster, file: str, said: str) -> None:
    root = another.places.root
    (root / file).parent.mkdir(parents=True)
    (root / file).write_bytes(b"not a database")
    done = another.funcs("up", "--any-port", "--isolation=process", code=4, timeout=40)
    assert done.err.startswith(f"Error: {said.format(root=root)}")
    assert "\n  → Restore it from a backup" in done.err
    assert "Traceback" not in done.err
    assert (root / file).read_bytes() == b"not a database"
    assert another.status().supervisor is None


def post(port: int, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
