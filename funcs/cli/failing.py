"""How a run that went wrong ends: cause and remedy on standard error, then the exit code.

Law: an error of the family is what its message and hint say; any other is a defect of ours, said in one line, with its
traceback in a file. `debug` shows the traceback of either. IO: standard error; the file, in the directory for temporary
files, because the state directory may be what is broken.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from typing import NoReturn

import click

from funcs.errors import FuncsError

from .exits import UNEXPECTED, exit_code


def fail(error: Exception, *, debug: bool) -> NoReturn:
    """Print and exit."""
    cause = _only(error)
    if debug:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    if isinstance(cause, FuncsError):
        _say(cause.message, cause.hint)
        sys.exit(exit_code(cause))
    _say(_unexpected(cause), f"Please report it with {_recorded(error)}.")
    sys.exit(UNEXPECTED)


def _only(error: Exception) -> Exception:
    """The one error inside groups of one, as task groups wrap it."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _say(message: str, hint: str | None) -> None:
    click.echo(f"Error: {message}", err=True)
    if hint:
        click.echo(f"  → {hint}", err=True)


def _unexpected(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {said}" if said else f"unexpected {type(error).__name__}"


def _recorded(error: Exception) -> str:
    """The file that has the traceback."""
    handle, path = tempfile.mkstemp(prefix="funcs-error-", suffix=".log")
    with os.fdopen(handle, "w") as file:
        file.writelines(traceback.format_exception(error))
    return path
