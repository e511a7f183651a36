"""The `crun` runtime: a container as an OCI bundle, its root an overlay over the image's snapshots.

Law: nothing is allowed that the pod does not ask for: capabilities dropped, `no_new_privileges`, masked paths, its own
mount, pid, ipc and uts namespaces; the network is the host's. Mounts are the shim's, in its private namespace, so they
end with it. IO: the bundle's `config.json` and the container's own directories.
Source: opencontainers/runtime-spec config.md and config-linux.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from funcs.api.meta import Object

from ..images import Form
from .quantity import parse
from .runtime import CannotRun, Identity, Launch, shim_message
from .shim import cgroups
from .users import identity

_MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
           "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"]  # fmt: skip
_READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
_USUAL = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT"
_DEFAULT_CAPABILITIES = [f"CAP_{name}" for name in _USUAL.split()]
_ETC = ("resolv.conf", "hosts")
_PERIOD = 100_000
_MOST_PROCESSES = 4096


class CrunRuntime:
    """`binary` is crun's path. Needs root and a working overlayfs: `detect` finds out."""

    name = "crun"
    form: Form = "layers"
    isolated = True

    def __init__(self, binary: str) -> None:
        self._binary = binary
        self._own_groups = cgroups.joined_by_thread()

    def container(self, launch: Launch) -> dict[str, Any]:
        bundle = launch.directory / "bundle"
        rootfs = bundle / "rootfs"
        for name in ("bundle", "upper", "work"):
            (launch.directory / name).mkdir(parents=True, exist_ok=True)
        (launch.directory / "upper").chmod(0o755)
        user = identity(launch)
        limits = _limits(launch.resources)
        config = _config(launch, user, rootfs)
        if not self._own_groups:
            config["linux"]["resources"] = limits
        (bundle / "config.json").write_text(json.dumps(config))
        return shim_message(launch) | {
            "crun": {
                "binary": self._binary,
                "root": str(launch.directory / "crun"),
                "bundle": str(bundle),
                "id": f"{launch.pod_uid}-{launch.name}-{launch.attempt}",
            },
            "cgroup": f"{self.cgroup(launch.pod_uid)}-{launch.name}" if self._own_groups or limits else "",
            "limits": _group_files(limits) if self._own_groups else {},
            "mounts": [_overlay(launch, rootfs)],
        }

    def command(self, directory: Path, argv: list[str]) -> list[str]:
        return argv

    def pod_mounts(self, directory: Path, volumes: Mapping[str, Object]) -> list[dict[str, Any]]:
        mounts = []
        for name, settings in volumes.items():
            limit = settings.get("sizeLimit")
            data = "mode=1777" + (f",size={int(parse(str(limit)))}" if limit else "")
            mounts.append(
                {"type": "tmpfs", "source": "tmpfs", "target": str(directory / "volumes" / name), "data": data}
            )
        return mounts

    def cgroup(self, pod_uid: str) -> str:
        return f"{cgroups.PARENT}/{pod_uid}"


def _overlay(launch: Launch, rootfs: Path) -> dict[str, Any]:
    """Layers are named relative to `snapshots/`, as all mount options must fit on one page."""
    lower = launch.snapshot.directories
    if not lower:
        raise CannotRun(f"image {launch.image.name} has no layers", reason="CreateContainerError")
    names = ":".join(path.name for path in lower)
    data = f"lowerdir={names},upperdir={launch.directory}/upper,workdir={launch.directory}/work"
    if len(data) > 4000:
        raise CannotRun(f"image {launch.image.name} has too many layers for overlayfs", reason="CreateContainerError")
    return {"type": "overlay", "source": "overlay", "target": str(rootfs), "data": data, "cwd": str(lower[0].parent)}


