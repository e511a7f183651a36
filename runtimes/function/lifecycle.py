"""What an author may define beside the handler: `init(ctx)`, `shutdown(ctx)`, `alive()`, `ready()`, sync or async.

Law: `init` runs once, before the first event and before the function is ready; `shutdown` once, after the last event
and the background tasks, and only if `init` succeeded. `alive` and `ready` give a bool, or (bool, message).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from typing import Any

from funcs.sdk import Context, Logger

BACKGROUND = 10_000  # tasks at once


class Lifecycle:
    def __init__(self, owner: object, logger: Logger) -> None:
        self._owner = owner
        self._logger = logger
        self._tasks: set[asyncio.Task[Any]] = set()
        self._initialised = False
        self.stopping = False

    async def init(self, ctx: Context) -> None:
        await self._run("init", ctx)
        self._initialised = True

    async def alive(self) -> tuple[bool, str]:
        return await self._ask("alive")

    async def ready(self) -> tuple[bool, str]:
        if self.stopping:
            return False, "shutting down"
        return await self._ask("ready")

    def background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Start a task that is awaited before `shutdown`. Raises RuntimeError if there are too many."""
        if len(self._tasks) >= BACKGROUND:
            work.close()
            raise RuntimeError(f"{BACKGROUND} background tasks are running already")
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def shutdown(self, ctx: Context, deadline: float) -> None:
        """Wait up to `deadline` seconds for the background tasks, cancel the rest, and run the author's `shutdown`."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=deadline)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._initialised:
            self._initialised = False
            await self._run("shutdown", ctx)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._logger.exception("a background task failed", error=error)

    async def _run(self, name: str, ctx: Context) -> None:
        function = getattr(self._owner, name, None)
        if function is not None:
            result = function(ctx) if inspect.signature(function).parameters else function()
            if inspect.isawaitable(result):
                await result

    async def _ask(self, name: str) -> tuple[bool, str]:
        function = getattr(self._owner, name, None)
        if function is None:
            return True, ""
        try:
            result = function()
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:
            self._logger.exception("%s() failed", name, error=error)
            return False, f"{name}() raised {type(error).__name__}"
        if isinstance(result, tuple) and len(result) == 2:
            return bool(result[0]), str(result[1])
        return bool(result), ""
