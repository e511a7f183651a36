"""The Python that builds, and the Python that a function will run on.

Law: a target says all that decides which wheels fit. IO: asks the running interpreter about itself.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from funcs.errors import Unsupported
from funcs.oci.model import Platform

_ARCHITECTURES = {
    "x86_64": ("amd64", ""), "amd64": ("amd64", ""), "aarch64": ("arm64", ""), "arm64": ("arm64", ""),
    "armv7l": ("arm", "v7"), "riscv64": ("riscv64", ""), "ppc64le": ("ppc64le", ""), "s390x": ("s390x", ""),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """`python` is `3.11`; `libc` is `glibc-2.36`, or `musl`, or "" where that means nothing; `path` is in the image."""

    python: str
    platform: Platform
    libc: str
    path: str = "/usr/local/bin/python3"

    @property
    def cache_tag(self) -> str:
        return f"cpython-{self.python.replace('.', '')}"

    @property
    def is_this(self) -> bool:
        """Whether wheels for the running interpreter, as installed here, run there."""
        here = this_target()
        return (self.python, self.platform) == (here.python, here.platform) and (
            self.libc == here.libc or _version(self.libc) >= _version(here.libc) > (0,)
        )

    def __str__(self) -> str:
        return f"Python {self.python} on {self.platform}"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """Where the parts of the machine's own (never a virtual environment's) interpreter are."""

    executable: Path
    version: str
    stdlib: Path
    dynload: Path


def this_target() -> Target:
    """Raises Unsupported on processors that images have no name for."""
    machine = platform.machine().lower()
    if machine not in _ARCHITECTURES:
        raise Unsupported(f"no images are made for the processor {machine!r}")
    architecture, variant = _ARCHITECTURES[machine]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Target(python, Platform(architecture=architecture, os=sys.platform, variant=variant), _libc())


def this_interpreter() -> Interpreter:
    """Outside of any virtual environment."""
    executable = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    stdlib = Path(os.__file__).parent
    split = Path(sys.base_exec_prefix) / sys.platlibdir / stdlib.name / "lib-dynload"
    dynload = split if split.is_dir() else stdlib / "lib-dynload"
    return Interpreter(executable, platform.python_version(), stdlib, dynload)


def _libc() -> str:
    if sys.platform != "linux":
        return ""
    name, version = platform.libc_ver(getattr(sys, "_base_executable", sys.executable))
    try:
        return f"glibc-{os.confstr('CS_GNU_LIBC_VERSION').split()[1]}"  # type: ignore[union-attr]
    except (ValueError, OSError, AttributeError, IndexError):
        return f"{name}-{version}" if name else "musl"


def _version(libc: str) -> tuple[int, ...]:
    """`glibc-2.36` → (2, 36); (0,) for everything else."""
    kind, _, version = libc.partition("-")
    parts = version.split(".")
    return tuple(map(int, parts)) if kind == "glibc" and all(part.isdigit() for part in parts) else (0,)
