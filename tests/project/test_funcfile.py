"""func.yaml: mistakes are named, and a rewrite loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from funcs.api.function import Function, value_of
from funcs.errors import Invalid, NotFound
from funcs.project import funcfile

HEAD = "name: hello\nruntime: python\n"

WRONG = [
    pytest.param("runtime: python\n", "name: is required", id="no name"),
    pytest.param("- a\n", "must be a mapping", id="a list"),
    pytest.param("", "must be a mapping", id="nothing"),
    pytest.param("name: Hello\nruntime: python\n", "name (line 1): 'Hello' must be lower-case", id="upper case"),
    pytest.param("name: 1x\nruntime: python\n", "begin with a letter", id="a digit first"),
    pytest.param(f"name: {'x' * 51}\nruntime: python\n", "at most 50", id="too long"),
    pytest.param(HEAD + "buld:\n  builder: host\n", "buld (line 3): unknown field, did you mean 'build'?", id="typo"),
    pytest.param(HEAD + "run:\n  envs:\n  - nam: A\n", "run.envs[0].nam (line 5)", id="typo inside a list"),
    pytest.param(HEAD + "run:\n  envs: 3\n", "run.envs (line 4): Expected `array", id="not a list"),
    pytest.param(HEAD + "run:\n  envs:\n  - {name: A, value: '{{ secret:s }}'}\n", "a key is missing", id="no key"),
    pytest.param(HEAD + "run:\n  envs:\n  - {name: A, value: '{{ foo }}'}\n", "is none of {{ env", id="no such form"),
    pytest.param(HEAD + "run:\n  envs:\n  - {value: x}\n", "without a name", id="no name of a variable"),
    pytest.param(HEAD + "run:\n  envs:\n  - {name: A}\n  - {name: A}\n", "'A' is set twice", id="set twice"),
    pytest.param(HEAD + "run:\n  volumes:\n  - {secret: s, path: x}\n", "needs an absolute path", id="relative path"),
    pytest.param(HEAD + "run:\n  volumes:\n  - {path: /x}\n", "exactly one of", id="no source"),
    pytest.param(HEAD + "invoke: cloudevents\n", "none of http, cloudevent", id="plural"),
    pytest.param(HEAD + "deploy:\n  options:\n    scale: {min: 3, max: 1}\n", "below min", id="max below min"),
    pytest.param(HEAD + "deploy:\n  options:\n    scale: {utilization: 0}\n", "percentage", id="utilization"),
    pytest.param(HEAD + "deploy:\n  options:\n    resources: {limits: {cpu: lots}}\n", "quantity", id="quantity"),
    pytest.param(HEAD + "name: again\n", "line 3: 'name' is given twice", id="twice"),
    pytest.param(HEAD + "x: [", "is not YAML", id="not YAML"),
    pytest.param(HEAD + "x: !!python/object/apply:os.system [id]\n", "is not for this file", id="a tag"),
    pytest.param("[" * 40, "nested more than 32 deep", id="deep"),
    pytest.param("[" * 100_000, "nested more than 32 deep", id="very deep"),
    pytest.param(
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{new}: &{new} [*{old},*{old},*{old},*{old},*{old},*{old},*{old},*{old},*{old}]\n"
            for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "more than 20000 values", id="a bomb",
    ),
    pytest.param("x" * 300_000, "the most is 262144", id="large"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_a_mistake_is_named_with_its_place(text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        funcfile.parse(text.encode())
    assert said in str(caught.value)


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        funcfile.parse(b"name: X\nruntime: python\ndeployer: nobody\nimge: x\n")
    assert [error.path for error in caught.value.causes] == ["name", "deployer", "imge"]


def test_a_field_nobody_knows_is_kept_with_a_warning() -> None:
    function, warnings = funcfile.parse(f"{HEAD}zebra: 1\n".encode())
    assert function.name == "hello"
    assert warnings == ["zebra (line 3): unknown field, kept but not used"]


def test_no_file_has_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        funcfile.read(tmp_path)
    assert "funcs create" in (caught.value.hint or "")


def test_a_rewrite_keeps_comments_order_and_unknown_fields(tmp_path: Path) -> None:
    before = (
        "# at the top\nruntime: python  # why\nname: hello\nzebra:\n  stripes: 12 # counted\n"
        "created: 2024-01-02T03:04:05Z\nrun:\n  envs:\n  - name: A\n    value: '1'\n"
    )
    (tmp_path / "func.yaml").write_text(before)
    funcfile.update(tmp_path, {"deploy.image": "localhost:5000/hello@sha256:00", "deploy.namespace": "default"})
    after = (tmp_path / "func.yaml").read_text()
    assert after == before + "deploy:\n  image: localhost:5000/hello@sha256:00\n  namespace: default\n"
    funcfile.update(tmp_path, {"deploy.image": None, "deploy.namespace": None})
    assert (tmp_path / "func.yaml").read_text().startswith(before)
    assert [path.name for path in tmp_path.iterdir()] == ["func.yaml"]


def test_a_rewrite_without_a_change_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "func.yaml").write_text(HEAD)
    before = (tmp_path / "func.yaml").stat().st_ino
    funcfile.update(tmp_path, {"name": "hello"})
    assert (tmp_path / "func.yaml").stat().st_ino == before


def test_a_rewrite_that_would_be_invalid_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "func.yaml").write_text(HEAD)
    with pytest.raises(Invalid):
        funcfile.update(tmp_path, {"invoke": "carrier pigeon"})
    assert (tmp_path / "func.yaml").read_text() == HEAD


@pytest.mark.parametrize(
    ("function", "registry", "image"),
    [
        (Function(name="f", runtime="python"), "", ""),
        (Function(name="f", runtime="python"), "localhost:5000", "localhost:5000/f:latest"),
        (Function(name="f", runtime="python"), "me", "docker.io/me/f:latest"),
        (Function(name="f", runtime="python", registry="r.org/team/"), "other", "r.org/team/f:latest"),
        (Function(name="f", runtime="python", registry="r.org", image="x:1"), "", "x:1"),
    ],
)
def test_the_image_is_named_by_intent(function: Function, registry: str, image: str) -> None:
    assert function.image_name(registry) == image


def test_values_say_where_they_come_from() -> None:
    assert [
        (value.source, value.name, value.key) if (value := value_of(text)) else None
        for text in ("plain", "a {{ b }}", "{{ env:A }}", "{{secret:s:k}}", "{{ configMap:c }}", "{{ env:A:B }}", "{{x")
    ] == [
        ("text", "plain", ""), ("text", "a {{ b }}", ""), ("env", "A", ""), ("secret", "s", "k"),
        ("configMap", "c", ""), None, None,
    ]  # fmt: skip
