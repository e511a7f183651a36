"""The entrypoint contract: what is written is what is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcs.errors import BadRequest
from pipelines.steps import entrypoint
from pipelines.steps.entrypoint import Credential, Ending, Reason, Step

NAMES = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12)
PATHS = st.text(min_size=1, max_size=30)
STEPS = st.builds(
    Step,
    command=st.text(max_size=20),
    args=st.lists(st.text(max_size=20), max_size=5).map(tuple),
    wait_file=st.one_of(st.just(""), PATHS),
    wait_for_content=st.booleans(),
    post_file=st.one_of(st.just(""), PATHS),
    termination_path=PATHS,
    metadata_dir=st.one_of(st.just(""), PATHS),
    on_error=st.sampled_from(["", "continue", "stopAndFail"]),
    timeout=st.one_of(st.none(), st.integers(0, 10**9).map(lambda ms: ms / 1000)),
    stdout_path=st.one_of(st.just(""), PATHS),
    results=st.lists(NAMES, max_size=4, unique=True).map(tuple),
    step_results=st.lists(NAMES, max_size=4, unique=True).map(tuple),
    credentials=st.lists(
        st.builds(Credential, st.sampled_from(["basic-git", "docker-config"]), NAMES, st.just("https://h=1")),
        max_size=2,
    ).map(tuple),
)


@given(STEPS)
def test_parsing_inverts_rendering(step: Step) -> None:
    assert entrypoint.parse(entrypoint.args_for(step)) == step


def test_the_first_step_waits_for_the_pod_and_the_next_for_the_first() -> None:
    step = Step(command="/bin/sh", args=("-c", "true"), results=("a", "b"), on_error="continue", timeout=90)
    assert entrypoint.args_for(entrypoint.placed(0, step))[:7] == [
        "-wait_file", "/tekton/downward/ready", "-wait_file_content", "-post_file", "/tekton/run/0/out",
        "-termination_path", "/tekton/termination",
    ]  # fmt: skip
    assert entrypoint.args_for(entrypoint.placed(1, step)) == [
        "-wait_file", "/tekton/run/0/out", "-post_file", "/tekton/run/1/out",
        "-termination_path", "/tekton/termination",
        "-step_metadata_dir", "/tekton/run/1/status", "-on_error", "continue", "-timeout", "1m30s", "-results", "a,b",
        "-entrypoint", "/bin/sh", "--", "-c", "true",
    ]  # fmt: skip


def test_flags_are_read_as_go_reads_them() -> None:
    step = entrypoint.parse(
        ["--post_file=/x", "-wait_file_content=false", "-timeout=1h", "-entrypoint", "echo", "a", "-b"]
    )
    assert (step.post_file, step.wait_for_content, step.timeout, step.args) == ("/x", False, 3600, ("a", "-b"))


@pytest.mark.parametrize("args", [["-nonsense", "x"], ["-post_file"], ["-on_error", "ignore"], ["-timeout", "1 day"]])
def test_a_command_line_that_is_not_ours_is_refused(args: list[str]) -> None:
    with pytest.raises(BadRequest):
        entrypoint.parse(args)


@pytest.mark.parametrize(
    ("on_error", "exit_code", "reason", "ending"),
    [
        pytest.param("", 0, Reason.NONE, Ending(0, "/o", 0, False), id="success"),
        pytest.param("", 3, Reason.NONE, Ending(3, "/o.err", 3, True), id="failure stops the rest"),
        pytest.param("continue", 3, Reason.NONE, Ending(0, "/o", 3, False), id="continue hides the code"),
        pytest.param("continue", 137, Reason.TIMEOUT, Ending(1, "/o.err", None, True), id="a timeout is never ignored"),
        pytest.param("", 0, Reason.SKIPPED, Ending(1, "/o.err", None, True), id="a skipped step exits 1"),
    ],
)  # fmt: skip
def test_how_a_step_ends(on_error: entrypoint.OnError, exit_code: int, reason: Reason, ending: Ending) -> None:
    assert entrypoint.end(Step(post_file="/o", on_error=on_error), exit_code=exit_code, reason=reason) == ending


@given(st.dictionaries(NAMES, st.text(max_size=50), max_size=4), st.integers(0, 255))
def test_the_termination_message_carries_results_verbatim(values: dict[str, str], exit_code: int) -> None:
    step = Step(results=tuple(values), on_error="continue")
    raw = {name: value.encode("utf-8", errors="replace") for name, value in values.items()}
    message = entrypoint.termination_message(step, exit_code=exit_code, started_at=1_700_000_000.25, results=raw)
    read = entrypoint.read_termination(message)
    assert read.results == {name: value.decode() for name, value in raw.items()}
    assert read.started_at == 1_700_000_000.25
    assert read.exit_code == (exit_code or None)


def test_the_message_is_the_one_tekton_writes() -> None:
    step = Step(results=("foo", "absent"))
    message = entrypoint.termination_message(step, exit_code=0, started_at=0, results={"foo": b"bar\n"})
    assert json.loads(message) == [
        {"key": "StartedAt", "value": "1970-01-01T00:00:00.000Z", "type": 3},
        {"key": "foo", "value": "bar\n", "type": 1},
    ]


def test_the_last_of_two_equal_results_wins() -> None:
    message = '[{"key":"a","value":"1","type":1},{"key":"a","value":"2","type":1}]'
    assert entrypoint.read_termination(message).results == {"a": "2"}


@pytest.mark.parametrize("text", ["oom", "{}", "[1]", "null"])
def test_a_message_that_is_not_ours_is_kept_as_text(text: str) -> None:
    assert entrypoint.read_termination(text).text == text


def test_results_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(entrypoint.ResultsTooLarge, match="caused by large task result"):
        entrypoint.termination_message(
            Step(results=("a",)), exit_code=0, started_at=0, results={"a": b"x" * entrypoint.MESSAGE_LIMIT}
        )


@given(st.dictionaries(NAMES.map(lambda name: f"/tekton/scripts/{name}"), st.text(), max_size=3))
def test_scripts_arrive_as_they_were(scripts: dict[str, str]) -> None:
    scripts = {path: text.encode("utf-8", errors="replace").decode() for path, text in scripts.items()}
    placed = entrypoint.scripts(entrypoint.place_scripts(scripts))
    assert placed == {path: text.encode() for path, text in scripts.items()}


def test_a_script_outside_its_directory_is_refused() -> None:
    with pytest.raises(BadRequest):
        entrypoint.scripts(entrypoint.place_scripts({"/etc/passwd": "x"}))
