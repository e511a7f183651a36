"""A deploy from beginning to end: build → push → apply → wait → URL, each phase with its duration.

Law: the old Revision serves until the new one does; a deploy that fails changes nothing that serves. IO: through the
builder, the registry and the Client port.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from funcs.api import core, meta
from funcs.api.meta import Objects
from funcs.control.client import Client
from funcs.control.clock import SystemClock
from funcs.errors import NotFound
from funcs.project import funcfile

from .apply import Report, apply, wait_ready
from .plan import Plan, Target, plan
from .ship import Destination, build_and_push


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """`image`, when given, is by digest and not built; `seconds` 0 does not wait."""

    directory: Path
    namespace: str
    destination: Destination
    environ: Mapping[str, str]
    image: str = ""
    seconds: float = 120.0

    def plan(self, image: str) -> Plan:
        """Raises NotFound or Invalid for func.yaml."""
        function = funcfile.read(self.directory).function
        return plan(function, Target(self.namespace, image, self.environ))

    def resources(self, image: str) -> Objects:
        planned = self.plan(image)
        return [planned.service, *planned.triggers]


async def deploy(client: Client, wanted: Deployment, report: Report) -> str:
    """The URL. Raises what building, applying and waiting raise."""
    clock = SystemClock()
    # What is wrong with the file is said before anything is built.
    wanted.plan(wanted.image or f"{wanted.destination.image}@sha256:{'0' * 64}")
    await _check_namespace(client, wanted.namespace)
    image = wanted.image
    if not image:
        started = clock.monotonic()
        image = await build_and_push(wanted.directory, wanted.destination, report)
        report(f"built and pushed in {clock.monotonic() - started:.1f} s: {image}")
    started = clock.monotonic()
    service = await apply(client, wanted.plan(image))
    if wanted.seconds:
        service = await wait_ready(client, service, clock, seconds=wanted.seconds, report=report)
        revision = meta.status(service).get("latestReadyRevisionName", "")
        report(f"ready in {clock.monotonic() - started:.1f} s: {revision}")
    return str(meta.status(service).get("url") or "")


async def _check_namespace(client: Client, name: str) -> None:
    try:
        await client.get(core.NAMESPACE, name)
    except NotFound:
        raise NotFound(
            f'there is no namespace "{name}"', hint=f"Make it with `kubectl create namespace {name}`."
        ) from None
