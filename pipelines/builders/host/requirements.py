"""What a function needs, as its author wrote it.

Law: only what can be had as wheels from an index, so that a build runs nobody's code; what is not is refused by name
and line. Nested requirement files must be inside the function's directory. IO: reads those files.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from funcs.errors import Invalid

_LARGEST = 1024 * 1024
_COMMENT = re.compile(r"(^|\s+)#.*$")
_INDEX_OPTIONS = ("--index-url", "-i", "--extra-index-url", "--find-links", "-f")
_FLAGS = ("--no-index", "--require-hashes", "--pre", "--prefer-binary")


@dataclass(frozen=True, slots=True)
class Requirements:
    """`lines` are requirements (hashes kept), `options` index options, `constraints` constraint lines."""

    lines: tuple[str, ...]
    options: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [Requirement(line.split(" --hash")[0]).name for line in self.lines]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSettings:
    """Where wheels come from, apart from what requirement files say. Addresses may hold secrets: never shown."""

    url: str = ""
    extra_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False

    @property
    def options(self) -> list[str]:
        options = ["--index-url", self.url] if self.url else []
        for url in self.extra_urls:
            options += ["--extra-index-url", url]
        for place in self.find_links:
            options += ["--find-links", place]
        return [*options, *(["--no-index"] if self.no_index else [])]


def index_settings(environ: Mapping[str, str]) -> IndexSettings:
    """As pip reads them from the environment."""
    return IndexSettings(
        url=environ.get("PIP_INDEX_URL", ""),
        extra_urls=tuple(environ.get("PIP_EXTRA_INDEX_URL", "").split()),
        find_links=tuple(environ.get("PIP_FIND_LINKS", "").split()),
        no_index=environ.get("PIP_NO_INDEX", "").lower() in ("1", "true", "yes", "on"),
    )


def read(root: Path) -> Requirements:
    """Of `requirements.txt`, else of `pyproject.toml`'s dependencies, else nothing. Raises Invalid."""
    if (root / "requirements.txt").is_file():
        return _from_file(root, root / "requirements.txt")
    if (root / "pyproject.toml").is_file():
        return _from_project(root / "pyproject.toml")
    return Requirements(())


def _from_project(path: Path) -> Requirements:
    try:
        found = tomllib.loads(_text(path)).get("project", {}).get("dependencies", [])
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{path.name} is not TOML: {error}") from error
    if not isinstance(found, list) or not all(isinstance(line, str) for line in found):
        raise Invalid(f"{path.name}: project.dependencies must be a list of strings")
    return Requirements(tuple(_requirement(line, f"{path.name}: project.dependencies") for line in found))


def _from_file(root: Path, path: Path, seen: frozenset[Path] = frozenset()) -> Requirements:
    if path in seen:
        raise Invalid(f"{path.name} includes itself")
    lines: list[str] = []
    options: list[str] = []
    constraints: list[str] = []
    for number, line in _logical_lines(_text(path)):
        where = f"{path.name}, line {number}"
        option, value = _option(line)
        if option in ("-r", "--requirement", "-c", "--constraint"):
            nested = _from_file(root, _inside(root, path.parent / value, where), seen | {path})
            (lines if option in ("-r", "--requirement") else constraints).extend(nested.lines)
            options += nested.options
            constraints += nested.constraints
        elif option in _INDEX_OPTIONS:
            options += [option, value]
        elif line in _FLAGS:
            options.append(line)
        else:
            lines.append(_requirement(line, where))
    return Requirements(tuple(lines), tuple(options), tuple(constraints))


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    held, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        start = start if held else number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        whole = _COMMENT.sub("", held + line).strip()
        held = ""
        if whole:
            yield start, whole


def _option(line: str) -> tuple[str, str]:
    if not line.startswith("-"):
        return "", ""
    words = shlex.split(line)
    option, equals, value = words[0].partition("=")
    if not equals and option[:2] in ("-r", "-c", "-i", "-f") and len(option) > 2 and not option.startswith("--"):
        return option[:2], option[2:]
    return option, value if equals else " ".join(words[1:])


def _requirement(line: str, where: str) -> str:
    text, *hashes = re.split(r"\s+--hash[= ]", line)
    if line.startswith("-"):
        raise Invalid(f"{where}: {line.split(maxsplit=1)[0]!r} is not supported here", hint="List names and versions.")
    if text.startswith((".", "/")) or re.match(r"[a-z+]+:", text):
        raise _not_a_wheel(where, text)
    try:
        parsed = Requirement(text)
    except InvalidRequirement as error:
        problem = str(error).partition("\n")[0]
        raise Invalid(f"{where}: {text!r} is not a requirement: {problem}", hint="Write it as in name>=1.2.") from error
    if parsed.url and not parsed.url.endswith(".whl"):
        raise _not_a_wheel(where, text)
    return " ".join([text.strip(), *(f"--hash={value.strip()}" for value in hashes)])


def _not_a_wheel(where: str, text: str) -> Invalid:
    return Invalid(
        f"{where}: {text!r} is a directory, repository or archive; only wheels can be installed",
        hint="Publish it as a wheel, or put the code into the function's directory.",
    )


def _inside(root: Path, path: Path, where: str) -> Path:
    if not path.resolve().is_relative_to(root.resolve()):
        raise Invalid(f"{where}: {path.name} is outside of the function's directory")
    if not path.is_file():
        raise Invalid(f"{where}: there is no {path.name}")
    return path


def _text(path: Path) -> str:
    data = path.read_bytes()
    if len(data) > _LARGEST:
        raise Invalid(f"{path.name} is larger than {_LARGEST} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{path.name} is not UTF-8") from error
