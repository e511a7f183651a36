"""The house rules that a machine can check."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("funcs", "runtimes", "pipelines")
DOTTED = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+")
BANNED = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
CEILING = 500
# What a module that says "No IO." may not import.
EFFECTS = {"socket", "subprocess", "sqlite3", "httpx", "aiohttp", "random", "shutil", "tempfile"}


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in modules()}


def imports_of(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def test_modules_are_nouns_with_a_meaning() -> None:
    assert [named(path) for path in modules() if path.stem in BANNED or path.parent.name in BANNED] == []


def test_no_module_outgrows_a_room() -> None:
    long = {named(path): lines for path in modules() if (lines := len(path.read_text().splitlines())) > CEILING}
    assert long == {}


def test_every_module_says_what_it_is(trees: dict[Path, ast.Module]) -> None:
    silent = [named(path) for path, tree in trees.items() if path.read_text().strip() and not ast.get_docstring(tree)]
    assert silent == []


def test_a_module_without_io_imports_none(trees: dict[Path, ast.Module]) -> None:
    lying = {
        named(path): sorted(found)
        for path, tree in trees.items()
        if (ast.get_docstring(tree) or "").rstrip().endswith("No IO.") and (found := imports_of(tree) & EFFECTS)
    }
    assert lying == {}


def test_no_function_is_longer_than_a_screen(trees: dict[Path, ast.Module]) -> None:
    long = {
        f"{named(path)}:{node.name}": node.end_lineno - node.lineno + 1
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > 60
    }
    assert long == {}


def test_prose_names_only_modules_that_exist(trees: dict[Path, ast.Module]) -> None:
    """A docstring that names `a.b.c` of ours names something."""
    wrong = []
    for path, tree in trees.items():
        text = ast.get_docstring(tree) or ""
        for word in text.split("`")[1::2]:
            if DOTTED.fullmatch(word) and not word.startswith(("funcs.dev", "funcs._runtime")) and not _exists(word):
                wrong.append(f"{named(path)}: {word}")
    assert wrong == []


def _exists(dotted: str) -> bool:
    """A module, or a name in one."""
    parts = dotted.split("(", maxsplit=1)[0].split(".")
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        if place.is_dir() or place.with_suffix(".py").is_file():
            if length == len(parts):
                return True
            source = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
            return parts[length] in source.read_text()
    return False
