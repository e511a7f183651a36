"""The one entry of control, node, gateway and broker: `python -m funcs.platform.part NAME …`, run by the supervisor.

Law: only the named part is imported. IO: the process itself: signals, descriptors, logging to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from pathlib import Path

from funcs.errors import FuncsError

from .duty import Duty
from .handing import inherited
from .places import Places

Run = Callable[[Duty], Awaitable[None]]
_NAMES = ("control", "node", "gateway", "broker")


def main(argv: list[str]) -> int:
    arguments = argparse.ArgumentParser(prog="python -m funcs.platform.part")
    arguments.add_argument("name", choices=_NAMES)
    arguments.add_argument("--state", type=Path, required=True)
    arguments.add_argument("--listen", action="append", default=[], metavar="NAME=DESCRIPTOR")
    arguments.add_argument("--keep", action="append", default=[], metavar="NAME=DESCRIPTOR")
    arguments.add_argument("--ready", type=int)
    given = arguments.parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    places = Places(given.state)
    sockets, kept = inherited(given.listen), inherited(given.keep)
    if given.ready is not None:
        os.set_inheritable(given.ready, False)
    run: Run = import_module(f"funcs.platform.{given.name}").run
    duty = Duty(given.name, places, places.read_record(), sockets, _search_path(os.environ), given.ready, kept)
    gc.freeze()  # what was imported is never garbage
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(run, duty))
    except FuncsError as error:
        duty.failed(error)
        logging.getLogger("funcs").critical("%s: %s", error.reason, error.message, exc_info=error)
        return 1
    return 0


def _search_path(environ: Mapping[str, str]) -> str:
    """Where programs are found, with the places that a person's PATH may lack."""
    return os.pathsep.join([environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


async def _serve(run: Run, duty: Duty) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, duty.stop.set)
    working = asyncio.ensure_future(run(duty))
    told = asyncio.ensure_future(duty.stop.wait())
    await asyncio.wait((working, told), return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if not working.done() and not duty.is_ready:
        working.cancel()  # it may be waiting for another part, and has nothing to drain yet
    try:
        await working
    except asyncio.CancelledError:
        if not duty.stop.is_set():
            raise


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it has a wheel, plain asyncio elsewhere."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