def _config(launch: Launch, user: Identity, rootfs: Path) -> dict[str, Any]:
    security = launch.security
    privileged = bool(security.get("privileged"))
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups), "umask": 0o022},
            "args": list(launch.argv),
            "env": [f"{name}={value}" for name, value in launch.env.items()],
            "cwd": launch.cwd or "/",
            "capabilities": _capabilities(security, user),
            "noNewPrivileges": not privileged and security.get("allowPrivilegeEscalation") is not True,
        },
        "root": {"path": str(rootfs), "readonly": bool(security.get("readOnlyRootFilesystem"))},
        "hostname": launch.hostname,
        "mounts": [*_system_mounts(privileged), *_etc_mounts(launch), *_bind_mounts(launch)],
        "linux": {
            "namespaces": [{"type": name} for name in ("mount", "pid", "ipc", "uts")],
            "cgroupsPath": f"/{cgroups.PARENT}/{launch.pod_uid}-{launch.name}",
            "maskedPaths": [] if privileged else _MASKED,
            "readonlyPaths": [] if privileged else _READ_ONLY,
        },
    }


def _capabilities(security: Object, user: Identity) -> dict[str, list[str]]:
    """A root container keeps containers' usual set unless told to drop; nobody else has any unless told to add."""
    wanted = security.get("capabilities") or {}
    dropped = {_named(name) for name in wanted.get("drop") or []}
    kept = set() if user.uid != 0 or "CAP_ALL" in dropped else set(_DEFAULT_CAPABILITIES) - dropped
    kept |= {_named(name) for name in wanted.get("add") or []}
    if security.get("privileged"):
        kept |= set(_DEFAULT_CAPABILITIES) | {"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_PTRACE", "CAP_MKNOD"}
    listed = sorted(kept)
    ambient = listed if user.uid != 0 else []
    return {"bounding": listed, "effective": listed, "permitted": listed, "inheritable": ambient, "ambient": ambient}


def _named(capability: str) -> str:
    return capability if capability.startswith("CAP_") else f"CAP_{capability}"


def _system_mounts(privileged: bool) -> list[dict[str, Any]]:
    def mount(target: str, type: str, *options: str) -> dict[str, Any]:
        return {"destination": target, "type": type, "source": type, "options": list(options)}

    return [
        mount("/proc", "proc", "nosuid", "noexec", "nodev"),
        mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
        mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),  # noqa: S108
        mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        {
            "destination": "/sys",
            "type": "bind",
            "source": "/sys",
            "options": ["rbind", "nosuid", "noexec", "nodev", *([] if privileged else ["ro"])],
        },
    ]


def _etc_mounts(launch: Launch) -> list[dict[str, Any]]:
    """Name resolution is the host's, as the network is; the host name is the pod's."""
    name = launch.directory / "hostname"
    name.write_text(launch.hostname + "\n")
    files = [(f"/etc/{each}", f"/etc/{each}") for each in _ETC if os.path.exists(f"/etc/{each}")]  # noqa: PTH110
    taken = {bind.path for bind in launch.binds}
    return [
        {"destination": target, "type": "bind", "source": source, "options": ["bind", "ro"]}
        for target, source in [*files, ("/etc/hostname", str(name))]
        if target not in taken
    ]


def _bind_mounts(launch: Launch) -> list[dict[str, Any]]:
    return [
        {
            "destination": bind.path,
            "type": "bind",
            "source": str(bind.source),
            "options": ["rbind", "rprivate", "ro" if bind.read_only else "rw"],
        }
        for bind in launch.binds
    ]


def _limits(resources: Object) -> dict[str, Any]:
    """What is asked for, in the words of the runtime specification."""
    limits = resources.get("limits") or {}
    requests = resources.get("requests") or {}
    found: dict[str, Any] = {}
    if memory := limits.get("memory"):
        found["memory"] = {"limit": int(parse(str(memory)))}
    cpu: dict[str, int] = {}
    if limit := limits.get("cpu"):
        cpu["shares"] = max(2, int(parse(str(requests.get("cpu") or limit)) * 1024))
        cpu |= {"quota": max(1000, int(parse(str(limit)) * _PERIOD)), "period": _PERIOD}
    return found | ({"cpu": cpu} if cpu else {})


def _group_files(limits: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """The files of cgroup v1 that say so, by controller; a container that forks for ever is stopped in any case."""
    files = {"pids": {"max": _MOST_PROCESSES}}
    if memory := limits.get("memory"):
        files["memory"] = {"limit_in_bytes": memory["limit"]}
    if cpu := limits.get("cpu"):
        quota = {"cfs_period_us": cpu["period"], "cfs_quota_us": cpu["quota"]}
        files["cpu"] = {"shares": cpu["shares"]} | quota
    return files
