"""The real kubectl cannot tell the difference."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .live import ALICE_TOKEN, Running

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "example.com/web:1", resources: {limits: {cpu: 1}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: web}}
spec: {containers: [{name: c, image: example.com/web}]}
"""


class Kubectl:
    def __init__(self, server: Running, home: Path) -> None:
        kept = {name: os.environ[name] for name in ("PATH",)}
        self._environment = {**kept, "HOME": str(home), "KUBECONFIG": str(server.kubeconfig)}

    def __call__(self, *arguments: str, stdin: str = "", fails: bool = False) -> str:
        """Output and errors together; asserts that the command did or did not fail."""
        done = subprocess.run(
            ["kubectl", *arguments], input=stdin, env=self._environment, timeout=30, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert (done.returncode != 0) is fails, f"kubectl {' '.join(arguments)}: {done.stdout}"
        return done.stdout


@pytest.fixture(scope="module")
def kubectl(server: Running, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    run = Kubectl(server, tmp_path_factory.mktemp("home"))
    run("apply", "-f", "-", stdin=MANIFEST)
    return run


def row(output: str, number: int = 1) -> list[str]:
    return re.split(r"\s{2,}|\n", output.splitlines()[number].strip())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["get", "pods"], r"NAME\s+READY\s+STATUS\s+RESTARTS\s+AGE\s+p\s+0/1\s+Pending\s+0\s+\d+s"),
        (["get", "pods", "-o", "wide"], r"NOMINATED NODE\s+READINESS GATES"),
        (["get", "deploy", "web"], r"NAME\s+READY\s+UP-TO-DATE\s+AVAILABLE\s+AGE\s+web\s+0/2"),
        (["get", "svc", "web"], r"ClusterIP\s+<none>\s+<none>\s+80/TCP"),
        (["get", "ns", "default"], r"default\s+Active"),
        (["get", "po,svc,deploy", "-A", "-l", "app=web"], r"default\s+pod/p"),
        (["get", "pod", "p", "-o", "name"], r"^pod/p$"),
        (["get", "pod", "p", "-o", "jsonpath={.spec.restartPolicy}"], r"^Always$"),
        (["get", "pod", "p", "-o", "yaml"], r"imagePullPolicy: Always"),
        (["get", "pods", "--field-selector", "status.phase=Running"], r"No resources found"),
        (["get", "crd", "services.serving.knative.dev"], r"services.serving.knative.dev\s+\d{4}-"),
        (["describe", "pod", "p"], r"Image:\s+example.com/web"),
        (["describe", "deploy", "web"], r"2 desired \| 0 updated"),
        (["logs", "p"], r"^one\ntwo$"),
        (["api-resources"], r"services\s+kservice,ksvc\s+serving.knative.dev/v1\s+true\s+Service"),
        (["explain", "pod.spec.containers.image"], r"FIELD: image <string>"),
        (["explain", "deploy.spec", "--recursive"], r"revisionHistoryLimit\s+<integer>"),
        (["auth", "can-i", "create", "pods"], r"^yes$"),
        (["auth", "whoami"], r"Username\s+admin"),
        (["events"], r"No events found"),
        (["version"], r"Server Version: v1.32"),
        (["wait", "--for=condition=Established", "crd", "--all", "--timeout=5s"], r"condition met"),
        (["wait", "--for=jsonpath={.status.phase}=Pending", "pod/p", "--timeout=5s"], r"condition met"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_reading(kubectl: Kubectl, arguments: list[str], expected: str) -> None:
    assert re.search(expected, kubectl(*arguments).strip())


def test_applying_twice_changes_nothing(kubectl: Kubectl) -> None:
    output = kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert output.splitlines() == ["deployment.apps/web unchanged", "service/web unchanged", "pod/p unchanged"]


def test_a_dry_run_and_a_diff_tell_and_change_nothing(kubectl: Kubectl) -> None:
    changed = MANIFEST.replace("web:1", "web:2")
    assert "configured (server dry run)" in kubectl("apply", "--dry-run=server", "-f", "-", stdin=changed)
    assert "example.com/web:1" in kubectl("get", "deploy", "web", "-o", "yaml")


def test_applying_on_the_server_side(kubectl: Kubectl) -> None:
    body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa}\ndata: {a: '1'}"
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=body)
    assert kubectl("get", "cm", "ssa", "-o", "jsonpath={.data.a}") == "1"


