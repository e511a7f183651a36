"""Structural schemas lowered from types, and what they find in a value."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from funcs.api import schema
from funcs.api.catalog import KINDS
from funcs.api.core import CUSTOM_RESOURCE_DEFINITION
from funcs.api.kinds import Column, Kind, Scale
from funcs.api.rules import VIEWS


class Step(msgspec.Struct, rename="camel"):
    image_name: str
    retries: Annotated[int, msgspec.Meta(ge=0)] = 0
    mode: Literal["fast", "slow"] = "fast"
    port: int | str = 0
    inner: list[Step] = []


class Spec(msgspec.Struct):
    steps: list[Step] = []
    labels: dict[str, str] = {}
    raw: dict[str, Any] = {}
    note: str | None = None


class View(msgspec.Struct):
    spec: Spec = msgspec.field(default_factory=Spec)


KIND = Kind(
    group="example.com", version="v1", kind="Thing", plural="things", scale=Scale(), columns=(Column("A", ".spec.a"),)
)
SCHEMA = schema.of_kind(KIND, View)


def thing(**step: Any) -> dict[str, Any]:
    return {"spec": {"steps": [{"imageName": "x", **step}], "raw": {"any": {"thing": 1}}}}


def test_a_type_is_lowered() -> None:
    assert schema.structural(Spec)["properties"]["steps"]["items"] == {
        "type": "object",
        "required": ["imageName"],
        "properties": {
            "imageName": {"type": "string"},
            "retries": {"type": "integer", "format": "int64", "minimum": 0},
            "mode": {"type": "string", "enum": ["fast", "slow"]},
            "port": {schema.INT_OR_STRING: True},
            "inner": {"type": "array", "items": {"type": "object", schema.PRESERVE: True}},
        },
    }


def test_a_good_value_has_no_problems() -> None:
    assert schema.problems(SCHEMA, thing(retries=1, mode="slow", port="http")) == []
    assert schema.unknown_fields(SCHEMA, thing()) == []


@pytest.mark.parametrize(
    ("step", "path"),
    [
        ({"retries": "3"}, "spec.steps[0].retries"),
        ({"retries": -1}, "spec.steps[0].retries"),
        ({"retries": True}, "spec.steps[0].retries"),
        ({"mode": "other"}, "spec.steps[0].mode"),
        ({"port": []}, "spec.steps[0].port"),
        ({"imageName": None}, "spec.steps[0].imageName"),
    ],
)
def test_a_problem_has_its_path(step: dict[str, Any], path: str) -> None:
    assert [problem.path for problem in schema.problems(SCHEMA, thing(**step))] == [path]


def test_unknown_fields_are_found_and_pruned_but_raw_places_keep_all() -> None:
    value = thing(imageTag="1")
    assert schema.unknown_fields(SCHEMA, value) == ["spec.steps[0].imageTag"]
    assert schema.pruned(SCHEMA, value) == thing()


def test_a_definition_says_all_that_the_kind_says() -> None:
    made = schema.crd(KIND, View)
    version = made["spec"]["versions"][0]
    assert made["metadata"]["name"] == "things.example.com"
    assert set(version["subresources"]) == {"status", "scale"}
    assert version["additionalPrinterColumns"] == [{"name": "A", "type": "string", "jsonPath": ".spec.a"}]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != CUSTOM_RESOURCE_DEFINITION], ids=str)
def test_every_kind_of_the_catalog_has_a_definition(kind: Kind) -> None:
    found = schema.crd(kind, VIEWS.get(kind))["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert found["type"] == "object"
    assert found["properties"]["metadata"] == {"type": "object"}
