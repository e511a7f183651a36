"""The process: sockets, signals, start and end.

Law: exit status 0 after SIGTERM, 78 (EX_CONFIG) when the author's code or the environment is at fault, 70 (EX_SOFTWARE)
when `init` or `shutdown` raised. IO: all of it.

Start: load the code, `init`, serve. A failed start is said once on stderr, and served for a second to readiness probes.
End: at SIGTERM or SIGINT readiness turns false, what is in flight finishes, background tasks too, `shutdown` runs. A
second signal kills.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from funcs.errors import FuncsError, Invalid, Terminal
from funcs.sdk import Context, Logger
from funcs.sdk.context import Surroundings
from funcs.sdk.identity import identities

from ..http.loop import new_event_loop
from ..http.server import serve
from ..http.settings import Limits
from .application import Application, refusing
from .lifecycle import Lifecycle
from .loading import load, where
from .output import LogHandler, Output
from .settings import Settings, from_environment
from .shape import shape_of

if TYPE_CHECKING:
    from .sink import Sink

OK, SOFTWARE, CONFIG = 0, 70, 78
SAID = 1.0  # seconds for which a failed start is answered
_LAST_WORDS = "/dev/termination-log"  # terminationMessagePath where a pod does not say otherwise


def main(env: Mapping[str, str], pid: int) -> int:
    output = Output(_write, time.time, _identity(env))
    try:
        settings = from_environment(env, pid)
        listeners = _listen(settings)
    except FuncsError as error:
        return _say(error, CONFIG)
    logging.basicConfig(handlers=[LogHandler(output)], level=settings.level)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(_run(settings, env, listeners, output))
    finally:
        output.gather(None)


async def _run(settings: Settings, env: Mapping[str, str], listeners: list[socket.socket], output: Output) -> int:
    stop = _stop_signal()
    logger = Logger(output.sink, settings.level)
    try:
        loaded = load(settings.handler)
        shape = shape_of(loaded.target, loaded.name)
        outlet = _sink(settings.sink) if settings.sink else None
    except FuncsError as error:
        return await _refuse(listeners, error, CONFIG, stop)
    lifecycle = Lifecycle(loaded.owner, logger)
    surroundings = _surroundings(settings, env, logger, lifecycle)
    inline = settings.inline or getattr(loaded.target, "__funcs_inline__", False)
    threads = None if inline or shape.kind in {"async", "agen"} else ThreadPoolExecutor(settings.threads, "handler")
    app = Application(shape, lifecycle, surroundings, timeout=settings.timeout, threads=threads, outlet=outlet)
    ctx = Context(surroundings)
    try:
        await lifecycle.init(ctx)
    except Exception as error:
        logger.exception("init() failed", error=error)
        refusal = Terminal(f"{where(error)}: init() raised {type(error).__name__}: {error}", reason="InitFailed")
        return await _refuse(listeners, refusal, SOFTWARE, stop)
    limits = Limits(body=settings.body, answer_timeout=settings.timeout)
    servers = [await serve(app, listener, limits=limits, failure=app.failed) for listener in listeners]
    output.gather(asyncio.get_running_loop())
    logger.debug("serving %s", loaded.name, shape=shape.kind)
    await stop.wait()
    output.gather(None)  # a second signal kills: from here on nothing is held back
    lifecycle.stopping = True
    end = time.monotonic() + settings.grace
    cut = sum(await asyncio.gather(*(server.drain(settings.grace) for server in servers)))
    if cut:
        logger.warning("%s invocations were cut off after %s s", cut, settings.grace)
    try:
        await lifecycle.shutdown(ctx, max(0.0, end - time.monotonic()))
    except Exception as error:
        logger.exception("shutdown() failed", error=error)
        return SOFTWARE
    finally:
        if outlet is not None:
            await outlet.close()
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
    return OK


def _sink(url: str) -> Sink:
    from ..http.client import Pool  # a tenth of what we import: only for functions that emit
    from .sink import Sink

    return Sink(url, Pool())


def _surroundings(settings: Settings, env: Mapping[str, str], logger: Logger, lifecycle: Lifecycle) -> Surroundings:
    name = settings.service or "function"
    return Surroundings(
        function=settings.service,
        revision=settings.revision,
        namespace=settings.namespace,
        source=f"/{settings.namespace}/{name}" if settings.namespace else f"/{name}",
        env=dict(env),
        config=settings.config,
        logger=logger,
        identity=identities(),
        clock=time.monotonic,
        background=lifecycle.background,
    )


async def _refuse(listeners: list[socket.socket], error: FuncsError, status: int, stop: asyncio.Event) -> int:
    _say(error, status)
    servers = [await serve(refusing(error), listener) for listener in listeners]
    try:
        async with asyncio.timeout(SAID):
            await stop.wait()
    except TimeoutError:
        pass
    for server in servers:
        await server.close()
    return status


def _stop_signal() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the next one has its default effect."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def stopping() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping)
    return stop


def _listen(settings: Settings) -> list[socket.socket]:
    if settings.sockets:
        return [socket.socket(fileno=descriptor) for descriptor in range(3, 3 + settings.sockets)]
    family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
    try:
        return [socket.create_server((settings.address, settings.port), family=family, backlog=4096)]
    except OSError as error:
        raise Invalid(
            f"cannot listen on {settings.address}, port {settings.port}: {error.strerror}",
            reason="AddressUnavailable",
            hint="Set PORT to a free one.",
        ) from error


def _identity(env: Mapping[str, str]) -> dict[str, str]:
    names = {"function": env.get("K_SERVICE", ""), "revision": env.get("K_REVISION", "")}
    return {name: value for name, value in names.items() if value}


def _say(error: FuncsError, status: int) -> int:
    hint = f"\n  {error.hint}" if error.hint else ""
    text = f"function: {error.reason}: {error.message}{hint}"
    print(text, file=sys.stderr, flush=True)
    _leave(text)
    return status


def _leave(text: str) -> None:
    """Where the node looks for a container's last words; it makes the file, and there is none outside of a pod."""
    try:
        with open(os.open(_LAST_WORDS, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW), "w") as file:  # noqa: PTH123
            file.write(text)
    except OSError:
        return


def _write(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.buffer.flush()
