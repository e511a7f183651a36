"""A pod's control groups, under cgroup v1, v2 or both: made, joined, asked for out-of-memory kills, removed.

Law: a group is named by its path below each hierarchy; only empty groups are removed. A process is put into its group
by itself, before it becomes the container, through v1's `tasks`: one thread moving itself needs no lock over all
processes and takes 0.2 ms a hierarchy, where writing `cgroup.procs` waits 10 to 40 ms for a grace period of the kernel.
v2 has no such file for the controllers that matter, so there crun makes groups, and only where limits are asked for.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import Message

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


def joined_by_thread(root: str = ROOT) -> bool:
    """Whether groups can be joined without waiting: cgroup v1, and ours to write."""
    return all(os.access(f"{root}/{name}/tasks", os.W_OK) for name in ("pids", "memory", "cpu"))


def make(group: str, limits: Message, root: str = ROOT) -> list[str]:
    """Make `group` in each v1 hierarchy of `limits` ({controller: {file: value}}); the files by which it is joined."""
    joined = []
    for controller, values in limits.items():
        path = f"{root}/{controller}/{group}"
        os.makedirs(path, exist_ok=True)
        for name, value in values.items():
            _write(f"{path}/{controller}.{name}", str(value))
        joined.append(f"{path}/tasks")
    return joined


def join(files: list[str]) -> None:
    """This process, which has one thread, becomes a member."""
    for path in files:
        _write(path, "0")


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


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


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
