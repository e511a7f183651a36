"""New functions from templates.

Law: a directory with something in it is refused (a repository, a read-me and a licence may be there); templates'
hooks are never run; nothing is half made: the function appears whole. IO: reads the template, writes the directory.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from funcs.api.function import SPEC_VERSION, name_problem
from funcs.errors import AlreadyExists, Invalid, NotFound

_MAY_BE_THERE = frozenset({".git", "readme", "readme.md", "readme.rst", "license", "license.md", "license.txt"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFunction:
    """What is asked for. `created` is RFC 3339."""

    name: str
    created: str
    language: str = "python"
    template: str = "http"


def builtin_templates() -> Path:
    """The templates that came with this installation."""
    packaged = Path(__file__).with_name("_templates")
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "templates"


def available(templates: Path) -> Iterator[tuple[str, str]]:
    """(language, template) of each."""
    for found in sorted(templates.glob("*/*/cookiecutter.json")):
        yield found.parent.parent.name, found.parent.name


def create(target: Path, asked: NewFunction, templates: Path) -> None:
    """Make the function. Raises Invalid (name), NotFound (template), AlreadyExists (directory)."""
    if problem := name_problem(asked.name):
        raise Invalid(f"{asked.name!r} cannot be a function's name: it {problem}", hint="Choose another name.")
    template = _template(asked, templates)
    _check_empty(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".funcs-create-") as scratch:
        made = _render(template, asked, Path(scratch))
        target.mkdir(exist_ok=True)
        present = {path.name.lower() for path in target.iterdir()}
        for path in sorted(made.iterdir()):
            if path.name.lower() not in present:
                shutil.move(path, target / path.name)


def _template(asked: NewFunction, templates: Path) -> Path:
    offered = list(available(templates))
    if (asked.language, asked.template) not in offered:
        names = ", ".join(f"{language}/{template}" for language, template in offered)
        raise NotFound(f"no template {asked.language}/{asked.template}", hint=f"There are: {names or 'none'}.")
    return templates / asked.language / asked.template


def _check_empty(target: Path) -> None:
    if not target.exists() and not target.is_symlink():
        return
    if not target.is_dir():
        raise AlreadyExists(f"{target} is there and is not a directory", hint="Choose another directory.")
    others = sorted(path.name for path in target.iterdir() if path.name.lower() not in _MAY_BE_THERE)
    if others:
        raise AlreadyExists(
            f"{target} is not empty: it has {', '.join(others[:5])}{' …' if len(others) > 5 else ''}",
            hint="Choose an empty or new directory.",
        )


def _render(template: Path, asked: NewFunction, scratch: Path) -> Path:
    from cookiecutter.exceptions import CookiecutterException
    from cookiecutter.generate import generate_context, generate_files

    answers = {"name": asked.name, "created": asked.created, "spec_version": SPEC_VERSION}
    try:
        context = generate_context(str(template / "cookiecutter.json"), extra_context=answers)
        return Path(generate_files(str(template), context, output_dir=str(scratch), accept_hooks=False))
    except CookiecutterException as error:
        raise Invalid(f"the template {asked.language}/{asked.template} does not work: {error}") from error
