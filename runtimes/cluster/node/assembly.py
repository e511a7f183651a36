"""From a container's spec to a `Launch`: image, snapshot, environment, mounts, identity, command.

Law: everything that can be wrong with a container is found here, before anything of it runs, and said by its name.
IO: the Client (ConfigMaps, Secrets), the image store, the container's directory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from funcs.api import core, meta
from funcs.api.meta import Object
from funcs.errors import NotFound
from pipelines.steps.entrypoint import Step

from ..puller import credentials_of
from . import environment, hooks, probes, steps
from .decide import is_step
from .environment import Facts
from .plain import ProcessRuntime
from .runtime import Bind, Launch
from .settings import Surroundings
from .users import identity
from .volumes import Volume, binds, host_path

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LARGEST_MESSAGE = 4096
_TAIL_LINES = 80
_TAIL_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Assembled:
    """A launch, and where the container's termination message will be."""

    launch: Launch
    message: Path | None
    step: Step | None = None


async def assemble(
    around: Surroundings, facts: Facts, container: Object, attempt: int, volumes: dict[str, Volume]
) -> Assembled:
    """Raises CannotRun, and Unavailable or Invalid when the image is not to be had."""
    pod = facts.pod
    _check_handlers(container, facts)
    policy = container.get("imagePullPolicy") or ""
    image = await around.images.find(container["image"], policy, lambda: credentials_of(around.client, pod))
    snapshot = await around.images.snapshot(image, around.runtime.form)
    facts = replace(facts, sources=await _sources(around, container, meta.namespace(pod)))
    image_env = dict(line.partition("=")[::2] for line in image.config.env or [])
    own = environment.environment(container, facts)
    hostname = str(meta.spec(pod).get("hostname") or meta.name(pod))[:63]
    env = {"PATH": _DEFAULT_PATH, "HOSTNAME": hostname} | image_env | own
    mounted = binds(container, facts, volumes, own)
    directory = around.settings.pods / meta.uid(pod) / container["name"]
    directory.mkdir(parents=True, exist_ok=True)
    argv, step = _command(container, pod, image.config.entrypoint or [], image.config.cmd or [], own)
    message = None if step else _message_file(container, directory, mounted)
    launch = Launch(
        pod_uid=meta.uid(pod),
        name=container["name"],
        attempt=attempt,
        image=image,
        snapshot=snapshot,
        argv=tuple(argv),
        env=env,
        cwd=container.get("workingDir") or image.config.working_dir,
        hostname=hostname,
        directory=directory,
        binds=mounted if message is None or message[1] is None else (*mounted, message[1]),
        security={**(meta.spec(pod).get("securityContext") or {}), **(container.get("securityContext") or {})},
        resources=container.get("resources") or {},
        log_limit=around.settings.log_limit,
    )
    if step is not None:
        _prepare_step(around, pod, container, launch, step)
    return Assembled(launch, message[0] if message else None, step)


def _check_handlers(container: Object, facts: Facts) -> None:
    """A probe or hook that could never work is said before anything runs."""
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        if container.get(kind):
            probes.read(kind, container[kind], container, facts.ports)
    for hook in ("postStart", "preStop"):
        hooks.read(hook, container, facts.ports)


def termination_message(container: Object, file: Path | None, log: Path, failed: bool) -> str:
    """What the container has left to say, or by its policy the end of its log."""
    text = ""
    if file is not None:
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            descriptor = -1
        if descriptor >= 0:
            with os.fdopen(descriptor, "rb") as opened:
                text = opened.read(_LARGEST_MESSAGE).decode(errors="replace")
    if text or not failed or container.get("terminationMessagePolicy") != "FallbackToLogsOnError":
        return text
    try:
        lines = log.read_bytes()[-4 * _TAIL_BYTES :].splitlines()[-_TAIL_LINES:]
    except OSError:
        return ""
    said = b"\n".join(line.split(b" ", 3)[-1] for line in lines)
    return said[-_TAIL_BYTES:].decode(errors="replace")


async def _sources(around: Surroundings, container: Object, namespace: str) -> dict[tuple[str, str], Object | None]:
    found: dict[tuple[str, str], Object | None] = {}
    for kind, name in environment.sources_of(container):
        try:
            found[kind, name] = await around.client.get(
                core.SECRET if kind == "Secret" else core.CONFIG_MAP, name, namespace
            )
        except NotFound:
            found[kind, name] = None
    return found


def _command(
    container: Object, pod: Object, entrypoint: list[str], arguments: list[str], env: dict[str, str]
) -> tuple[list[str], Step | None]:
    if not is_step(pod, container["name"]):
        return environment.command(container, entrypoint, arguments, env), None
    step = steps.step_of([environment.expand(each, env) for each in container.get("args") or []])
    plain = {"name": container["name"], "command": [step.command] if step.command else [], "args": list(step.args)}
    return environment.command(plain, entrypoint, arguments, {}), step


def _message_file(container: Object, directory: Path, mounted: tuple[Bind, ...]) -> tuple[Path, Bind | None]:
    """An empty file for this attempt, bound where the container will write to it unless a volume already is there."""
    path = container.get("terminationMessagePath") or "/dev/termination-log"
    inside = host_path(path, mounted)
    if inside is not None:
        return inside, None
    file = directory / "termination-log"
    file.unlink(missing_ok=True)
    file.touch()
    file.chmod(0o666)
    return file, Bind(file, path)


def _prepare_step(around: Surroundings, pod: Object, container: Object, launch: Launch, step: Step) -> None:
    runtime = around.runtime
    steps.prepare_step(container, pod, launch.binds, inside=runtime.isolated)
    steps.make_working_directory(launch.cwd, launch.binds)
    scripts = host_path("/tekton/scripts", launch.binds)
    if scripts is not None and not any(scripts.iterdir()):
        relocate = runtime.relocation(launch).text if isinstance(runtime, ProcessRuntime) else str
        steps.place_scripts(pod, scripts, relocate)
    home = launch.env.get("HOME") or "/root"
    mounted = host_path(home, launch.binds)
    own = launch.directory / "upper" / home.lstrip("/") if runtime.isolated else launch.directory / "home"
    owner = identity(launch).uid if runtime.isolated and os.geteuid() == 0 else None
    steps.place_credentials(step, launch.binds, [mounted or own], owner)
