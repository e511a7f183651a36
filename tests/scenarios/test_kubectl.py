"""kubectl against the live platform: what users of Kubernetes, Knative and Tekton do from habit."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator

import pytest

from tests.scenarios.cluster import Cluster, eventually

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")

COLUMNS = {
    "ksvc": ["NAME", "URL", "LATESTCREATED", "LATESTREADY", "READY", "REASON"],
    "rev": ["NAME", "CONFIG NAME", "GENERATION", "READY", "REASON", "ACTUAL REPLICAS", "DESIRED REPLICAS"],
    "route": ["NAME", "URL", "READY", "REASON"],
    "config": ["NAME", "LATESTCREATED", "LATESTREADY", "READY", "REASON"],
    "brokers": ["NAME", "URL", "AGE", "READY", "REASON"],
    "triggers": ["NAME", "BROKER", "SUBSCRIBER_URI", "AGE", "READY", "REASON"],
    "taskruns": ["NAME", "SUCCEEDED", "REASON", "STARTTIME", "COMPLETIONTIME"],
    "pipelineruns": ["NAME", "SUCCEEDED", "REASON", "STARTTIME", "COMPLETIONTIME"],
    "pods": ["NAME", "READY", "STATUS", "RESTARTS", "AGE"],
}
PIPELINE_RUN = """
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: says-hello}
spec:
  pipelineSpec:
    tasks:
    - name: hello
      taskSpec:
        results: [{name: greeting}]
        steps:
        - name: say
          image: IMAGE
          script: |
            #!/bin/sh
            echo hello from a step
            printf hello > $(results.greeting.path)
    results:
    - name: greeting
      value: $(tasks.hello.results.greeting)
"""
SERVICE = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: by-hand}
spec:
  template:
    metadata:
      annotations: {autoscaling.knative.dev/min-scale: "1"}
    spec:
      containers:
      - image: IMAGE
        env: [{name: GREETING, value: from yaml}]
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: plain, namespace: apart}
spec:
  replicas: 2
  selector: {matchLabels: {app: plain}}
  template:
    metadata: {labels: {app: plain}}
    spec:
      containers:
      - name: main
        image: IMAGE
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /health/readiness, port: 8080}}
---
apiVersion: v1
kind: Service
metadata: {name: plain, namespace: apart}
spec:
  selector: {app: plain}
  ports: [{port: 80, targetPort: 8080}]
"""


@pytest.fixture(scope="module")
def peopled(cluster: Cluster) -> Iterator[Cluster]:
    """With one object at least of every kind that is shown."""
    image = cluster.image("who")
    cluster.kubectl("apply", "-f", "-", input=PIPELINE_RUN.replace("IMAGE", image))
    cluster.subscribe("listed", "http://127.0.0.1:9/", "none")
    cluster.call("who")
    yield cluster
    cluster.kubectl("delete", "trigger/listed", "pipelinerun/says-hello")


def test_a_pipeline_run_written_by_hand_succeeds(peopled: Cluster) -> None:
    peopled.kubectl("wait", "pipelinerun/says-hello", "--for=condition=Succeeded", "--timeout=60s")
    result = peopled.kubectl("get", "pipelinerun", "says-hello", "-o", "jsonpath={.status.results[0].value}")
    assert result.out == "hello"
    log = peopled.kubectl("logs", "-l", "tekton.dev/pipelineRun=says-hello", "-c", "step-say")
    assert "hello from a step" in log.out


@pytest.mark.parametrize("kind", COLUMNS)
def test_get_shows_the_columns_that_users_know(peopled: Cluster, kind: str) -> None:
    peopled.call("who")  # there is a pod to be seen
    head, *rows = peopled.kubectl("get", kind).out.splitlines()
    assert re.split(r" {2,}", head.strip()) == COLUMNS[kind]
    assert rows


