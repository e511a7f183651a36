"""A pod's control groups, under cgroup v1, v2 or both: was there an out-of-memory kill, and remove what is left.

Law: a group is named by its path below each hierarchy; only empty groups are removed.
"""

from __future__ import annotations

import os

ROOT = "/sys/fs/cgroup"
PARENT = "funcs"
"""All containers' groups are in this one, side by side."""


def hierarchies(root: str = ROOT) -> list[str]:
    """The directories under which a group may have been made: the root itself on v2, one per controller on v1."""
    if os.path.exists(f"{root}/cgroup.controllers"):
        return [root]
    try:
        return [f"{root}/{name}" for name in os.listdir(root) if not os.path.islink(f"{root}/{name}")]
    except OSError:
        return []


def oom_killed(group: str, root: str = ROOT) -> bool:
    """Has the kernel killed a process of `group` for want of memory?"""
    for path in (f"{root}/{group}/memory.events", f"{root}/memory/{group}/memory.oom_control"):
        try:
            with open(path) as file:
                counts = dict(line.split() for line in file)
        except (OSError, ValueError):
            continue
        return int(counts.get("oom_kill", 0)) > 0
    return False


def remove(group: str, root: str = ROOT) -> None:
    """Remove `group` and the groups below it in every hierarchy."""
    for hierarchy in hierarchies(root):
        _remove_tree(f"{hierarchy}/{group}")


def remove_all(prefix: str, root: str = ROOT) -> None:
    """Remove the groups whose path begins with `prefix`."""
    parent, _, start = prefix.rpartition("/")
    names: set[str] = set()
    for hierarchy in hierarchies(root):
        try:
            names.update(name for name in os.listdir(f"{hierarchy}/{parent}") if name.startswith(start))
        except OSError:
            continue  # no container of ours has been in this hierarchy
    for name in names:
        remove(f"{parent}/{name}", root)


def remove_parent(root: str = ROOT) -> None:
    """Remove the common parent, if no container of any cluster is left in it."""
    for hierarchy in hierarchies(root):
        try:
            os.rmdir(f"{hierarchy}/{PARENT}")
        except OSError:
            continue


def _remove_tree(path: str) -> None:
    try:
        entries = list(os.scandir(path))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            _remove_tree(entry.path)
    try:
        os.rmdir(path)
    except OSError:
        pass  # still in use: whoever uses it removes it later
