"""PipelineRuns: order, skipping, failure, cancellation, timeouts, `finally`, results: as Tekton reports them."""

from __future__ import annotations

from typing import Any

import pytest

from funcs.api import core, meta, pipeline
from funcs.api.meta import Object
from funcs.control.testing import Chaos
from funcs.errors import Invalid
from pipelines.steps import entrypoint
from tests.pipelines.playing import Ran, Script, Theatre, message, result_of, succeeded


def task(name: str, *, args: list[str] | None = None, results: list[str] | None = None, **more: Any) -> Object:
    spec: Object = {"steps": [{"name": "s", "image": "i", "command": ["run"], "args": args or []}]}
    if results:
        spec["results"] = [{"name": result} for result in results]
    return {"name": name, "taskSpec": spec, **more}


def pipeline_run(*tasks: Object, final: list[Object] | None = None, spec: Object | None = None, **more: Any) -> Object:
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "run"},
        "spec": {"pipelineSpec": {"tasks": list(tasks), "finally": final or [], **(spec or {})}, **more},
    }


def by_task(**endings: Ran) -> Script:
    """By pipeline task, dashes as underscores; others succeed and write all results."""

    def script(pod: Object, container: str, step: entrypoint.Step) -> Ran:
        name = meta.labels(pod)["tekton.dev/pipelineTask"].replace("-", "_")
        return endings.get(name, Ran(results={result: f"{name}.{result}" for result in step.results}))

    return script


def states(theatre: Theatre) -> dict[str, tuple[str, str]]:
    return {
        meta.labels(run)["tekton.dev/pipelineTask"]: succeeded(run)
        for run in theatre.client.objects(pipeline.TASK_RUN)
        if meta.status(run)
    }


def skipped(run: Object) -> dict[str, str]:
    return {found["name"]: found["reason"] for found in meta.status(run).get("skippedTasks") or []}


async def args_of(theatre: Theatre, name: str) -> tuple[str, ...]:
    pod = await theatre.pod(f"run-{name}-pod")
    return entrypoint.parse(pod["spec"]["containers"][0]["args"]).args


async def test_tasks_run_in_order_and_pass_results() -> None:
    theatre = Theatre.open(by_task())
    run = await theatre.run(
        pipeline_run(
            task("use", args=["$(params.p)"], params=[{"name": "p", "value": "<$(tasks.make.results.r)>"}]),
            task("embed", args=["$(tasks.make.results.r)"]),
            task("make", results=["r"]),
            spec={"results": [{"name": "out", "value": "$(tasks.make.results.r)!"}]},
        )
    )
    assert succeeded(run) == ("True", "Succeeded")
    assert message(run) == "Tasks Completed: 3 (Failed: 0, Cancelled 0), Skipped: 0"
    assert result_of(run) == {"out": "make.r!"}
    assert await args_of(theatre, "use") == ("<make.r>",)
    assert await args_of(theatre, "embed") == ("make.r",)
    assert [found["pipelineTaskName"] for found in meta.status(run)["childReferences"]] == ["use", "embed", "make"]


async def test_a_failure_stops_what_has_not_begun_and_finally_runs() -> None:
    theatre = Theatre.open(by_task(one=Ran(1)))
    run = await theatre.run(
        pipeline_run(
            task("one"),
            task("two", runAfter=["one"]),
            final=[
                task(
                    "last",
                    args=["$(tasks.one.status)", "$(tasks.two.status)", "$(tasks.status)", "$(tasks.one.reason)"],
                )
            ],
        )
    )
    assert succeeded(run) == ("False", "Failed")
    assert message(run) == "Tasks Completed: 2 (Failed: 1, Cancelled 0), Skipped: 1"
    assert skipped(run) == {"two": "PipelineRun was stopping"}
    assert await args_of(theatre, "last") == ("Failed", "None", "Failed", "StepFailed")
    assert meta.status(run)["finallyStartTime"]


async def test_finally_that_fails_fails_the_run() -> None:
    theatre = Theatre.open(by_task(last=Ran(1)))
    run = await theatre.run(pipeline_run(task("one"), final=[task("last")]))
    assert succeeded(run) == ("False", "Failed")


