"""Whom a container's process runs as: the pod's word, else the image's.

Law: names are looked up in the image's own `/etc/passwd` and `/etc/group`, never in the host's; `runAsNonRoot` is kept.
IO: those two files in the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .runtime import CannotRun, Identity, Launch

_MOST = 1 << 20


def identity(launch: Launch) -> Identity:
    """Raises CannotRun for a user that the image does not know, or for root where the pod forbids it."""
    security = launch.security
    user, _, group = launch.image.config.user.partition(":")
    if security.get("runAsUser") is not None:
        user = str(security["runAsUser"])
        group = str(security.get("runAsGroup") or "")
    uid, gid = _user(launch, user or "0")
    if group:
        gid = _group(launch, group)
    if security.get("runAsGroup") is not None:
        gid = int(security["runAsGroup"])
    if security.get("runAsNonRoot") and uid == 0:
        raise CannotRun(
            f'container has runAsNonRoot and image will run as root (pod: "{launch.pod_uid}", container: {launch.name})'
        )
    groups = [int(each) for each in security.get("supplementalGroups") or []]
    if security.get("fsGroup") is not None:
        groups.append(int(security["fsGroup"]))
    return Identity(uid, gid, tuple(dict.fromkeys(groups)))


def _user(launch: Launch, user: str) -> tuple[int, int]:
    for fields in _lines(launch, "passwd"):
        if len(fields) > 3 and user in (fields[0], fields[2]) and fields[2].isdecimal() and fields[3].isdecimal():
            return int(fields[2]), int(fields[3])
    if user.isdecimal():
        return int(user), 0
    raise CannotRun(f"image {launch.image.name} has no user {user!r}", reason="CreateContainerError")


def _group(launch: Launch, group: str) -> int:
    if group.isdecimal():
        return int(group)
    for fields in _lines(launch, "group"):
        if len(fields) > 2 and fields[0] == group and fields[2].isdecimal():
            return int(fields[2])
    raise CannotRun(f"image {launch.image.name} has no group {group!r}", reason="CreateContainerError")


def _lines(launch: Launch, name: str) -> Iterator[list[str]]:
    for layer in launch.snapshot.directories:
        path = layer / "etc" / name
        if _is_own_file(layer, path):
            with path.open(errors="replace") as file:
                yield from (line.strip().split(":") for line in file.read(_MOST).splitlines())
            return


def _is_own_file(layer: Path, path: Path) -> bool:
    """Not through a symlink: it would lead into the host."""
    return path.is_file() and not path.is_symlink() and not path.parent.is_symlink() and path.is_relative_to(layer)
