"""Tekton's own examples, played: each is admitted, becomes pods, and ends as Tekton reports it.

Origin of the files: tests/data/tekton/README.md.
"""

from __future__ import annotations

import pytest
import yaml

from funcs.api import catalog, meta, pipeline, schema
from funcs.errors import Invalid, NotFound
from tests.pipelines.playing import DATA, Ran, Script, Theatre, all_succeed, as_json, by_container, succeeded

EXAMPLES = sorted(str(path.relative_to(DATA)) for path in DATA.rglob("*.yaml"))
REFUSED = {
    "pipelineruns/stepaction-params.yaml": "StepAction",
    "pipelineruns/using-optional-workspaces-in-when-expressions.yaml": "not supported: when",
    "taskruns/stepaction-passing-results.yaml": "StepAction",
    "taskruns/stepaction.yaml": "StepAction",
}
SCRIPTS: dict[str, Script] = {
    "pipelineruns/pipeline-object-param-and-result.yaml": by_container(
        write_result=Ran(results={"object-result": as_json({"foo": "abc.com", "bar": "sha123"})})
    ),
}


@pytest.mark.parametrize("example", [name for name in EXAMPLES if name not in REFUSED])
async def test_an_example_runs_to_its_end(example: str) -> None:
    theatre = Theatre.open(SCRIPTS.get(example, all_succeed))
    made = await theatre.apply((DATA / example).read_text())
    await theatre.world.settle()
    runs = [await theatre.again(obj) for obj in made if catalog.kind_of(obj).kind.endswith("Run")]
    assert runs
    for run in runs:
        assert succeeded(run) == ("True", "Succeeded"), meta.status(run)
        assert meta.status(run)["completionTime"]
    assert not theatre.world.failures


@pytest.mark.parametrize("example", [name for name in EXAMPLES if name not in REFUSED])
async def test_the_schemas_know_every_field_of_an_example_and_of_what_became_of_it(example: str) -> None:
    theatre = Theatre.open(SCRIPTS.get(example, all_succeed))
    await theatre.apply((DATA / example).read_text())
    await theatre.world.settle()
    for kind, view in pipeline.VIEWS.items():
        for obj in theatre.client.objects(kind):
            assert schema.unknown_fields(schema.of_kind(kind, view), obj) == []
            assert schema.problems(schema.of_kind(kind, view), obj) == []


@pytest.mark.parametrize("example", sorted(REFUSED))
async def test_what_is_not_done_yet_is_refused_by_name(example: str) -> None:
    theatre = Theatre.open()
    with pytest.raises((Invalid, NotFound), match=REFUSED[example]):
        await theatre.apply(*yaml.safe_load_all((DATA / example).read_text()))


@pytest.mark.parametrize("example", ["pipelineruns/workspaces.yaml", "taskruns/ignore-step-error.yaml"])
async def test_a_settled_world_costs_no_writes(example: str) -> None:
    theatre = Theatre.open()
    await theatre.apply((DATA / example).read_text())
    await theatre.world.settle()
    assert await theatre.world.settle() == []
    assert await theatre.advance(10) == []
