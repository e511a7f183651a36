"""The language: one pass per scope, arrays isolated, unknown names left alone, results verbatim, edges found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcs.api.pipeline_defaults import normal_value
from funcs.api.pipeline_views import Param, ParamSpec, PipelineResult, PipelineTask, ResultSpec
from funcs.errors import Terminal
from pipelines.language import graph, params, references, results, shapes, substitution
from pipelines.language.references import ResultReference
from pipelines.language.substitution import Value

KNOWN = substitution.replacements(
    "params", {"s": "text", "a": ["x", "y"], "o": {"k": "v"}, "self": "$(params.s)", "with.dot": "dotted"}
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$(params.s)", "text"),
        ("$(params['s']) $(params[\"s\"])", "text text"),
        ("$(params.with.dot)", "dotted"),
        ("$(params['with.dot'])", "dotted"),
        ("$(params.a[1])", "y"),
        ("$(params.a[9])", "$(params.a[9])"),
        ("$(params.o.k)", "v"),
        pytest.param("$(date) $(params.none)", "$(date) $(params.none)", id="unknown names are left as they are"),
        pytest.param("$(params.self)", "$(params.s)", id="a value is not looked at again"),
        pytest.param("$$(params.s)", "$text", id="there is no escape"),
        pytest.param("$($(params.s))", "$(text)", id="innermost first, once"),
        pytest.param("$(params.a)", "$(params.a)", id="an array is no text"),
    ],
)
def test_text(template: str, expected: str) -> None:
    assert substitution.text(template, KNOWN) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$(params.a[*])", ["x", "y"]),
        ("$(params.a)", ["x", "y"]),
        pytest.param("-$(params.a[*])", ["-$(params.a[*])"], id="only where it stands alone"),
        ("$(params.s)!", ["text!"]),
    ],
)
def test_an_array_expands_where_it_is_isolated(template: str, expected: list[str]) -> None:
    assert substitution.elements(template, KNOWN) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$(params.a[*])", ["x", "y"]),
        ("$(params.o[*])", {"k": "v"}),
        (["0", "$(params.a[*])"], ["0", "x", "y"]),
        ({"q": "$(params.s)"}, {"q": "text"}),
        ("$(params.a[*]) ", "$(params.a[*]) "),
    ],
)
def test_a_value_takes_the_type_of_what_it_is(template: Value, expected: Value) -> None:
    assert substitution.value(template, KNOWN) == expected


@given(st.text())
def test_text_without_variables_stays_as_it_is(text: str) -> None:
    assert substitution.text(text, substitution.replacements("params", {})) == text


@given(st.text(), st.text())
def test_a_value_arrives_verbatim_whatever_it_says(value: str, other: str) -> None:
    known = substitution.replacements("params", {"x": value, "y": other})
    assert substitution.text("<$(params.x)>", known) == f"<{value}>"


def test_only_the_fields_of_a_shape_are_replaced() -> None:
    spec = {"steps": [{"image": "$(params.s)", "timeout": "$(params.s)", "args": ["$(params.a[*])", "z"]}]}
    assert shapes.apply(spec, shapes.TASK_SPEC, KNOWN) == {
        "steps": [{"image": "text", "timeout": "$(params.s)", "args": ["x", "y", "z"]}]
    }


@pytest.mark.parametrize(
    ("json", "value"),
    [(1, "1"), (True, "true"), (1.5, "1.5"), (None, ""), ([1, 2], "[1,2]"), (["a"], ["a"]), ({"a": 1}, '{"a":1}')],
)
def test_a_value_is_read_as_tekton_reads_json(json: object, value: Value) -> None:
    assert normal_value(json) == value


def test_defaults_may_speak_of_other_params_in_any_order() -> None:
    declared = [
        ParamSpec("url", default="https://$(params.host)/$(params.path)"),
        ParamSpec("host", default="h$(params.n)"),
    ]
    assert params.bind(declared, {"n": "1", "path": "p"})["url"] == "https://h1/p"


def test_a_circle_of_defaults_is_refused() -> None:
    declared = [ParamSpec("a", default="$(params.b)"), ParamSpec("b", default="$(params.a)")]
    with pytest.raises(Terminal, match='circular dependency detected in param "a"'):
        params.bind(declared, {})


def test_an_object_takes_missing_keys_from_its_default() -> None:
    declared = [ParamSpec("o", type="object", properties={"a": {}, "b": {}, "c": {}}, default={"a": "1", "b": "2"})]
    given = {"o": {"b": "x"}}
    assert params.bind(declared, given) == {"o": {"a": "1", "b": "x"}}
    assert params.missing_keys(declared, given) == {"o": ["c"]}


def test_an_index_beyond_the_end_is_named() -> None:
    assert params.out_of_bounds(["$(params.a[2])", '$(params["a"][1])'], {"a": ["x", "y"]}) == ["$(params.a[2])"]


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("$(tasks.t.results.r)", ResultReference("t", "r")),
        ("$(tasks.t.results['a.b'][0])", ResultReference("t", "a.b", "0")),
        ("$(tasks.t.results.r[*])", ResultReference("t", "r", "*")),
        ("$(tasks.t.results.r.key)", ResultReference("t", "r", None, "key")),
        ("$(finally.t.results.r)", ResultReference("t", "r", scope="finally")),
    ],
)
def test_a_reference_to_a_result(template: str, found: ResultReference) -> None:
    assert list(references.results_in(f"x {template} y")) == [found]


def test_references_in_params_and_embedded_steps_are_edges() -> None:
    tasks = [
        PipelineTask("a"),
        PipelineTask("b", task_spec={"steps": [{"script": "echo $(tasks.a.results.r)"}]}),
        PipelineTask("c", run_after=("a",), params=(Param("p", "$(tasks.b.results.r)"),)),
    ]
    assert graph.parents(tasks) == {"a": (), "b": ("a",), "c": ("a", "b")}


def test_a_circle_is_no_order() -> None:
    with pytest.raises(Terminal, match="cycle detected"):
        graph.parents([PipelineTask("a", run_after=("b",)), PipelineTask("b", run_after=("a",))])


@pytest.mark.parametrize(
    ("type", "file", "value", "problem"),
    [
        pytest.param("string", "a\n", "a\n", "", id="verbatim, newline and all"),
        ("array", '["a","b"]', ["a", "b"], ""),
        ("object", '{"k":"v"}', {"k": "v"}, ""),
        ("array", "[1]", "[1]", 'is expected to be "array" type but was initialized to a different type "string"'),
        ("array", "nonsense", "nonsense", 'is expected to be "array" type'),
        ("object", "{}", {}, "missing keys for these results which are required in TaskResult's properties map[r:[k]]"),
    ],
)
def test_a_result_is_read_by_its_declaration(type: str, file: str, value: Value, problem: str) -> None:
    declared = [ResultSpec("r", type=type, properties={"k": {}} if type == "object" else None)]
    read = results.read(declared, {"r": file, "undeclared": "x"})
    assert read == {"r": value}
    assert problem in results.problem(declared, read)
    assert bool(problem) == bool(results.problem(declared, read))


def test_a_pipelines_result_is_left_out_if_its_task_did_not_succeed_and_an_error_if_it_did() -> None:
    declared = [
        PipelineResult("ok", "$(tasks.a.results.x)-$(tasks.a.results.y)"),
        PipelineResult("no", "$(tasks.b.results.x)"),
    ]
    written = {"a": {"x": "1", "y": "2"}, "b": {}}
    assert results.of_pipeline(declared, written, lambda task: task == "a") == {"ok": "1-2"}
    with pytest.raises(Terminal, match="invalid pipelineresults \\[no\\]"):
        results.of_pipeline(declared, written, lambda task: True)
