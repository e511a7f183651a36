"""TaskRuns: what they become and how they end, as Tekton reports it."""

from __future__ import annotations

from typing import Any

import pytest

from funcs.api import core, meta, pipeline
from funcs.api.meta import Object
from funcs.control.memory import Write
from funcs.control.testing import Chaos
from funcs.errors import Invalid
from pipelines.steps import entrypoint
from pipelines.steps.entrypoint import Reason
from tests.pipelines.playing import Ran, Theatre, by_container, message, result_of, steps_of, succeeded


def task_run(*steps: Object, name: str = "run", results: Any = None, **spec: Any) -> Object:
    task: Object = {"steps": list(steps) or [step("one")]}
    if results:
        task["results"] = results
    for field in ("sidecars", "stepTemplate", "workspaces", "params", "volumes"):
        if f"task_{field}" in spec:
            task[field] = spec.pop(f"task_{field}")
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": name},
        "spec": {"taskSpec": task, **spec},
    }


def step(name: str, **more: Any) -> Object:
    return {"name": name, "image": "busybox", "command": ["true"], **more}


async def test_a_run_that_succeeds() -> None:
    theatre = Theatre.open(by_container(one=Ran(results={"r": "v\n"})))
    run = await theatre.run(task_run(step("one"), step("two"), results=[{"name": "r"}]))
    assert succeeded(run) == ("True", "Succeeded")
    assert message(run) == "All Steps have completed executing"
    assert steps_of(run) == {"one": (0, "Completed"), "two": (0, "Completed")}
    assert result_of(run) == {"r": "r"}, "the second step wrote it last"
    assert meta.status(run)["podName"] == "run-pod"
    assert meta.spec(run)["timeout"] == "1h0m0s"
    assert meta.spec(run)["serviceAccountName"] == "default"


async def test_a_failing_step_skips_the_rest() -> None:
    theatre = Theatre.open(by_container(two=Ran(3)))
    run = await theatre.run(task_run(step("one"), step("two"), step("three")))
    assert succeeded(run) == ("False", "StepFailed")
    assert message(run) == '"step-two" exited with code 3'
    assert steps_of(run) == {"one": (0, "Completed"), "two": (3, "Error"), "three": (1, "Skipped")}


async def test_on_error_continue_shows_the_real_code_of_a_run_that_succeeds() -> None:
    theatre = Theatre.open(by_container(one=Ran(11, results={"r": "123"})))
    run = await theatre.run(task_run(step("one", onError="continue"), step("two"), results=[{"name": "r"}]))
    assert succeeded(run) == ("True", "Succeeded")
    assert steps_of(run) == {"one": (11, "Continued"), "two": (0, "Completed")}


async def test_a_step_beyond_its_own_timeout() -> None:
    theatre = Theatre.open(by_container(one=Ran(137, reason=Reason.TIMEOUT)))
    run = await theatre.run(task_run(step("one", timeout="5s")))
    assert succeeded(run) == ("False", "StepFailed")
    assert message(run) == '"step-one" exited because the step exceeded the specified timeout limit'
    assert steps_of(run) == {"one": (1, "TimeoutExceeded")}


async def test_a_result_of_another_type_fails_a_run_whose_steps_all_passed() -> None:
    theatre = Theatre.open(by_container(one=Ran(results={"r": "no json"})))
    run = await theatre.run(task_run(results=[{"name": "r", "type": "array"}]))
    assert succeeded(run) == ("False", "TaskRunValidationFailed")
    assert message(run) == (
        "Provided results don't match declared results; may be invalid JSON or missing result declaration:  "
        '"r": task result is expected to be "array" type but was initialized to a different type "string"'
    )


async def test_results_of_a_failed_run_are_kept() -> None:
    theatre = Theatre.open(by_container(one=Ran(1, results={"r": "v"})))
    assert result_of(await theatre.run(task_run(results=[{"name": "r"}]))) == {"r": "v"}


