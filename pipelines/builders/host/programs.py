"""Programs of this machine that the tools image carries: a POSIX userland for steps' scripts, and git.

Law: a program comes with every library it needs, at the place where the loader looks; what the machine lacks is left
out. IO: reads the machine's programs; asks git and ldd about them.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from funcs.oci import layer
from funcs.oci.layer import Entry

from . import libraries
from .interpreter import this_target
from .keyed import key_of

_GIT_CONFIG = b"[safe]\n\tdirectory = *\n[init]\n\tdefaultBranch = main\n"
_UNUSED_GIT = frozenset(
    {
        "mergetools", "scalar", "git-daemon", "git-http-backend", "git-http-fetch", "git-http-push", "git-imap-send",
        "git-shell",
    }
)  # fmt: skip
# What POSIX scripts take for granted (XCU chapter 4), as far as steps use it.
_USERLAND = (
    "awk", "basename", "cat", "chmod", "cksum", "cmp", "comm", "cp", "cut", "date", "dd", "diff", "dirname", "du",
    "env", "expr", "false", "find", "fold", "grep", "gunzip", "gzip", "head", "id", "join", "ln", "ls", "mkdir",
    "mktemp", "mv", "nl", "od", "paste", "printf", "pwd", "readlink", "realpath", "rm", "rmdir", "sed", "seq",
    "sha256sum", "sleep", "sort", "split", "stat", "sync", "tail", "tar", "tee", "test", "timeout", "touch", "tr",
    "true", "uname", "uniq", "wc", "xargs", "yes",
)  # fmt: skip
_SECONDS = 30


def layers() -> Iterator[tuple[str, str, Callable[[], Iterator[Entry]]]]:
    """(name, key, entries) of each layer that this machine can give."""
    userland = [Path(found) for name in _USERLAND if (found := shutil.which(name)) is not None]
    if userland:
        yield "userland", _key("userland", userland), lambda: _userland(userland)
    git = shutil.which("git")
    if git is not None:
        yield "git", _key("git", [Path(git)]), lambda: _git(Path(git))


def _key(name: str, programs: list[Path]) -> str:
    stamps = [f"{path}:{(found := path.stat()).st_size}:{found.st_mtime_ns}" for path in programs]
    return key_of(name, str(this_target()), *stamps)


def _userland(programs: list[Path]) -> Iterator[Entry]:
    """Each under its own name in /usr/bin, with what it needs."""
    for path in programs:
        yield layer.file(f"usr/bin/{path.name}", Path(os.path.realpath(path)), executable=True)
    yield from libraries.entries(libraries.needed_by(programs))


def _git(git: Path) -> Iterator[Entry]:
    """git with the programs that it runs; those in Perl and the graphical ones are left out."""
    place = Path(os.path.realpath(git))
    programs = Path(_asked(git, "--exec-path"))
    binaries = [place]
    yield layer.file(libraries.in_image("/usr/bin/git"), place, executable=True)
    yield layer.file("etc/gitconfig", _GIT_CONFIG)
    for entry in layer.tree(programs, libraries.in_image(str(programs)), skip=_UNUSED_GIT):
        if entry.link or entry.content is None:
            yield entry
        elif isinstance(entry.content, Path) and filecmp.cmp(entry.content, place, shallow=False):
            yield layer.symlink(entry.path, "/usr/bin/git")
        elif isinstance(entry.content, Path) and not _is_perl(entry.content):
            binaries.append(entry.content)
            yield entry
    templates = Path("/usr/share/git-core/templates")
    if templates.is_dir():
        yield from layer.tree(templates, "usr/share/git-core/templates", skip=frozenset({"hooks"}))
    yield from libraries.entries(libraries.needed_by(binaries))


def _asked(git: Path, option: str) -> str:
    done = subprocess.run([str(git), option], check=True, capture_output=True, timeout=_SECONDS)
    return os.fsdecode(done.stdout).strip()


def _is_perl(path: Path) -> bool:
    with path.open("rb") as file:
        return b"perl" in file.readline(80)
