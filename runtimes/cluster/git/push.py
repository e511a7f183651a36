"""A push, seen purely: which of its updates are news to build, and how GitHub would tell of them.

Law: branches are news; tags, deletions, and what asks to be skipped are not, and why is said. The payload has the shape
of GitHub's push event, as far as triggers use it. No IO.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from funcs.api.meta import Key

_NOTHING = "0" * 40
_BRANCH = "refs/heads/"
_SKIP_OPTIONS = frozenset({"skip-ci", "ci.skip", "skip_ci"})
_SKIP_MARKS = ("[skip ci]", "[ci skip]", "[no ci]")


@dataclass(frozen=True, slots=True)
class Update:
    """A ref that a push moved; forty zeros are no commit."""

    before: str
    after: str
    ref: str


@dataclass(frozen=True, slots=True)
class Commit:
    id: str
    tree: str = ""
    message: str = ""
    timestamp: str = ""
    author: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class Push:
    """One updated branch. `clone_url` is where its repository is read from."""

    repository: Key
    update: Update
    commit: Commit
    pusher: str
    clone_url: str
    options: tuple[str, ...] = field(default=())

    @property
    def branch(self) -> str:
        return self.update.ref.removeprefix(_BRANCH)


def why_not(update: Update, options: Sequence[str]) -> str:
    """Why an update is not built, before its commit is known; "" if it may be."""
    if not update.ref.startswith(_BRANCH):
        return f"{update.ref} is not a branch: nothing is built"
    if update.after.strip("0") == "":
        return f"{update.ref.removeprefix(_BRANCH)} is deleted: nothing is built"
    if _SKIP_OPTIONS.intersection(options):
        return "skipped, as the push option asks"
    return ""


def is_skipped(commit: Commit) -> bool:
    """Whether the commit's message asks not to be built."""
    return any(mark in commit.message.lower() for mark in _SKIP_MARKS)


def payload(push: Push) -> Mapping[str, Any]:
    """GitHub's push event (docs.github.com, webhook payload `push`)."""
    commit, update, repository = push.commit, push.update, push.repository
    head = {
        "id": commit.id,
        "tree_id": commit.tree,
        "message": commit.message,
        "timestamp": commit.timestamp,
        "author": {"name": commit.author, "email": commit.email},
    }
    return {
        "ref": update.ref,
        "before": update.before,
        "after": update.after,
        "created": update.before == _NOTHING,
        "deleted": False,
        "repository": {
            "name": repository.name,
            "full_name": f"{repository.namespace}/{repository.name}",
            "clone_url": push.clone_url,
            "default_branch": "main",
        },
        "head_commit": head,
        "pusher": {"name": push.pusher},
        "push_options": list(push.options),
    }


FORMAT = "%H%x00%T%x00%cI%x00%an%x00%ae%x00%B"


def commit_from(text: str) -> Commit:
    """From `git log -1 --format=FORMAT`. Raises ValueError."""
    name, tree, timestamp, author, email, message = text.split("\0", 5)
    return Commit(name, tree, message.rstrip("\n"), timestamp, author, email)