async def test_a_retry_reuses_the_run_and_archives_the_attempt() -> None:
    attempts = iter([Ran(1), Ran(2), Ran(0)])
    theatre = Theatre.open(lambda pod, container, step: next(attempts))
    run = await theatre.run(task_run(step("one", args=["$(context.task.retry-count)"]), retries=2))
    assert succeeded(run) == ("True", "Succeeded")
    status = meta.status(run)
    assert [found["conditions"][0]["message"] for found in status["retriesStatus"]] == [
        '"step-one" exited with code 1',
        '"step-one" exited with code 2',
    ]
    assert all("retriesStatus" not in found for found in status["retriesStatus"])
    assert [found["podName"] for found in status["retriesStatus"]] == ["run-pod", "run-pod-retry1"]
    assert status["podName"] == "run-pod-retry2"
    assert entrypoint.parse((await theatre.pod("run-pod-retry2"))["spec"]["containers"][0]["args"]).args == ("2",)


async def test_the_timeout_is_per_attempt_and_takes_the_pod_away() -> None:
    theatre = Theatre.open(by_container(one=Ran(None)))
    run = await theatre.run(task_run(retries=1, timeout="10s"))
    assert succeeded(run) == ("Unknown", "Running")
    await theatre.advance(10)
    assert succeeded(await theatre.again(run)) == ("Unknown", "Running")
    assert await theatre.pods() == ["run-pod-retry1"]
    await theatre.advance(9)
    assert succeeded(await theatre.again(run)) == ("Unknown", "Running")
    await theatre.advance(1)
    run = await theatre.again(run)
    assert succeeded(run) == ("False", "TaskRunTimeout")
    assert message(run) == 'TaskRun "run" failed to finish within "10s"'
    assert steps_of(run) == {"one": (1, "TaskRunTimeout")}
    assert await theatre.pods() == []


async def test_a_cancelled_run_is_not_retried() -> None:
    theatre = Theatre.open(by_container(one=Ran(None)))
    run = await theatre.run(task_run(retries=3))
    run = await theatre.patch(run, {"status": "TaskRunCancelled", "statusMessage": "enough"})
    assert succeeded(run) == ("False", "TaskRunCancelled")
    assert message(run) == 'TaskRun "run" was cancelled. enough'
    assert meta.status(run)["steps"][0]["terminated"]["message"] == "Step one terminated as pod run-pod is terminated"
    assert await theatre.pods() == []


async def test_a_pending_run_waits_without_a_start_time() -> None:
    theatre = Theatre.open()
    run = await theatre.run(task_run(status="TaskRunPending"))
    assert succeeded(run) == ("Unknown", "TaskRunPending")
    assert "startTime" not in meta.status(run)
    run = await theatre.patch(run, {"status": None})
    assert succeeded(run) == ("True", "Succeeded")


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"taskRef": {"name": "absent"}, "taskSpec": None}, "TaskRunResolutionFailed", "error when getting Task"),
        (
            {"task_params": [{"name": "a"}, {"name": "b"}]},
            "TaskRunValidationFailed",
            "missing values for these params which have no default values: [a b]",
        ),
        (
            {"task_params": [{"name": "a", "type": "array"}], "params": [{"name": "a", "value": "x"}]},
            "TaskRunValidationFailed",
            "param types don't match the user-specified type: [a]",
        ),
        (
            {"task_workspaces": [{"name": "w"}]},
            "TaskRunValidationFailed",
            'bound workspaces did not match declared workspaces: declared workspace "w" is required',
        ),
    ],
)
async def test_a_run_that_cannot_be_run_says_why(spec: Any, reason: str, words: str) -> None:
    theatre = Theatre.open()
    run = await theatre.run(task_run(**spec))
    assert succeeded(run) == ("False", reason)
    assert words in message(run)
    assert meta.status(run)["completionTime"]
    assert await theatre.pods() == []