async def test_an_ignored_failure_lets_the_run_go_on() -> None:
    theatre = Theatre.open(by_task(one=Ran(1)))
    run = await theatre.run(pipeline_run(task("one", onError="continue"), task("two", runAfter=["one"])))
    assert succeeded(run) == ("True", "Succeeded")
    assert message(run) == "Tasks Completed: 2 (Failed: 1 (Ignored: 1), Cancelled 0), Skipped: 0"
    assert states(theatre)["one"] == ("False", "FailureIgnored")


async def test_a_result_that_a_successful_task_did_not_write_fails_validation_and_finally_runs() -> None:
    theatre = Theatre.open(by_task(make=Ran()))
    run = await theatre.run(
        pipeline_run(
            task("make", results=["r"]),
            task("use", args=["$(tasks.make.results.r)"]),
            final=[task("last"), task("needs", args=["$(tasks.make.results.r)"])],
        )
    )
    assert succeeded(run) == ("False", "PipelineValidationFailed")
    assert message(run) == (
        "Tasks Completed: 2 (Failed: 0, Cancelled 0), Skipped: 1, Failed Validation: 1 (Invalid task result reference: "
        "Could not find result with name r for pipeline task make)"
    )
    assert skipped(run) == {"needs": "Results were missing"}
    assert states(theatre)["last"] == ("True", "Succeeded")


async def test_a_consumer_that_may_fail_is_skipped_when_its_result_is_missing_and_so_are_its_children() -> None:
    theatre = Theatre.open(by_task(make=Ran()))
    run = await theatre.run(
        pipeline_run(
            task("make", results=["r"]),
            task("use", args=["$(tasks.make.results.r)"], onError="continue"),
            task("after", runAfter=["use"]),
        )
    )
    assert succeeded(run) == ("True", "Completed")
    assert skipped(run) == {"use": "Results were missing", "after": "Parent Tasks were skipped"}


async def test_a_pipeline_result_that_was_not_written_fails_the_run() -> None:
    theatre = Theatre.open(by_task(make=Ran()))
    spec = {"results": [{"name": "out", "value": "$(tasks.make.results.r)"}]}
    run = await theatre.run(pipeline_run(task("make", results=["r"]), spec=spec))
    assert succeeded(run) == ("False", "CouldntGetPipelineResult")


async def test_cancelled_ends_at_once_without_finally() -> None:
    theatre = Theatre.open(by_task(one=Ran(None)))
    run = await theatre.run(pipeline_run(task("one"), final=[task("last")]))
    run = await theatre.patch(run, {"status": "Cancelled"})
    assert succeeded(run) == ("False", "Cancelled")
    assert message(run) == 'PipelineRun "run" was cancelled'
    one = await theatre.task_run("run-one")
    assert succeeded(one) == ("False", "TaskRunCancelled")
    assert "TaskRun cancelled as the PipelineRun it belongs to has been cancelled." in message(one)
    assert set(states(theatre)) == {"one"}


async def test_cancelled_run_finally_kills_and_then_runs_finally() -> None:
    theatre = Theatre.open(by_task(one=Ran(None)))
    run = await theatre.run(pipeline_run(task("one"), task("two", runAfter=["one"]), final=[task("last")]))
    run = await theatre.patch(run, {"status": "CancelledRunFinally"})
    assert succeeded(run) == ("False", "Cancelled")
    assert states(theatre) == {"one": ("False", "TaskRunCancelled"), "last": ("True", "Succeeded")}


async def test_stopped_run_finally_lets_what_runs_end() -> None:
    endings = {"one": Ran(None)}

    def script(pod: Object, container: str, step: entrypoint.Step) -> Ran:
        return by_task(**endings)(pod, container, step)

    theatre = Theatre.open(script)
    run = await theatre.run(pipeline_run(task("one"), task("two", runAfter=["one"]), final=[task("last")]))
    run = await theatre.patch(run, {"status": "StoppedRunFinally"})
    assert succeeded(run) == ("Unknown", "StoppedRunningFinally")
    endings["one"] = Ran()
    await theatre.client.patch(core.POD, "run-one-pod", {"metadata": {"labels": {"woken": "yes"}}}, "default")
    await theatre.world.settle()
    run = await theatre.again(run)
    assert succeeded(run) == ("False", "Cancelled")
    assert states(theatre) == {"one": ("True", "Succeeded"), "last": ("True", "Succeeded")}
    assert skipped(run) == {"two": "PipelineRun was gracefully stopped"}


