"""Admission of Tekton's kinds: defaults applied, mistakes named in Tekton's words."""

from __future__ import annotations

from typing import Any

import pytest

from funcs.api import catalog, meta
from funcs.api.admission import Request, admit
from funcs.api.meta import Object
from funcs.errors import Invalid
from pipelines.language.admission import RULES


def task(*steps: Object, **spec: Any) -> Object:
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "Task",
        "metadata": {"name": "t"},
        "spec": {"steps": list(steps) or [{"image": "i"}], **spec},
    }


def admitted(obj: Object, config: dict[str, str] | None = None) -> Object:
    kind = catalog.kind_of(obj)
    admit(Request(kind=kind, operation="CREATE", object=obj, config={"config-defaults": config or {}}), RULES)
    return obj


def test_a_run_gets_its_timeout_account_and_label_from_the_configuration() -> None:
    run: Object = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "r"},
        "spec": {"taskRef": {"name": "t"}, "params": [{"name": "n", "value": 3}]},
    }
    config = {"default-timeout-minutes": "5", "default-service-account": "robot"}
    spec = meta.spec(admitted(run, config))
    assert spec["timeout"] == "5m0s"
    assert spec["serviceAccountName"] == "robot"
    assert spec["taskRef"] == {"name": "t", "kind": "Task"}
    assert spec["params"] == [{"name": "n", "value": "3"}]
    assert meta.labels(run) == {"app.kubernetes.io/managed-by": "tekton-pipelines"}


def test_the_type_of_a_param_follows_from_its_default_and_properties() -> None:
    declared = [
        {"name": "s"},
        {"name": "a", "default": ["x"]},
        {"name": "o", "properties": {"k": {}}},
        {"name": "n", "default": 7},
    ]
    params = meta.spec(admitted(task(params=declared)))["params"]
    assert [(param["type"], param.get("default")) for param in params] == [
        ("string", None),
        ("array", ["x"]),
        ("object", None),
        ("string", "7"),
    ]


ARRAY = [{"name": "a", "type": "array"}]


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        (task() | {"spec": {}}, "missing field(s): spec.steps"),
        (task({"name": "s"}), "missing field(s): spec.steps[0].image"),
        (
            task({"image": "i", "script": "x", "command": ["y"]}),
            "script cannot be used with command: spec.steps[0].script",
        ),
        (task({"image": "i", "name": "Bad_Name"}), 'invalid value "Bad_Name": spec.steps[0].name'),
        (
            task({"image": "i", "name": "a"}, {"image": "i", "name": "a"}),
            "expected exactly one, got both: spec.steps[1].name",
        ),
        (task({"image": "i", "onError": "go"}), 'invalid value: "go": spec.steps[0].onError'),
        (task({"image": "i", "timeout": "-1s"}), "-1s should be >= 0: spec.steps[0].timeout"),
        (
            task({"image": "i", "args": ["$(params.x)"]}),
            'non-existent variable in "$(params.x)": spec.steps[0].args[0]',
        ),
        (task({"image": "i", "args": ["$(params.a.b.c)"]}), "Only two dot-separated components"),
        (
            task({"image": "i", "args": ["-$(params.a)"]}, params=ARRAY),
            'variable is not properly isolated in "-$(params.a)"',
        ),
        (task({"image": "i", "script": "$(params.a[*])"}, params=ARRAY), 'variable type invalid in "$(params.a[*])"'),
        (
            task({"image": "i", "volumeMounts": [{"name": "v", "mountPath": "/tekton/run"}]}),
            'volumeMount cannot be mounted under /tekton/ (volumeMount "v" mounted at "/tekton/run")',
        ),
        (task({"image": "i", "workspaces": [{"name": "w"}]}), 'undefined workspace "w"'),
        (task(volumes=[{"name": "v"}, {"name": "v"}]), 'multiple volumes with same name "v"'),
        (task(params=[{"name": "p"}, {"name": "p"}]), "parameter appears more than once: spec.params[p]"),
        (task(params=[{"name": "p", "type": "object"}]), "missing field(s): p.properties"),
        (
            task(params=[{"name": "p", "type": "array", "default": "x"}]),
            '"array" type does not match default value\'s type',
        ),
        (task(params=[{"name": "a)b"}]), "variable names is invalid: [a)b]"),
        (task(results=[{"name": "../x"}]), 'invalid key name "../x"'),
        (task({"ref": {"name": "action"}}), "not supported: ref: spec.steps[0].ref"),
        (task(steps="nonsense"), "Expected `array`, got `str`"),
    ],
)
def test_a_mistake_is_named_with_its_place(obj: Object, words: str) -> None:
    with pytest.raises(Invalid) as refusal:
        admitted(obj)
    assert words in refusal.value.message


def test_shell_variables_and_unknown_names_are_nobodys_business() -> None:
    admitted(task({"image": "i", "script": "echo $(date) ${HOME} $(context.taskRun.name) $(unknown.thing)"}))


def test_an_array_may_stand_alone_in_args() -> None:
    admitted(task({"image": "i", "args": ["x", "$(params.a[*])", "$(params.a[0])"]}, params=ARRAY))


@pytest.mark.parametrize("spec", [None, [], "x", {"steps": [None]}, {"params": {"a": 1}}, {"steps": [{"name": 3}]}])
def test_nonsense_is_refused_not_crashed_on(spec: Any) -> None:
    for kind in ("Task", "Pipeline", "TaskRun", "PipelineRun"):
        inner = {"taskSpec": spec} if kind == "TaskRun" else {"pipelineSpec": {"tasks": [spec]}}
        for candidate in (spec, inner):
            obj = {"apiVersion": "tekton.dev/v1", "kind": kind, "metadata": {"name": "x"}, "spec": candidate}
            with pytest.raises(Invalid):
                admitted(obj)