async def test_a_pod_that_is_refused_fails_the_run() -> None:
    theatre = Theatre.open()

    def refuse(write: Write) -> None:
        if write.verb == "create" and write.kind == core.POD:
            raise Invalid("no such runtime class")

    theatre.client.refuse = refuse
    run = await theatre.run(task_run())
    assert succeeded(run) == ("False", "PodCreationFailed")
    assert "no such runtime class" in message(run)


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "InvalidImageName"])
async def test_an_image_that_cannot_be_pulled_fails_the_run(reason: str) -> None:
    theatre = Theatre.open(by_container(one=Ran(None, waiting=reason)))
    run = await theatre.run(task_run())
    assert succeeded(run) == ("False", "TaskRunImagePullFailed")
    assert message(run).startswith('The step "one" in TaskRun "run" failed to pull the image "busybox".')
    assert await theatre.pods() == []


async def test_sidecars_are_waited_for_by_announcing_the_pod() -> None:
    theatre = Theatre.open()
    run = await theatre.run(task_run(task_sidecars=[{"name": "db", "image": "db"}]))
    assert succeeded(run) == ("True", "Succeeded")
    assert meta.status(run)["sidecars"][0]["container"] == "sidecar-db"


async def test_a_step_wins_over_the_template_and_the_pod_template_over_both() -> None:
    theatre = Theatre.open()
    template = {"image": "base", "env": [{"name": "A", "value": "t"}, {"name": "B", "value": "t"}]}
    one = {"name": "one", "env": [{"name": "B", "value": "s"}, {"name": "C", "value": "s"}], "script": "true"}
    await theatre.run(task_run(one, task_stepTemplate=template, podTemplate={"env": [{"name": "C", "value": "p"}]}))
    container = (await theatre.pod("run-pod"))["spec"]["containers"][0]
    assert container["image"] == "base"
    assert {found["name"]: found["value"] for found in container["env"]} == {"A": "t", "B": "s", "C": "p"}


async def test_a_script_without_a_shebang_gets_one_and_takes_args() -> None:
    theatre = Theatre.open()
    scripts = [
        {"name": "a", "image": "i", "script": "echo $(date) $$(x)", "args": ["1"]},
        {"name": "b", "image": "i", "script": "\n#!/usr/bin/env python3\nprint()"},
    ]
    await theatre.run(task_run(*scripts))
    pod = await theatre.pod("run-pod")
    placed = entrypoint.scripts(pod["spec"]["initContainers"][-1]["args"])
    assert list(placed.values()) == [b"#!/bin/sh\nset -e\necho $(date) $$(x)", b"#!/usr/bin/env python3\nprint()"]
    told = [entrypoint.parse(container["args"]) for container in pod["spec"]["containers"]]
    assert [found.command for found in told] == list(placed)
    assert told[0].args == ("1",)


async def test_each_step_writes_only_its_own_run_directory() -> None:
    theatre = Theatre.open()
    await theatre.run(task_run(step("one"), step("two")))
    for index, container in enumerate((await theatre.pod("run-pod"))["spec"]["containers"]):
        mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
        assert mounts[f"/tekton/run/{index}"] is False
        assert mounts[f"/tekton/run/{1 - index}"] is True


async def test_one_step_that_lists_a_workspace_takes_it_from_all_others() -> None:
    theatre = Theatre.open()
    steps = [step("one", workspaces=[{"name": "w", "mountPath": "/mine"}]), step("two")]
    spec: Any = {"task_workspaces": [{"name": "w"}], "workspaces": [{"name": "w", "emptyDir": {}}]}
    await theatre.run(task_run(*steps, **spec))
    one, two = (await theatre.pod("run-pod"))["spec"]["containers"]
    assert "/mine" in [mount["mountPath"] for mount in one["volumeMounts"]]
    assert not [mount for mount in two["volumeMounts"] if mount["name"].startswith("ws-")]