async def test_the_runs_timeout_counts_its_children_as_failed() -> None:
    theatre = Theatre.open(by_task(one=Ran(None)))
    run = await theatre.run(pipeline_run(task("one"), timeouts={"pipeline": "20s"}))
    await theatre.advance(20)
    run = await theatre.again(run)
    assert succeeded(run) == ("False", "PipelineRunTimeout")
    assert message(run) == 'PipelineRun "run" failed to finish within "20s"'
    one = await theatre.task_run("run-one")
    assert "TaskRun cancelled as the PipelineRun it belongs to has timed out." in message(one)


async def test_the_tasks_timeout_still_runs_finally() -> None:
    theatre = Theatre.open(by_task(one=Ran(None)))
    spec = pipeline_run(
        task("one"), task("two", runAfter=["one"]), final=[task("last")], timeouts={"pipeline": "1m", "finally": "20s"}
    )
    run = await theatre.run(spec)
    await theatre.advance(40)
    run = await theatre.again(run)
    assert succeeded(run) == ("False", "Failed")
    assert states(theatre) == {"one": ("False", "TaskRunCancelled"), "last": ("True", "Succeeded")}
    assert meta.status(run)["finallyStartTime"]


async def test_finally_has_a_timeout_of_its_own() -> None:
    theatre = Theatre.open(by_task(last=Ran(None)))
    run = await theatre.run(
        pipeline_run(task("one"), final=[task("last")], timeouts={"pipeline": "1m", "finally": "20s"})
    )
    await theatre.advance(20)
    assert succeeded(await theatre.again(run)) == ("False", "Failed")


async def test_a_pending_run_makes_nothing() -> None:
    theatre = Theatre.open()
    run = await theatre.run(pipeline_run(task("one"), status="PipelineRunPending"))
    assert succeeded(run) == ("Unknown", "PipelineRunPending")
    assert "startTime" not in meta.status(run)
    assert not theatre.client.objects(pipeline.TASK_RUN)
    run = await theatre.patch(run, {"status": None})
    assert succeeded(run) == ("True", "Succeeded")


