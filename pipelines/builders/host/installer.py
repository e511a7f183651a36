"""Wheels for a target, installed into a directory by pip or uv.

Law: only wheels (no code of a distribution runs), only for the target; a failure is one error that names the
distribution and what to do. Which of the two tools is at hand changes nothing but the time. IO: runs it; network.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from funcs.errors import Invalid, Timeout, Unavailable

from .interpreter import Target, this_interpreter
from .requirements import IndexSettings, Requirements

_SECRET = re.compile(r"//[^/@\s]+@")
_CULPRITS = (
    re.compile(r"No matching distribution found for (\S+)"),
    re.compile(r"Could not find a version that satisfies the requirement (\S+)"),
    re.compile(r"Because (?:only )?(\S+?) (?:was not found|has no|could not be found|was not)"),
    re.compile(r"there (?:is|are) no versions? of (\S+)"),
)
_VERSIONS = re.compile(r"\(from versions: (?:[^()]*, )?((?:[^,()]+, ){4}[^,()]+)\)")  # pip lists every one there is
_OFFLINE = re.compile(
    r"Temporary failure in name resolution|Connection refused|Network is unreachable|NewConnectionError|"
    r"Failed to establish|dns error|error sending request|timed out",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSettings:
    """`environ` is what the tool sees; `seconds` is how long it may take."""

    environ: Mapping[str, str]
    index: IndexSettings
    seconds: float = 600.0


async def install(wanted: Requirements, target: Target, into: Path, settings: InstallSettings) -> None:
    """Raises Invalid (cannot be resolved), Unavailable (index not reached, no tool), Timeout."""
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "requirements.txt"
        listed.write_text("".join(f"{line}\n" for line in wanted.lines))
        limits = Path(scratch) / "constraints.txt"
        limits.write_text("".join(f"{line}\n" for line in wanted.constraints))
        command = _command(target, into, settings)
        command += [*settings.index.options, *wanted.options, "-r", str(listed), "-c", str(limits)]
        status, output = await _run(command, settings)
    if status != 0:
        raise _explained(output, wanted, target)


def _command(target: Target, into: Path, settings: InstallSettings) -> list[str]:
    uv = shutil.which("uv", path=settings.environ.get("PATH", os.defpath))
    common = ["--target", str(into), "--only-binary", ":all:"]
    if uv is not None:
        aim = ["--python-version", target.python, "--python-platform", _uv_platform(target)]
        where = ["--python", str(this_interpreter().executable)]
        tool = [uv, "pip", "install", "--quiet", "--no-config", "--no-progress", "--link-mode", "copy"]
        return [*tool, *where, *common, *([] if target.is_this else aim)]
    tool = [*_pip(), "install", "--quiet", "--no-compile", "--no-input", "--disable-pip-version-check"]
    return [*tool, "--no-warn-conflicts", *common, *([] if target.is_this else _pip_aim(target))]


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    executable = this_interpreter().executable
    places = [executable.parents[1] / "lib", Path(os.__file__).parent.parent]
    names = (f"{Path(os.__file__).parent.name}/site-packages/pip", "python3/dist-packages/pip")
    if any((place / name).is_dir() for place in places for name in names):
        return [str(executable), "-m", "pip"]
    raise Unavailable(
        "there is neither pip nor uv to install the function's dependencies with",
        reason="InstallerMissing",
        hint="Install one of them (python -m ensurepip, or apt install python3-venv).",
    )


def _pip_aim(target: Target) -> list[str]:
    aim = ["--python-version", target.python, "--implementation", "cp"]
    for tag in _wheel_platforms(target):
        aim += ["--platform", tag]
    return aim


def _wheel_platforms(target: Target) -> list[str]:
    """Platform tags, newest first (PEP 600, PEP 656)."""
    machine = {"amd64": "x86_64", "arm64": "aarch64", "arm": "armv7l"}.get(
        target.platform.architecture, target.platform.architecture
    )
    kind, _, version = target.libc.partition("-")
    if kind == "musl":
        return [f"musllinux_1_{minor}_{machine}" for minor in (2, 1)]
    minor = version.partition(".")[2]
    newest = int(minor) if minor.isdigit() else 28
    legacy = [f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}", f"linux_{machine}"]
    return [*(f"manylinux_2_{number}_{machine}" for number in range(newest, 4, -1)), *legacy]


def _uv_platform(target: Target) -> str:
    machine = _wheel_platforms(target)[-1].removeprefix("linux_").removeprefix("musllinux_1_1_")
    return f"{machine}-unknown-linux-{'musl' if target.libc.startswith('musl') else 'gnu'}"


async def _run(command: list[str], settings: InstallSettings) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=dict(settings.environ) | {"PYTHONNOUSERSITE": "1"},
    )
    try:
        async with asyncio.timeout(settings.seconds):
            output, _ = await process.communicate()
    except TimeoutError as error:
        raise Timeout(f"installing the dependencies took longer than {settings.seconds:.0f} seconds") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, _SECRET.sub("//***@", output.decode(errors="replace"))


def _explained(output: str, wanted: Requirements, target: Target) -> Invalid | Unavailable:
    lines = [
        _VERSIONS.sub(r"(the newest are \1)", line).strip()
        for line in output.splitlines()
        if line.strip() and "WARNING" not in line
    ]
    said = "\n".join(f"  {line}" for line in lines[-6:])
    if _OFFLINE.search(output):
        return Unavailable(
            f"the package index cannot be reached to install {', '.join(wanted.names)}:\n{said}",
            reason="IndexUnreachable",
            hint="Check the network or PIP_INDEX_URL; once installed, the same dependencies need no network.",
        )
    culprit = next((found[1] for pattern in _CULPRITS if (found := pattern.search(output))), "")
    return Invalid(
        f"the dependency {culprit.rstrip('.,')} cannot be installed for {target}:\n{said}"
        if culprit
        else f"the dependencies cannot be installed for {target}:\n{said}",
        reason="DependencyUnresolved",
        hint="Correct its name or version; if it has no wheel for this Python and platform, choose a version that has.",
    )