async def test_a_claim_bound_twice_is_one_volume() -> None:
    theatre = Theatre.open()
    claim = {"persistentVolumeClaim": {"claimName": "c"}}
    spec: Any = {
        "task_workspaces": [{"name": "a"}, {"name": "b"}],
        "workspaces": [{"name": "a", **claim, "subPath": "x"}, {"name": "b", **claim}],
    }
    await theatre.run(task_run(**spec))
    pod = (await theatre.pod("run-pod"))["spec"]
    assert len([volume for volume in pod["volumes"] if volume["name"].startswith("ws-")]) == 1
    mounts = {m["mountPath"]: m.get("subPath") for m in pod["containers"][0]["volumeMounts"] if "ws-" in m["name"]}
    assert mounts == {"/workspace/a": "x", "/workspace/b": None}


async def test_a_param_may_speak_of_a_workspace_but_not_of_a_param() -> None:
    theatre = Theatre.open()
    spec: Any = {
        "params": [{"name": "p", "value": "$(workspaces.w.path)/$(params.q)"}, {"name": "q", "value": "Q"}],
        "workspaces": [{"name": "w", "emptyDir": {}}],
    }
    await theatre.run(task_run(step("one", args=["$(params.p)"]), **spec))
    args = (await theatre.pod("run-pod"))["spec"]["containers"][0]["args"]
    assert entrypoint.parse(args).args == ("/workspace/w/$(params.q)",)


async def test_credentials_of_the_service_account_reach_every_step() -> None:
    theatre = Theatre.open()
    registry = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "reg"},
        "type": "kubernetes.io/dockerconfigjson",
    }
    git = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "git", "annotations": {"tekton.dev/git-0": "https://example.com"}},
        "type": "kubernetes.io/basic-auth",
    }
    account: Object = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "builder"},
        "secrets": [{"name": "reg"}, {"name": "git"}, {"name": "absent"}],
    }
    await theatre.run(registry, git, account, task_run(serviceAccountName="builder"))
    pod = (await theatre.pod("run-pod"))["spec"]
    told = entrypoint.parse(pod["containers"][0]["args"])
    assert [(found.kind, found.secret, found.url) for found in told.credentials] == [
        ("docker-config", "reg", ""),
        ("basic-git", "git", "https://example.com"),
    ]
    assert "/tekton/creds-secrets/reg" in [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"timeout": "5m"}, "Once the TaskRun has started, only status and statusMessage updates are allowed"),
        ({"status": "TaskRunPending"}, "TaskRun cannot be Pending after it is started"),
        ({"managedBy": "me"}, "managedBy is immutable"),
    ],
)
async def test_a_started_run_is_immutable(change: Object, words: str) -> None:
    theatre = Theatre.open(by_container(one=Ran(None)))
    run = await theatre.run(task_run())
    with pytest.raises(Invalid, match=words):
        await theatre.patch(run, change)


async def test_a_run_managed_by_another_is_left_alone() -> None:
    theatre = Theatre.open()
    run = await theatre.run(task_run(managedBy="example.com/other"))
    assert not meta.status(run)


@pytest.mark.parametrize("seed", range(8))
async def test_chaos_leads_to_the_same_end(seed: int) -> None:
    theatre = Theatre.open(by_container(two=Ran(1)), chaos=Chaos(seed))
    run = await theatre.run(task_run(step("one"), step("two"), retries=2))
    assert succeeded(run) == ("False", "StepFailed")
    assert len(meta.status(run)["retriesStatus"]) == 2
    assert sorted(await theatre.pods()) == ["run-pod", "run-pod-retry1", "run-pod-retry2"]
    assert len(theatre.client.objects(pipeline.TASK_RUN)) == 1


async def test_a_settled_run_costs_no_writes() -> None:
    theatre = Theatre.open(by_container(one=Ran(None)))
    await theatre.run(task_run())
    assert await theatre.world.settle() == []
    assert await theatre.advance(60) == []
