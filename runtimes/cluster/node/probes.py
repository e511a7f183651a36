"""Probes: is a container started, ready, alive? By `httpGet`, `tcpSocket` or `exec`; `grpc` and HTTPS are refused.

Law: until one succeeds they follow each other after a tenth of the time spent so far (5 to 100 ms), so that a waking
function is ready when it answers, give or take that tenth; then every `periodSeconds`. `initialDelaySeconds` is
honoured. Thresholds are Kubernetes'.
IO: loopback HTTP and TCP, and commands through the shim.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from funcs.api.meta import Object
from funcs.control.clock import Clock
from funcs.errors import FuncsError

from .runtime import CannotRun

Exec = Callable[[list[str], float], Awaitable[tuple[int, str]]]
"""Runs a command in the container with a deadline in seconds: its exit code and output."""

_QUICKEST = 0.005
_SLOWEST = 0.1
_MOST_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One probe with Kubernetes' defaults. Times in seconds."""

    kind: str
    handler: Object
    port: int = 0
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    successes: int = 1
    failures: int = 3


def read(kind: str, spec: Object, container: Object, ports: Mapping[int, int]) -> Probe:
    """A probe of a container's spec, `kind` being its field's name; its port is where the node has put it.

    Raises CannotRun for a handler we lack.
    """
    handlers = [name for name in ("httpGet", "tcpSocket", "exec", "grpc") if spec.get(name) is not None]
    if handlers != handlers[:1] or not handlers or handlers[0] == "grpc":
        raise CannotRun(f"{kind} of {container['name']}: handler {', '.join(handlers) or 'none'} is not supported")
    handler = {handlers[0]: spec[handlers[0]]}
    if str((spec.get("httpGet") or {}).get("scheme") or "HTTP").upper() != "HTTP":
        raise CannotRun(f"{kind} of {container['name']}: httpGet over HTTPS is not supported")
    wanted = handler[handlers[0]].get("port") if handlers[0] != "exec" else None
    return Probe(
        kind=kind,
        handler=handler,
        port=0 if wanted is None else real_port(wanted, container, ports),
        initial_delay=float(spec.get("initialDelaySeconds") or 0),
        period=float(spec.get("periodSeconds") or 10),
        timeout=float(spec.get("timeoutSeconds") or 1),
        successes=int(spec.get("successThreshold") or 1),
        failures=int(spec.get("failureThreshold") or 3),
    )


def within(probe: Probe, timeout: float) -> Probe:
    return replace(probe, timeout=timeout)


def real_port(wanted: int | str, container: Object, ports: Mapping[int, int]) -> int:
    """The host's port for a number or a name; 0 means the first declared (Knative). Raises CannotRun."""
    declared = container.get("ports") or []
    if isinstance(wanted, str) and not wanted.isdecimal():
        named = [int(port["containerPort"]) for port in declared if port.get("name") == wanted]
        if not named:
            raise CannotRun(f"container {container['name']} has no port named {wanted!r}")
        return ports.get(named[0], named[0])
    number = int(wanted)
    if number == 0 and declared:
        number = int(declared[0]["containerPort"])
    return ports.get(number, number)


async def watch(probe: Probe, clock: Clock, run: Exec, verdict: Callable[[bool, str], None]) -> None:
    """Until cancelled: `verdict(ok, why)` whenever the threshold for a change of mind is met."""
    if probe.initial_delay:
        await clock.sleep(probe.initial_delay)
    succeeded = failed = 0
    began = clock.monotonic()
    ever = False
    while True:
        ok, why = await check(probe, run)
        succeeded, failed = (succeeded + 1, 0) if ok else (0, failed + 1)
        ever = ever or ok
        # Before the first success the quick schedule must not use up the threshold: a period counts as one failure.
        lasted = clock.monotonic() - began
        spent = failed if ever else int(lasted / probe.period) + 1
        if ok and succeeded >= probe.successes:
            verdict(True, "")
        elif not ok and spent >= probe.failures:
            verdict(False, why)
        if ever:
            await clock.sleep(probe.period if succeeded >= probe.successes or failed else min(probe.period, _SLOWEST))
        else:
            await clock.sleep(min(max(_QUICKEST, lasted / 10), _SLOWEST, probe.period))


async def check(probe: Probe, run: Exec) -> tuple[bool, str]:
    """One check: (ok, why not)."""
    try:
        async with asyncio.timeout(probe.timeout + (1.0 if "exec" in probe.handler else 0.0)):
            if "exec" in probe.handler:
                code, output = await run(list(probe.handler["exec"].get("command") or []), probe.timeout)
                return code == 0, output[-200:] or f"exit code {code}"
            return await _connect(probe)
    except TimeoutError:
        return False, "context deadline exceeded"
    except (OSError, FuncsError, ValueError) as error:
        return False, str(error)


async def _connect(probe: Probe) -> tuple[bool, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", probe.port, limit=_MOST_ANSWER)
    try:
        if "tcpSocket" in probe.handler:
            return True, ""
        writer.write(_request(probe))
        line = (await reader.readline()).split(b" ", 2)
        if len(line) < 2 or not line[1].isdigit():
            return False, "malformed HTTP response"
        code = int(line[1])
        return 200 <= code < 400, f"HTTP probe failed with statuscode: {code}"
    finally:
        writer.close()


def _request(probe: Probe) -> bytes:
    get = probe.handler["httpGet"]
    path = str(get.get("path") or "/")
    headers = {
        "Host": f"{get.get('host') or '127.0.0.1'}:{probe.port}",
        "User-Agent": "kube-probe/1.34",
        "Accept": "*/*",
    }
    headers |= {str(each["name"]): str(each["value"]) for each in get.get("httpHeaders") or []}
    text = f"GET {path if path.startswith('/') else '/' + path} HTTP/1.1\r\n"
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if any(mark in part for part in (path, *lines) for mark in "\r\n"):
        raise ValueError("line breaks in a probe's path or headers")
    return (text + "".join(f"{line}\r\n" for line in lines) + "Connection: close\r\n\r\n").encode()