def test_a_service_written_by_hand_answers_through_the_gateway_and_goes_with_all_below_it(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", input=SERVICE.replace("IMAGE", cluster.image("who")))
    cluster.kubectl("wait", "ksvc/by-hand", "--for=condition=Ready", "--timeout=60s")
    assert json.loads(cluster.call("by-hand").body)["greeting"] == "from yaml"
    cluster.kubectl("apply", "-f", "-", input=SERVICE.replace("IMAGE", cluster.image("who")))
    generation = cluster.kubectl("get", "ksvc/by-hand", "-o", "jsonpath={.metadata.generation}").out
    assert generation == "1", "a second apply of the same must change nothing"
    described = cluster.kubectl("describe", "ksvc", "by-hand").out
    assert "Latest Ready Revision Name:" in described

    cluster.kubectl("delete", "ksvc/by-hand")

    kinds = "ksvc,config,route,rev,deployments,replicasets,pods,services,endpointslices,podautoscalers"
    eventually(
        "nothing of it is left",
        lambda: "by-hand" not in cluster.kubectl("get", kinds, "-o", "name").out,
        30,
    )
    assert cluster.call("by-hand").status == 404


def test_a_plain_deployment_with_a_service_goes_with_its_namespace(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "apart")
    cluster.kubectl("apply", "-f", "-", input=DEPLOYMENT.replace("IMAGE", cluster.image("who")))
    rolled = cluster.kubectl("rollout", "status", "deployment/plain", "-n", "apart", "--timeout=60s")
    assert "successfully rolled out" in rolled.out
    names = cluster.kubectl("get", "pods", "-n", "apart", "-o", "name").out.splitlines()
    assert len(names) == 2
    slices = json.loads(cluster.kubectl("get", "endpointslices", "-n", "apart", "-o", "json").out)["items"]
    eventually("both pods are behind the Service", lambda: len(addresses(cluster)) == 2)
    assert slices

    cluster.kubectl("rollout", "restart", "deployment/plain", "-n", "apart")
    cluster.kubectl("rollout", "status", "deployment/plain", "-n", "apart", "--timeout=60s")
    eventually(
        "the old pods are gone",
        lambda: not set(names) & set(cluster.kubectl("get", "pods", "-n", "apart", "-o", "name").out.splitlines()),
    )

    cluster.kubectl("delete", "namespace", "apart")
    gone = cluster.kubectl("get", "namespace", "apart", code=1)
    assert "NotFound" in gone.err
    assert cluster.kubectl("get", "pods", "-n", "apart", "-o", "name").out == ""


def test_logs_follow_a_pod_as_it_writes(cluster: Cluster) -> None:
    cluster.call("who", b"before")
    pod = cluster.kubectl("get", "pods", "-l", "serving.knative.dev/service=who", "-o", "name").out.split()[0]
    following = cluster.start("kubectl", "logs", "-f", pod)
    try:
        assert following.stdout is not None
        cluster.call("who", b"a line from later")
        for line in following.stdout:
            if "a line from later" in line:
                break
        else:
            raise AssertionError("the log ended without the line")
    finally:
        following.kill()
        following.communicate()


def test_a_mistake_is_refused_with_its_place_and_nothing_is_made(cluster: Cluster) -> None:
    wrong = SERVICE.replace("IMAGE", cluster.image("who")).replace('min-scale: "1"', 'min-scale: "many"')
    refused = cluster.kubectl("apply", "-f", "-", input=wrong, code=1)
    assert "autoscaling.knative.dev/min-scale" in refused.err
    assert "NotFound" in cluster.kubectl("get", "ksvc/by-hand", code=1).err


def addresses(cluster: Cluster) -> set[tuple[str, int]]:
    found = json.loads(cluster.kubectl("get", "endpointslices", "-n", "apart", "-o", "json").out)["items"]
    return {
        (address, port["port"])
        for each in found
        for port in each.get("ports") or ()
        for endpoint in each.get("endpoints") or ()
        if endpoint["conditions"]["ready"]
        for address in endpoint["addresses"]
    }
