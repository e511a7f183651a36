"""How errors end a run: our own in two lines, defects in two lines and a file, tracebacks only when asked for."""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from funcs.cli.main import LazyGroup
from funcs.errors import Conflict, FuncsError, NotFound, Terminal, Timeout

CODES = [
    (FuncsError("m", reason="BuildFailed"), 6),
    (FuncsError("m", reason="FunctionError"), 8),
    (NotFound("m"), 3),
    (Conflict("m"), 9),
    (Timeout("m"), 7),
    (Terminal("m"), 4),
    (FuncsError("m"), 1),
]


def ending(error: Exception, *argv: str) -> Result:
    @click.group(cls=LazyGroup)
    @click.option("--debug", is_flag=True)
    def group(debug: bool) -> None:
        raise error

    return CliRunner().invoke(group, [*argv, "version"])


@pytest.mark.parametrize(("error", "code"), CODES, ids=[f"{type(e).__name__} {e.reason}" for e, _ in CODES])
def test_the_code_is_that_of_the_errors_kind(error: FuncsError, code: int) -> None:
    done = ending(error)
    assert (done.exit_code, done.stderr) == (code, "Error: m\n")


def test_a_hint_is_the_second_line() -> None:
    assert ending(NotFound("no a", hint="Make a.")).stderr == "Error: no a\n  → Make a.\n"


def test_an_error_alone_in_a_group_is_that_error() -> None:
    done = ending(ExceptionGroup("tasks", [ExceptionGroup("tasks", [NotFound("no a")])]))
    assert (done.exit_code, done.stderr) == (3, "Error: no a\n")


def test_a_defect_is_one_line_and_a_file_that_has_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = ending(ValueError("two\nlines"))
    assert done.exit_code == 1
    found = re.fullmatch(r"Error: unexpected ValueError: two lines\n  → Please report it with (.+)\.\n", done.stderr)
    assert found
    assert "Traceback (most recent call last)" in Path(found[1]).read_text()


def test_debug_shows_where_it_came_from() -> None:
    done = ending(NotFound("no a"), "--debug")
    assert done.exit_code == 3
    assert done.stderr.startswith("Traceback (most recent call last)")
    assert done.stderr.endswith("Error: no a\n")
