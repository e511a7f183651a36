"""A plan made real: apply, remove what is no longer planned, wait until it serves.

Law: the same on every substrate; the old Revision serves until the new one is ready, and a deploy that fails says which
Revision, why, and what the container printed. IO: through the Client port.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

from funcs.api import conditions, core, eventing, meta, serving
from funcs.api.meta import Object
from funcs.control.client import Client, LogOptions, Selection, WriteOptions
from funcs.control.clock import Clock
from funcs.errors import FuncsError, NotFound, Terminal, Timeout

from .plan import NAME_LABEL, Plan

_WRITE = WriteOptions(manager="funcs-deploy")
_GENERATION = "serving.knative.dev/configurationGeneration"
Report = Callable[[str], None]


async def apply(client: Client, plan: Plan) -> Object:
    """Write the plan; Triggers of this function that are not planned are deleted. Returns the Service."""
    service = await client.apply(serving.SERVICE, plan.service, _WRITE)
    name, namespace = meta.name(service), meta.namespace(service)
    for trigger in plan.triggers:
        await client.apply(eventing.TRIGGER, trigger, _WRITE)
    planned = {meta.name(trigger) for trigger in plan.triggers}
    selection = Selection(namespace=namespace, labels=f"{NAME_LABEL}={name}")
    for trigger in (await client.list(eventing.TRIGGER, selection)).items:
        if meta.name(trigger) not in planned:
            await client.delete(eventing.TRIGGER, meta.name(trigger), namespace)
    return service


async def wait_ready(client: Client, service: Object, clock: Clock, *, seconds: float, report: Report) -> Object:
    """The Service once its newest Revision serves. Raises Terminal with the cause and the log, Timeout."""
    name, namespace = meta.name(service), meta.namespace(service)
    deadline = clock.monotonic() + seconds
    said = ""
    found = service
    while (left := deadline - clock.monotonic()) > 0:
        selection = Selection(namespace=namespace, fields=f"metadata.name={name}")
        async with aclosing(client.watch(serving.SERVICE, selection, timeout=left)) as events:  # type: ignore[type-var]
            async for event in events:
                found = event.object
                if conditions.is_ready(found):
                    return found
                if await _failed_for_good(client, found):
                    raise Terminal(await _cause(client, found), reason="NotReady", hint=_hint(found))
                now = _progress(found)
                if now and now != said:
                    report(now)
                    said = now
    raise Timeout(
        f"{name} is not ready after {seconds:.0f} s: {await _cause(client, found)}",
        reason="NotReady",
        hint=_hint(found),
    )


async def _failed_for_good(client: Client, service: Object) -> bool:
    """The newest Revision, of the present generation, has failed: a crash, an image that is not there, a bad spec."""
    if meta.status(service).get("observedGeneration") != meta.generation(service):
        return False
    ready = conditions.find(service, "ConfigurationsReady")
    return ready is not None and ready.status == "False"


async def _cause(client: Client, service: Object) -> str:
    ready = conditions.find(service, "Ready")
    text = f"{ready.reason}: {ready.message}" if ready and ready.message else "no condition says why"
    said = (await _last_words(client, service)).splitlines()
    return "\n".join([text, *(line for line in said if line.strip() not in text)])


async def _last_words(client: Client, service: Object, lines: int = 20) -> str:
    """The end of the newest Revision's log, of a container that has ended or runs now; "" if there is none."""
    revision = meta.status(service).get("latestCreatedRevisionName", "")
    selection = Selection(namespace=meta.namespace(service), labels=f"serving.knative.dev/revision={revision}")
    for pod in (await client.list(core.POD, selection)).items:
        for previous in (True, False):
            options = LogOptions(tail_lines=lines, previous=previous)
            try:
                chunks = [chunk async for chunk in client.stream_log(meta.name(pod), meta.namespace(pod), options)]
            except FuncsError:
                continue
            if chunks:
                return b"".join(chunks).decode(errors="replace").rstrip()
    return ""


def _progress(service: Object) -> str:
    ready = conditions.find(service, "Ready")
    if ready is None or ready.status != "Unknown":
        return ""
    return ready.message or ready.reason


def _hint(service: Object) -> str:
    return f"See `funcs logs {meta.name(service)}` and `funcs describe {meta.name(service)}`."


async def remove(client: Client, name: str, namespace: str) -> list[str]:
    """Delete a function's Service and Triggers; what was removed, as `kind/name`. Raises NotFound without any."""
    removed = []
    selection = Selection(namespace=namespace, labels=f"{NAME_LABEL}={name}")
    for trigger in (await client.list(eventing.TRIGGER, selection)).items:
        await client.delete(eventing.TRIGGER, meta.name(trigger), namespace)
        removed.append(f"trigger/{meta.name(trigger)}")
    try:
        await client.delete(serving.SERVICE, name, namespace)
        removed.append(f"service/{name}")
    except NotFound:
        if not removed:
            raise NotFound(f'there is no function "{name}" in "{namespace}"', hint="See `funcs list -A`.") from None
    return removed
