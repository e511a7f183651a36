"""A function's directory as a git repository with the cluster as a remote.

Law: a repository that is there is never changed but for the remote `funcs` and its credential helper; no secret is
written into it. IO: runs git.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from funcs.errors import FuncsError, Unavailable

REMOTE = "funcs"


@dataclass(frozen=True, slots=True)
class Repository:
    """Where a function's source is pushed to: `<base>/<namespace>/<name>.git`; `helper` is git's credential helper."""

    base: str
    namespace: str
    name: str
    helper: str

    @property
    def url(self) -> str:
        return f"{self.base}/{self.namespace}/{self.name}.git"


def check() -> None:
    """Raises Unavailable without git, before anything is done."""
    if shutil.which("git") is None:
        raise Unavailable("git is not installed", hint="Install git, or deploy with --no-git.")


def connect(directory: Path, repository: Repository) -> bool:
    """Set the remote; make the repository and a first commit if there is none. True if it was made.

    Raises FuncsError with what git says.
    """
    made = not (directory / ".git").exists() and not _inside_repository(directory)
    if made:
        _git(directory, "init", "--quiet", "--initial-branch=main")
    verb = "set-url" if REMOTE in _git(directory, "remote").split() else "add"
    _git(directory, "remote", verb, REMOTE, repository.url)
    _git(directory, "config", f"credential.{repository.base}.helper", repository.helper)
    if made:
        _git(directory, "add", "--all")
        _first_commit(directory)
    return made


def _first_commit(directory: Path) -> None:
    """With the person's own identity where git knows one."""
    known = _known_identity(directory)
    identity = [] if known else ["-c", "user.name=funcs", "-c", "user.email=funcs@localhost"]
    _git(directory, *identity, "commit", "--quiet", "--message", "As deployed")


def _known_identity(directory: Path) -> bool:
    return _works(directory, "var", "GIT_COMMITTER_IDENT")


def _inside_repository(directory: Path) -> bool:
    return _works(directory, "rev-parse", "--git-dir")


def _works(directory: Path, *argv: str) -> bool:
    return subprocess.run(["git", *argv], cwd=directory, capture_output=True, check=False).returncode == 0


def _git(directory: Path, *argv: str) -> str:
    done = subprocess.run(["git", *argv], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FuncsError(f"`git {' '.join(argv)}` in {directory} failed: {done.stderr.strip()}", reason="GitFailed")
    return done.stdout
