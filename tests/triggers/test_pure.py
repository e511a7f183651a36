"""Bindings, templates and interceptors: what an event is taken apart into, and what is made of it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcs.api.triggers import BoundParam, Interceptor, TriggerTemplateSpec
from funcs.errors import Invalid
from pipelines.triggers import bindings, interceptors, templates
from pipelines.triggers.bindings import Event
from pipelines.triggers.interceptors import Stopped, check, signature

BODY = {
    "ref": "refs/heads/main",
    "repository": {"name": "shop", "a.b": "dotted"},
    "commits": [{"id": "1", "added": ["x", "y"]}, {"id": "2", "added": []}],
    "forced": False,
    "size": 3,
    "none": None,
    "message": 'say "hi" $(body.ref)',
}
EVENT = Event("e-1", BODY, {"X-Github-Event": "push"}, {"branch": "main"})


def value_of(expression: str) -> str:
    return bindings.evaluate([BoundParam("p", expression)], EVENT, {})["p"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$(body.ref)", "refs/heads/main"),
        ("branch $(extensions.branch) of $(body.repository.name)", "branch main of shop"),
        ("$(body.commits[0].id)", "1"),
        ("$(body.commits[-1].id)", "2"),
        ("$(body.commits[*].id)", '["1","2"]'),
        ("$(body.commits[0].added)", '["x","y"]'),
        ("$(body.repository['a.b'])", "dotted"),
        (r"$(body.repository.a\.b)", "dotted"),
        ("$(body.forced) $(body.size) $(body.none)", "false 3 null"),
        ("$(header.X-GitHub-Event)", "push"),
        ("$(header.x-github-event)", "push"),
        ("$(context.eventID)", "e-1"),
        ("$(body.message)", 'say "hi" $(body.ref)'),
        ("$(tt.params.x) $(other) $(bodyguard)", "$(tt.params.x) $(other) $(bodyguard)"),
        ("$($(body.ref))", "$(refs/heads/main)"),
        ("$(header)", '{"X-Github-Event":"push"}'),
    ],
)
def test_a_value_is_found(expression: str, value: str) -> None:
    assert value_of(expression) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("$(body.nothing)", "param p: nothing is not found: $(body.nothing)"),
        ("$(body.commits[7])", "7 is not found"),
        ("$(body.ref.name)", "name is not found"),
        ("$(body.ref[*])", "str has no elements"),
        ("$(body.commits[?])", "is not a path of names"),
        ("$(header.X-Absent)", "X-Absent is not found in the headers"),
    ],
)
def test_what_is_missing_is_named(expression: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        value_of(expression)
    assert message in caught.value.message


def test_what_is_missing_is_the_templates_default() -> None:
    assert bindings.evaluate([BoundParam("p", "$(body.nothing)")], EVENT, {"p": "d"}) == {"p": "d"}


def template(*resources: Any, **defaults: str | None) -> TriggerTemplateSpec:
    params = [{"name": name, **({"default": value} if value is not None else {})} for name, value in defaults.items()]
    return msgspec.convert({"params": params, "resourcetemplates": list(resources)}, TriggerTemplateSpec)


def test_a_template_is_filled_in_everywhere() -> None:
    spec = template(
        {"metadata": {"name": "run-$(uid)"}, "x-$(tt.params.a)": [{"v": "<$(tt.params.b)>", "n": 1}]}, a=None, b="B"
    )
    assert templates.render(spec, {"a": "A"}, "u1") == [{"metadata": {"name": "run-u1"}, "x-A": [{"v": "<B>", "n": 1}]}]


def test_a_param_without_value_or_default_is_named() -> None:
    with pytest.raises(Invalid, match="param a has no value and no default"):
        templates.render(template({"v": "$(tt.params.a)"}, a=None), {}, "u")


@given(st.text())
def test_no_value_can_change_the_shape_of_what_is_made(value: str) -> None:
    (made,) = templates.render(template({"spec": {"v": "$(tt.params.a)"}}, a=None), {"a": value}, "u")
    assert made == {"spec": {"v": value}}
    json.dumps(made)


def test_labels_and_namespace_are_added() -> None:
    made = templates.labelled(
        {"metadata": {"name": "r", "labels": {"mine": "x"}}}, "ns", {"trigger": "t", "triggergroup": ""}
    )
    assert made["metadata"] == {
        "name": "r", "namespace": "ns", "labels": {"mine": "x", "triggers.tekton.dev/trigger": "t"},
    }  # fmt: skip


def interceptor(name: str, **params: Any) -> Interceptor:
    given_params = [{"name": param, "value": value} for param, value in params.items()]
    return msgspec.convert({"ref": {"name": name}, "params": given_params}, Interceptor)


SIGNED = {"X-Github-Event": "push", "X-Hub-Signature-256": signature(b"secret", b"{}")}


@pytest.mark.parametrize(
    ("found", "headers", "secret"),
    [
        (interceptor("github"), {}, None),
        (interceptor("github", eventTypes=["push"]), SIGNED, b"secret"),
        (interceptor("gitlab", eventTypes=["Push Hook"]), {"X-Gitlab-Token": "t", "X-Gitlab-Event": "Push Hook"}, b"t"),
    ],
)
def test_who_may_pull_a_trigger(found: Interceptor, headers: dict[str, str], secret: bytes | None) -> None:
    check(found, headers, b"{}", secret)


@pytest.mark.parametrize(
    ("found", "headers", "body", "message"),
    [
        (interceptor("github"), {}, b"{}", "no X-Hub-Signature-256 header set"),
        (interceptor("github"), SIGNED, b"{ }", "payload signature check failed"),
        (interceptor("github"), {"X-Hub-Signature-256": "sha256=é"}, b"{}", "payload signature check failed"),
        (interceptor("github", eventTypes=["pull_request"]), SIGNED, b"{}", "event type push is not allowed"),
        (interceptor("gitlab"), {}, b"{}", "no X-GitLab-Token header set"),
        (interceptor("gitlab"), {"X-Gitlab-Token": "other"}, b"{}", "Invalid X-GitLab-Token"),
    ],
)
def test_who_may_not(found: Interceptor, headers: dict[str, str], body: bytes, message: str) -> None:
    with pytest.raises(Stopped, match=message):
        check(found, headers, body, b"secret")


def test_an_interceptor_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(Invalid, match="the interceptor cel is not supported"):
        interceptors.check(interceptor("cel"), {}, b"", None)
