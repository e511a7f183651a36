"""What of a function's directory is shipped, and how functions begin."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from funcs.errors import AlreadyExists, Invalid, NotFound
from funcs.project import files, funcfile, template
from funcs.project.digest import source_digest
from funcs.project.template import NewFunction

LATER = 10**19


def write(root: Path, *paths: str, text: str = "x") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def shipped(root: Path) -> list[str]:
    return [file.path for file in files.walk(root)]


def test_some_things_never_leave(tmp_path: Path) -> None:
    write(
        tmp_path, "func.py", ".env", "sub/.env", ".git/config", ".func/built", ".venv/x", "a/__pycache__/b.pyc", "c.pyc"
    )
    write(tmp_path, ".funcignore", text="!.env\n!.git/\n!.venv/\n")
    assert shipped(tmp_path) == ["func.py"]


def test_both_ignore_files_speak_gits_language(tmp_path: Path) -> None:
    write(
        tmp_path, "func.py", "a.tmp", "docs/x", "deep/docs/x", "build/out", "keep/a.tmp", "deep/secret.txt", "data.bin"
    )
    write(tmp_path, ".gitignore", text="*.tmp\n/docs\nbuild/\n")
    write(tmp_path, ".funcignore", text="data.bin\n!keep/*.tmp\n**/secret.txt\n")
    assert shipped(tmp_path) == ["deep/docs/x", "func.py", "keep/a.tmp"]


def test_an_ignore_file_further_in_outweighs_one_further_out(tmp_path: Path) -> None:
    write(tmp_path, "a.log", "sub/a.log", "sub/b.txt")
    write(tmp_path, ".gitignore", text="*.log\n")
    write(tmp_path, "sub/.gitignore", text="!a.log\n/b.txt\n")
    assert shipped(tmp_path) == ["sub/a.log"]


def test_a_link_inside_is_kept_as_a_link(tmp_path: Path) -> None:
    write(tmp_path, "a/target", "b/x")
    (tmp_path / "b" / "link").symlink_to("../a/target")
    (tmp_path / "dir").symlink_to("a")
    found = {file.path: file.link for file in files.walk(tmp_path)}
    assert found == {"a/target": "", "b/link": "../a/target", "b/x": "", "dir": "a"}


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "a/../../..", "out"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, target: str) -> None:
    root = tmp_path / "root"
    write(root, "a/b")
    if target == "out":
        (root / "out").symlink_to("../elsewhere")
    (root / "link").symlink_to(target)
    with pytest.raises(Invalid, match="links"):
        files.walk(root)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    place = os.path.relpath(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place if len(place) < 100 else str(tmp_path / "socket"))
        with pytest.raises(Invalid, match="neither a file"):
            files.walk(tmp_path)


def test_the_digest_is_of_content_and_not_of_place_or_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, "a/b.py", "func.py")
    os.utime(tmp_path / "two" / "func.py", (5, 5))
    digests = {source_digest(files.walk(tmp_path / name)) for name in ("one", "two")}
    assert len(digests) == 1
    write(tmp_path / "two", "func.py", text="y")
    assert source_digest(files.walk(tmp_path / "two")) not in digests


def test_a_remembered_file_is_not_read_again_until_it_changes(tmp_path: Path) -> None:
    root, cache = tmp_path / "root", tmp_path / "cache" / "stat"
    write(root, "func.py")
    first = source_digest(files.walk(root), cache, now_ns=LATER)
    assert cache.is_file()
    assert source_digest(files.walk(root), cache, now_ns=LATER) == first
    before = (root / "func.py").stat()
    write(root, "func.py", text="y")
    os.utime(root / "func.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert source_digest(files.walk(root), cache, now_ns=LATER) != first


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path: Path) -> None:
    write(tmp_path / "root", "func.py")
    source_digest(
        files.walk(tmp_path / "root"), tmp_path / "stat", now_ns=(tmp_path / "root" / "func.py").stat().st_mtime_ns
    )
    assert not (tmp_path / "stat").exists()


def test_a_broken_cache_is_no_reason_to_fail(tmp_path: Path) -> None:
    write(tmp_path / "root", "func.py")
    (tmp_path / "stat").write_text("{")
    assert source_digest(files.walk(tmp_path / "root"), tmp_path / "stat", now_ns=LATER)


def asked(name: str = "hello", kind: str = "http") -> NewFunction:
    return NewFunction(name=name, created="2026-01-02T03:04:05Z", template=kind)


@pytest.mark.parametrize("kind", ["http", "cloudevents"])
def test_a_new_function_is_whole_and_its_tests_pass(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "new" / "place"
    template.create(target, asked(kind=kind), template.builtin_templates())
    assert funcfile.read(target).function.name == "hello"
    assert funcfile.read(target).warnings == []
    assert shipped(target) == ["func.py", "func.yaml", "requirements.txt"]
    assert [path.name for path in target.parent.iterdir()] == ["place"]
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(target)]
    done = subprocess.run(command, check=False, cwd=target, capture_output=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stdout.decode()


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "precious.txt")
    with pytest.raises(AlreadyExists, match=r"precious\.txt"):
        template.create(tmp_path, asked(), template.builtin_templates())
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_repository_with_a_readme_is_filled_and_kept(tmp_path: Path) -> None:
    write(tmp_path, ".git/config", "README.md", "LICENSE", text="mine")
    template.create(tmp_path, asked(), template.builtin_templates())
    assert (tmp_path / "README.md").read_text() == "mine"
    assert (tmp_path / "func.py").is_file()


@pytest.mark.parametrize("name", ["Hello", "1x", "a_b", "-a", "a" * 51, "", "../x", "a.b"])
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match="cannot be a function's name"):
        template.create(tmp_path / "x", asked(name), template.builtin_templates())
    assert not (tmp_path / "x").exists()


def test_the_templates_there_are_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        template.create(tmp_path / "x", asked(kind="soap"), template.builtin_templates())
    assert "python/http" in (caught.value.hint or "")