def test_editing_in_every_way(kubectl: Kubectl) -> None:
    kubectl("create", "deploy", "edited", "--image", "example.com/a:1")
    kubectl("scale", "deploy", "edited", "--replicas", "5")
    kubectl("set", "image", "deploy/edited", "a=example.com/a:2")
    kubectl("label", "deploy", "edited", "tier=front")
    kubectl("annotate", "deploy", "edited", "note=hi")
    kubectl("patch", "deploy", "edited", "--type=json", "-p", '[{"op":"add","path":"/spec/paused","value":true}]')
    kubectl("patch", "deploy", "edited", "-p", '{"spec":{"minReadySeconds":3}}')
    found = kubectl(
        "get", "deploy", "edited", "-o",
        "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image} {.metadata.labels.tier} {.spec.paused} "
        "{.spec.minReadySeconds}",
    )  # fmt: skip
    assert found == "5 example.com/a:2 front true 3"
    kubectl("delete", "deploy", "edited")


def test_typed_commands_speak_protobuf(kubectl: Kubectl) -> None:
    kubectl("create", "ns", "typed")
    kubectl("-n", "typed", "create", "secret", "generic", "s", "--from-literal=k=v")
    kubectl("-n", "typed", "create", "sa", "robot")
    kubectl("-n", "typed", "create", "role", "reads", "--verb=get,list", "--resource=pods")
    kubectl("-n", "typed", "create", "rolebinding", "reads", "--role=reads", "--serviceaccount=typed:robot")
    assert kubectl("-n", "typed", "get", "secret", "s", "-o", "jsonpath={.data.k}") == "dg=="
    as_robot = "--as=system:serviceaccount:typed:robot"
    assert kubectl("-n", "typed", "auth", "can-i", "list", "pods", as_robot).strip() == "yes"
    token = kubectl("-n", "typed", "create", "token", "robot").strip()
    assert "No resources found" in kubectl("-n", "typed", "get", "pods", f"--token={token}")
    kubectl("delete", "ns", "typed", "--wait=false")  # nobody empties it here


def test_mistakes_are_named(kubectl: Kubectl) -> None:
    unknown = "apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec: {containers: [{name: c, imagee: x}]}"
    assert 'unknown field "spec.containers[0].imagee"' in kubectl("apply", "-f", "-", stdin=unknown, fails=True)
    invalid = unknown.replace("imagee", "image").replace("name: c", "name: C_")
    output = kubectl("apply", "-f", "-", stdin=invalid, fails=True)
    assert 'The Pod "bad" is invalid: spec.containers[0].name: Invalid value: "C_"' in output
    assert 'pods "nobody" not found' in kubectl("get", "pod", "nobody", fails=True)
    assert 'cannot list resource "pods"' in kubectl("get", "pods", f"--token={ALICE_TOKEN}", fails=True)
    assert '"exec" of pods is not served' in kubectl("exec", "p", "--", "ls", fails=True)


def test_deleting_waits_until_it_is_gone(kubectl: Kubectl) -> None:
    kubectl("run", "brief", "--image", "example.com/brief")
    assert 'pod "brief" deleted' in kubectl("delete", "pod", "brief")
    assert "NotFound" in kubectl("get", "pod", "brief", fails=True)


def test_a_watch_prints_rows(kubectl: Kubectl) -> None:
    output = kubectl("get", "pods", "-w", "--request-timeout=1s")
    assert row(output)[:3] == ["p", "0/1", "Pending"]