async def test_one_claim_for_a_runs_workspace_owned_by_the_run() -> None:
    theatre = Theatre.open()
    template = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}
    run = await theatre.run(
        pipeline_run(
            task("one", workspaces=[{"name": "w", "subPath": "b"}]),
            task("two", args=["$(workspaces.w.path)"], runAfter=["one"]),
            spec={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w", "volumeClaimTemplate": template, "subPath": "a"}],
        )
    )
    assert succeeded(run) == ("True", "Succeeded")
    (claim,) = theatre.client.objects(core.PERSISTENT_VOLUME_CLAIM)
    assert meta.is_controlled_by(claim, run)
    one = meta.spec(await theatre.task_run("run-one"))
    assert one["workspaces"] == [
        {"name": "w", "subPath": "a/b", "persistentVolumeClaim": {"claimName": meta.name(claim)}}
    ]
    assert await args_of(theatre, "two") == ("/workspace/w",), "it propagates into what speaks of it"


async def test_what_a_pipeline_knows_propagates_into_embedded_tasks_inner_words_first() -> None:
    theatre = Theatre.open()
    inner = task("one", args=["$(params.a)", "$(params.b)", "$(params.c)", "$(context.pipelineRun.name)"])
    inner["params"] = [{"name": "b", "value": "task"}]
    inner["taskSpec"]["params"] = [{"name": "c", "default": "default"}]
    outer = [{"name": name, "value": "run"} for name in "abc"]
    await theatre.run(pipeline_run(inner, params=outer, spec={"params": [{"name": name} for name in "abc"]}))
    assert await args_of(theatre, "one") == ("run", "task", "default", "run")


@pytest.mark.parametrize(
    ("run", "reason", "words"),
    [
        (pipeline_run(task("a"), spec={"params": [{"name": "p"}]}), "ParameterMissing", "missing parameters: [p]"),
        (
            pipeline_run(
                task("a"),
                spec={"params": [{"name": "p", "type": "array"}]},
                params=[{"name": "p", "value": "x"}],
            ),
            "ParameterTypeMismatch",
            "[p]",
        ),
        (
            pipeline_run(task("a"), spec={"workspaces": [{"name": "w"}]}),
            "InvalidWorkspaceBindings",
            'pipeline requires workspace with name "w" be provided by pipelinerun',
        ),
        (
            pipeline_run({"name": "a", "taskRef": {"name": "absent"}}),
            "CouldntGetTask",
            'Couldn\'t retrieve Task "absent"',
        ),
        (
            pipeline_run(task("a"), taskRunSpecs=[{"pipelineTaskName": "b"}]),
            "InvalidTaskRunSpecs",
            'wrong taskName: "b"',
        ),
    ],
)
async def test_a_run_that_does_not_fit_its_pipeline_says_why(run: Object, reason: str, words: str) -> None:
    theatre = Theatre.open()
    found = await theatre.run(run)
    assert succeeded(found) == ("False", reason)
    assert words in message(found)
    assert not theatre.client.objects(pipeline.TASK_RUN)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (pipeline_run(task("a", runAfter=["b"]), task("b", runAfter=["a"])), "cycle detected"),
        (pipeline_run(task("a", runAfter=["x"])), "x wasn't present in Pipeline"),
        (pipeline_run(task("a"), task("a")), "expected exactly one, got both"),
        (pipeline_run(task("a", when=[{"input": "x", "operator": "in", "values": ["x"]}])), "not supported: when"),
        (pipeline_run(task("a", matrix={"params": []} | {"include": [1]})), "not supported: matrix"),
        (pipeline_run({"name": "a", "taskRef": {"resolver": "git"}}), "not supported: the resolver 'git'"),
        (pipeline_run(task("a"), final=[task("f", runAfter=["a"])]), "no runAfter allowed under spec.finally"),
        (pipeline_run(task("a", params=[{"name": "p", "value": "$(date)"}])), "must start with a valid prefix"),
        (pipeline_run(task("a", retries=1, onError="continue")), "when Retries is greater than 0"),
        (pipeline_run(task("a"), timeouts={"pipeline": "1m", "tasks": "2m"}), "should be <= pipeline duration"),
        (pipeline_run(task("a", args=["$(tasks.status)"])), "can not refer to execution status"),
        (pipeline_run(task("a", results=["../../etc/passwd"])), "invalid key name"),
        (pipeline_run(task("a"), status="Stop"), "Stop should be Cancelled"),
    ],
)
async def test_what_can_never_be_right_is_refused_at_the_door(run: Object, words: str) -> None:
    with pytest.raises(Invalid, match=".*" + words.replace("'", ".")):
        await Theatre.open().apply(run)


@pytest.mark.parametrize("seed", range(8))
async def test_chaos_leads_to_the_same_end(seed: int) -> None:
    theatre = Theatre.open(by_task(c=Ran(1)), chaos=Chaos(seed))
    run = await theatre.run(
        pipeline_run(
            task("a", results=["r"]),
            task("b", args=["$(tasks.a.results.r)"]),
            task("c", runAfter=["b"], retries=1),
            task("d", runAfter=["c"]),
            final=[task("last")],
        )
    )
    assert succeeded(run) == ("False", "Failed")
    assert message(run) == "Tasks Completed: 4 (Failed: 1, Cancelled 0), Skipped: 1"
    assert sorted(await theatre.pods()) == ["run-a-pod", "run-b-pod", "run-c-pod", "run-c-pod-retry1", "run-last-pod"]
    assert await theatre.world.settle() == []


async def test_a_deep_lattice_is_decided_quickly() -> None:
    theatre = Theatre.open(by_task(t0=Ran(1)))
    tasks = [task("t0")]
    tasks += [task(f"t{n}", runAfter=[f"t{m}" for m in range(max(0, n - 5), n)]) for n in range(1, 60)]
    run = await theatre.run(pipeline_run(*tasks))
    assert message(run) == "Tasks Completed: 1 (Failed: 1, Cancelled 0), Skipped: 59"
