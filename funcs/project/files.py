"""The files of a function: what is in its directory and is its author's to ship.

Law: what leaves the machine is decided here and nowhere else. Rules, later ones winning: built-in ones, `.gitignore`,
`.funcignore` (in every directory, git's own semantics); whatever these say, repositories, virtual environments, our
own state, caches and `.env` never leave. A symbolic link stays inside. IO: reads directories.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pathspec import GitIgnoreSpec

from funcs.errors import Invalid

NEVER = frozenset({".git", ".hg", ".svn", ".func", ".env", ".venv", "__pycache__", ".funcignore", ".gitignore"})
DEFAULTS = (
    "*.py[cod]", ".env.*", "!.env.example", ".mypy_cache/", ".pytest_cache/", ".ruff_cache/", ".tox/", ".nox/",
    ".DS_Store", ".idea/", ".vscode/", ".coverage", "node_modules/",
)  # fmt: skip
_IGNORE_FILES = (".gitignore", ".funcignore")
_LARGEST_IGNORE_FILE = 256 * 1024
MOST_FILES = 50_000

Rules = tuple[tuple[str, GitIgnoreSpec], ...]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file or symbolic link. `path` is relative, with `/`; `stat` is of the file itself, not of a link's target."""

    path: str
    place: Path
    stat: os.stat_result
    link: str = ""

    @property
    def executable(self) -> bool:
        return bool(self.stat.st_mode & stat.S_IXUSR)


def walk(root: Path) -> list[SourceFile]:
    """Every file to ship, sorted by path. Raises Invalid for links that lead out, special files, too many files."""
    if not root.is_dir():
        raise Invalid(f"{root} is not a directory", hint="Name the directory that holds func.yaml.")
    found: list[SourceFile] = []
    for file in _below(root, root, "", (("", GitIgnoreSpec.from_lines(DEFAULTS)),)):
        found.append(file)
        if len(found) > MOST_FILES:
            raise Invalid(
                f"{root} has more than {MOST_FILES} files",
                hint="Is it the right directory? Leave files out with .funcignore.",
            )
    return sorted(found, key=lambda file: file.path.split("/"))


def _below(root: Path, directory: Path, under: str, rules: Rules) -> Iterator[SourceFile]:
    with os.scandir(directory) as scanned:
        listed = sorted(scanned, key=lambda entry: entry.name)
    rules += _rules_in(directory, under, {entry.name for entry in listed})
    for entry in listed:
        path = f"{under}{entry.name}"
        is_directory = entry.is_dir(follow_symlinks=False)
        if entry.name in NEVER or _ignored(f"{path}/" if is_directory else path, rules):
            continue
        if is_directory:
            yield from _below(root, Path(entry.path), f"{path}/", rules)
        else:
            yield _file(root, path, entry)


def _rules_in(directory: Path, under: str, names: set[str]) -> Rules:
    lines: list[str] = []
    for name in _IGNORE_FILES:
        if name in names:
            with (directory / name).open("rb") as file:
                lines += file.read(_LARGEST_IGNORE_FILE).decode(errors="replace").splitlines()
    return ((under, GitIgnoreSpec.from_lines(lines)),) if lines else ()


def _ignored(path: str, rules: Rules) -> bool:
    """The rules nearest to the file decide first, as in git."""
    for under, spec in reversed(rules):
        verdict = spec.check_file(path[len(under) :]).include
        if verdict is not None:
            return verdict
    return False


def _file(root: Path, path: str, entry: os.DirEntry[str]) -> SourceFile:
    place, found = Path(entry.path), entry.stat(follow_symlinks=False)
    if any(ord(letter) < 32 for letter in path):
        raise Invalid(f"a file's name has a control character: {path!r}", hint="Rename it.")
    if stat.S_ISLNK(found.st_mode):
        return SourceFile(path, place, found, _checked_link(root, path, place))
    if not stat.S_ISREG(found.st_mode):
        raise Invalid(f"{path} is neither a file nor a symbolic link", hint="Leave it out with .funcignore.")
    return SourceFile(path, place, found)


def _checked_link(root: Path, path: str, place: Path) -> str:
    target = os.readlink(place)  # noqa: PTH115
    if PurePosixPath(target).is_absolute():
        raise Invalid(f"project may not contain absolute links: {path} -> {target}", hint="Make the link relative.")
    inside = os.path.realpath(root)
    if os.path.commonpath([inside, os.path.realpath(place)]) != inside or _climbs_out(path, target):
        raise Invalid(f"links must stay within project root: {path} -> {target}", hint="Copy what it points at.")
    return target


def _climbs_out(path: str, target: str) -> bool:
    depth = path.count("/")
    for part in target.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            return True
    return False
