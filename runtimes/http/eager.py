"""Coroutines that mostly finish without waiting, run without a Task of their own.

Law: whoever asks for the current task gets the same real `asyncio.Task` before and after the first suspension. A
`Runner` owns one parked Task. It steps a coroutine at once, in that task's name and context; one that finishes there
has cost no turn of the loop, and one that suspends is driven on by the task itself, whose coroutine the Runner is. No
IO.

`asyncio.timeout`, task groups and anyio's cancel scopes remember the task they were entered in, hence the law. The
functions by which the name is lent are those that asyncio's manual gives to other task implementations ("Extending").
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeAlias

Work: TypeAlias = Coroutine[Any, Any, Any]
Done: TypeAlias = Callable[["Runner", Any, BaseException | None], None]

SPARE = 64  # parked runners kept


class Runners:
    """Hands out runners and takes them back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        self._loop = loop
        self._context = context
        self._spare: list[Runner] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Work, done: Done) -> Runner | None:
        """Step `work` now; `done(runner, result, error)` is called when it ends, perhaps before this returns.

        Gives back the runner if it is not done, for `cancel`. `done` may call `runner.then` to have more work done in
        the same task and context. From inside a task, the first step waits a turn too.
        """
        spare = self._spare
        runner = spare.pop() if spare else self._new()
        task, context = runner.task, runner.context
        while True:
            result = error = None
            try:
                _enter_task(self._loop, task)
            except RuntimeError:  # called from inside another task: let our own take the first step, too
                return runner.go_on(work, done)
            try:
                yielded = context.run(work.send, None)
            except StopIteration as stop:
                result = stop.value
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                error = exc
            else:
                return runner.go_on(work, done, yielded)
            finally:
                _leave_task(self._loop, task)
            done(runner, result, error)
            if runner.next is None:
                break
            work, done = runner.next
            runner.next = None
        if context == self._context and not task.cancelling() and len(spare) < SPARE:
            spare.append(runner)
        else:
            task.cancel()
        return None

    async def close(self) -> None:
        """Cancel what still runs, and wait for it."""
        for task in self._tasks:
            task.cancel()
        self._spare.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _new(self) -> Runner:
        runner = Runner(self, self._loop, self._context)
        self._tasks.add(runner.task)
        runner.task.add_done_callback(lambda task: self._ended(runner, task))
        return runner

    def _ended(self, runner: Runner, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if runner in self._spare:  # somebody cancelled all tasks of the loop
            self._spare.remove(runner)

    def take_back(self, runner: Runner) -> bool:
        """Whether the runner may park; one that was cancelled, or whose context was written to, has to end."""
        if len(self._spare) >= SPARE or runner.task.cancelling() or runner.context != self._context:
            return False
        self._spare.append(runner)
        return True


class Runner(Coroutine[Any, Any, None]):
    """One task, and the coroutine of that task."""

    __slots__ = ("_done", "_loop", "_owner", "_parked", "_work", "_yielded", "context", "next", "task")

    def __init__(self, owner: Runners, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        self._owner = owner
        self._loop = loop
        self._work: Work | None = None
        self._done: Done | None = None
        self.next: tuple[Work, Done] | None = None
        self._yielded: list[Any] = []
        self._parked: asyncio.Future[None] | None = None
        self.context = context.copy()
        self.task: asyncio.Task[None] = asyncio.Task(self, loop=loop, context=self.context)

    def go_on(self, work: Work, done: Done, *yielded: Any) -> Runner:
        """Let the task drive `work` from here: from its first step, or from what that has yielded."""
        self._work, self._done = work, done
        self._yielded.extend(yielded)
        parked = self._parked
        if parked is not None and not parked.done():
            parked.set_result(None)
        return self

    def then(self, work: Work, done: Done) -> None:
        """From inside `done`: go on with `work` in the same task and context."""
        self.next = (work, done)

    def cancel(self) -> None:
        """Cancel what runs; `done` gets the CancelledError, unless the work will not have it."""
        self.task.cancel()

    # What follows is the task's coroutine.

    def send(self, value: None) -> Any:
        if self._work is None:
            return self._park()
        if self._yielded:
            return self._yielded.pop()
        return self._drive(self._work.send, None)

    def throw(self, error: Any, *_: Any) -> Any:
        if self._work is None:
            raise error
        if self._yielded:  # cancelled between the first step and the second
            self._yielded.clear()
        return self._drive(self._work.throw, error)

    def close(self) -> None:
        if self._work is not None:
            self._work.close()

    def __await__(self) -> Any:
        raise TypeError("a Runner is awaited by its own task alone")

    def _drive(self, step: Callable[[Any], Any], value: Any) -> Any:
        while True:
            result = error = None
            try:
                return step(value)
            except StopIteration as stop:
                result = stop.value
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                error = exc
            done, self._work, self._done = self._done, None, None
            assert done is not None
            done(self, result, error)
            if self.next is None:
                break
            self._work, self._done = self.next
            self.next = None
            step, value = self._work.send, None
        if not self._owner.take_back(self):
            raise StopIteration
        return self._park()

    def _park(self) -> asyncio.Future[None]:
        parked = self._parked = self._loop.create_future()
        # What `Future.__await__` does before it yields itself.
        parked._asyncio_future_blocking = True
        return parked
