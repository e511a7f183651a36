"""The control part: API server, store, controllers, autoscaler, registry, git, listeners, in one process.

Law: composition only; whatever is decided is decided in the packages below. IO: opens the store, serves two sockets.
"""

from __future__ import annotations

from funcs.api.catalog import KINDS
from funcs.control.clock import SystemClock
from funcs.control.ids import RandomIds
from funcs.control.informer import Informers

from .duty import Duty


async def run(duty: Duty) -> None:
    """Until told to stop."""
    clock, ids, informers = SystemClock(), RandomIds(), Informers(KINDS)
