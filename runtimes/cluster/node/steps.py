"""Ordered steps: the node plays Tekton's entrypoint for a TaskRun's pod.

Law: what the entrypoint, `prepare`, `place-scripts` and `working-dir-initializer` would leave in the pod's volumes is
there too, at the same paths; every function can be repeated with the same effect, so a node that comes back may do so.
IO: files in the pod's volumes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from funcs.api import meta
from funcs.api.meta import Object
from funcs.errors import BadRequest
from pipelines.steps import credentials, entrypoint
from pipelines.steps.entrypoint import Reason, ResultsTooLarge, Step

from .decide import Termination, is_step
from .runtime import Bind, CannotRun
from .volumes import host_path

SKIPPED = "Skipping step because a previous step failed"
_LARGEST_RESULT = 1 << 20


def step_of(args: Sequence[str]) -> Step:
    """What the container is told. Raises CannotRun."""
    try:
        return entrypoint.parse(args)
    except (BadRequest, ValueError) as error:
        raise CannotRun(f"step arguments cannot be understood: {error}", reason="CreateContainerError") from error


def place_scripts(pod: Object, directory: Path, relocate: Callable[[str], str]) -> None:
    """Do the work of the init container `place-scripts`; scripts are executable files. Raises CannotRun."""
    for container in meta.spec(pod).get("initContainers") or []:
        if container["name"] != "place-scripts":
            continue
        try:
            scripts = entrypoint.scripts(container.get("args") or [])
        except BadRequest as error:
            raise CannotRun(str(error), reason="CreateContainerError") from error
        for path, content in scripts.items():
            target = directory / path.removeprefix(entrypoint.SCRIPTS + "/")
            target.write_text(relocate(content.decode(errors="surrogateescape")), errors="surrogateescape")
            target.chmod(0o755)


def prepare_step(container: Object, pod: Object, binds: tuple[Bind, ...], inside: bool) -> None:
    """The step's metadata directory and the links to it; `inside`: paths are seen from inside a container."""
    step = step_of(container.get("args") or [])
    metadata = host_path(step.metadata_dir, binds) if step.metadata_dir else None
    steps = host_path(entrypoint.STEPS, binds)
    if metadata is None:
        return
    for directory in (metadata, metadata / "results", metadata / "artifacts"):
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o777)
    if steps is None:
        return
    index = [each["name"] for each in meta.spec(pod)["containers"] if is_step(pod, each["name"])].index(
        container["name"]
    )
    for name in (str(index), container["name"]):
        link = steps / name
        link.unlink(missing_ok=True)
        link.symlink_to(step.metadata_dir if inside else metadata)


def make_working_directory(cwd: str, binds: tuple[Bind, ...]) -> None:
    place = host_path(cwd, binds) if cwd else None
    if place is not None and not place.exists():
        place.mkdir(parents=True)
        place.chmod(0o777)


def place_credentials(step: Step, binds: tuple[Bind, ...], homes: Sequence[Path], owner: int | None) -> None:
    """The files that the step's credentials become, in `/tekton/creds` and in its home."""
    if not step.credentials:
        return
    secrets: dict[str, Mapping[str, bytes]] = {}
    for credential in step.credentials:
        place = host_path(f"{entrypoint.CREDENTIAL_SECRETS}/{credential.secret}", binds)
        if place is not None and place.is_dir():
            secrets[credential.secret] = {file.name: file.read_bytes() for file in place.iterdir() if file.is_file()}
    creds = host_path(entrypoint.CREDENTIALS, binds)
    for directory in (*homes, *([creds] if creds is not None else [])):
        for name, content in credentials.files(step.credentials, secrets).items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o600)
            if owner is not None:
                for each in (path.parent, path):
                    os.chown(each, owner, -1)


def end_step(container: Object, binds: tuple[Bind, ...], ended: Termination) -> Termination:
    """What kubectl sees of a step that has ended; leaves its marks in the pod's volumes."""
    step = step_of(container.get("args") or [])
    timed_out = step.timeout is not None and ended.signal and ended.finished_at - ended.started_at >= step.timeout
    reason = Reason.TIMEOUT if timed_out else Reason.NONE
    return _finish(step, binds, ended, reason)


def skip_step(container: Object, binds: tuple[Bind, ...], now: float) -> Termination:
    """A step that an earlier failure has kept from running."""
    ended = Termination(exit_code=1, reason="Error", started_at=now, finished_at=now)
    return _finish(step_of(container.get("args") or []), binds, ended, Reason.SKIPPED)


def _finish(step: Step, binds: tuple[Bind, ...], ended: Termination, reason: Reason) -> Termination:
    ending = entrypoint.end(step, exit_code=ended.exit_code, reason=reason)
    post = host_path(ending.post_file, binds)
    if post is not None:
        _leave(post, b"")
    metadata = host_path(step.metadata_dir, binds) if step.metadata_dir else None
    if metadata is not None and ending.recorded is not None:
        _leave(metadata / "exitCode", str(ending.recorded).encode())
    code = ending.exit_code
    try:
        message = entrypoint.termination_message(
            step,
            exit_code=ended.exit_code,
            started_at=ended.started_at,
            results=_read(step.results, host_path(entrypoint.RESULTS, binds)),
            step_results=_read(step.step_results, metadata / "results" if metadata is not None else None),
            reason=reason,
        )
    except ResultsTooLarge as error:
        code, message = 1, str(error)
    return Termination(
        exit_code=code,
        reason=ended.reason if code else "Completed",
        started_at=ended.started_at,
        finished_at=ended.finished_at,
        signal=0 if reason is Reason.TIMEOUT else ended.signal,
        message=ended.message if ended.reason == "StartError" else message,
    )


def _leave(path: Path, content: bytes) -> None:
    """Write a file where a container may write too: whatever links it has planted are not followed."""
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return  # the step has taken its own directory away; nobody else can miss it
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path.name, dir_fd=directory)
        file = os.open(path.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=directory)
        os.write(file, content)
        os.close(file)
    finally:
        os.close(directory)


def _read(names: Sequence[str], directory: Path | None) -> dict[str, bytes]:
    """Results that were written; a link, which could lead anywhere on the host, is not a result."""
    found = {}
    for name in names:
        if directory is None or "/" in name:
            continue
        with contextlib.suppress(OSError):
            file = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(file, "rb") as opened:
                found[name] = opened.read(_LARGEST_RESULT)
    return found
