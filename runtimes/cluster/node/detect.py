"""Which runtime works here: found out by starting a container, not by asking for versions.

Law: the answer says in one sentence what was chosen and why not the better one. IO: one trial start in a scratch
directory, of which nothing is left.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from funcs.errors import FuncsError, Unsupported
from funcs.oci import model

from ..images import Image, Snapshot
from .cleanup import remove_pod
from .link import Link, start_shim
from .oci_bundle import CrunRuntime
from .plain import ProcessRuntime, may_switch_user
from .runtime import Launch, PodRuntime

Isolation = Literal["auto", "crun", "process"]
_DEADLINE = 10.0
_HINT = "As root on Debian or Ubuntu: apt-get install crun."


@dataclass(frozen=True, slots=True)
class Detected:
    """`text` is for people: `funcs up` and `funcs doctor` print it."""

    runtime: PodRuntime
    text: str


def detect(wanted: Isolation, interpreter: str, path: str, scratch: Path) -> Detected:
    """The best runtime that works here, or the wanted one. Raises Unsupported if the wanted one does not work."""
    problem = "process isolation was asked for"
    if wanted != "process":
        binary = shutil.which("crun", path=path)
        problem = _crun_problem(binary, scratch)
        if not problem and binary is not None:
            return Detected(
                CrunRuntime(binary), "crun: each pod's containers have a root, processes and limits of their own"
            )
        if wanted == "crun":
            raise Unsupported(f"crun does not work here: {problem}", reason="IsolationUnavailable", hint=_HINT)
    switch = may_switch_user([scratch, Path(interpreter)])
    users = "a user of its own for each pod" if switch else "all as the user who runs funcs"
    return Detected(
        ProcessRuntime(interpreter, path, switch_user=switch),
        f"plain processes, {users}: this is not isolation (no crun: {problem})",
    )


def _crun_problem(binary: str | None, scratch: Path) -> str:
    """Why crun cannot be used, "" if it can."""
    if not sys.platform.startswith("linux"):
        return "containers need Linux"
    if binary is None:
        return "it is not installed"
    if os.geteuid() != 0:
        return "it needs root"
    directory = Path(tempfile.mkdtemp(prefix="funcs-trial-", dir=scratch))
    try:
        return asyncio.run(_try(binary, directory))
    except (FuncsError, OSError, TimeoutError) as error:
        return str(error) or "the trial start took too long"
    finally:
        remove_pod(directory, 0.0)


async def _try(binary: str, directory: Path) -> str:
    """Start a container whose root is an overlay over nothing: the kernel's own refusal to find the program is success.

    That way no program has to be put into the scratch root: namespaces, mounts and control groups have all been made
    by the time the program is looked for.
    """
    layer = directory / "layer"
    layer.mkdir()
    for name in ("proc", "dev", "sys", "etc", "tmp"):
        (layer / name).mkdir()
    image = Image("trial", "trial", "trial", model.Execution(), (), ())
    launch = Launch(
        pod_uid=directory.name, name="trial", attempt=0, image=image, snapshot=Snapshot((layer,)),
        argv=("/funcs-trial",), env={}, cwd="/", hostname="trial", directory=directory / "trial",
        resources={"limits": {"memory": "64Mi"}},
    )  # fmt: skip
    launch.directory.mkdir()
    await start_shim(directory, directory / "s", CrunRuntime(binary).cgroup(directory.name))
    link, _ = await Link.open(str(directory / "s"))
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def heard(state: dict[str, object]) -> None:
        if state["state"] == "exited" and not ended.done():
            ended.set_result(str(state.get("message") or ""))

    listening = asyncio.create_task(link.listen(heard))
    try:
        await link.ask("start", container=CrunRuntime(binary).container(launch))
        message = await asyncio.wait_for(ended, _DEADLINE)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return "" if "funcs-trial" in message and "No such file" in message else message or "it said nothing"
