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
import types
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeAlias

Work: TypeAlias = Coroutine[Any, Any, Any]
Done: TypeAlias = Callable[["Runner", Any, BaseException | None], None]
Job: TypeAlias = tuple[Work, Done]

SPARE = 64  # parked runners kept
_IDLE = object()


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
        if not spare:
            spare.append(self._new())
        runner = spare[-1]  # and there it stays, unless the work turns out to wait
        task, context = runner.task, runner.context
        try:
            _enter_task(self._loop, task)
        except RuntimeError:  # called from inside another task: let our own take the first step, too
            runner = self._new()
            runner.later((work, done))
            return runner
        try:
            yielded = context.run(runner.step, (work, done))
        finally:
            _leave_task(self._loop, task)
        if yielded is not _IDLE:
            spare.remove(runner)
            runner.go_on(yielded)
            return runner
        if context != self._context or task.cancelling():
            spare.remove(runner)
            task.cancel()
        return None

    def take_back(self, runner: Runner) -> bool:
        """Whether the runner may park; one that was cancelled, or whose context was written to, has to end."""
        if runner.context == self._context and not runner.task.cancelling() and len(self._spare) < SPARE:
            self._spare.append(runner)
            return True
        return False

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


class Runner(Coroutine[Any, Any, None]):
    """One task, and the coroutine of that task."""

    __slots__ = (
        "_idle",
        "_job",
        "_loop",
        "_next",
        "_owner",
        "_parked",
        "_working",
        "_yielded",
        "context",
        "step",
        "task",
    )

    def __init__(self, owner: Runners, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        self._owner = owner
        self._loop = loop
        self._idle = True
        self._job: Job | None = None  # to be started by the task
        self._next: Job | None = None  # to be done when `done` returns
        self._yielded: list[Any] = []  # by the first step, for the task to wait for
        self._parked: asyncio.Future[None] | None = None
        self._working = self._work()
        self.step = self._working.send
        self.step(None)
        self.context = context.copy()
        self.task: asyncio.Task[None] = asyncio.Task(self, loop=loop, context=self.context)

    def then(self, work: Work, done: Done) -> None:
        """From inside `done`: go on with `work` in the same task and context."""
        self._next = (work, done)

    def cancel(self) -> None:
        """Cancel what runs; `done` gets the CancelledError, unless the work will not have it."""
        self.task.cancel()

    def later(self, job: Job) -> None:
        self._job = job
        self._wake()

    def go_on(self, yielded: Any) -> None:
        """The first step ended in waiting for `yielded`: from here the task drives."""
        self._yielded.append(yielded)
        self._wake()

    @types.coroutine
    def _work(self) -> Generator[Any, Any, None]:
        while True:
            work, done = yield _IDLE
            while True:
                result = error = None
                try:
                    result = yield from work
                except (SystemExit, KeyboardInterrupt, GeneratorExit):
                    raise
                except BaseException as exc:
                    error = exc
                done(self, result, error)
                if self._next is None:
                    break
                work, done = self._next
                self._next = None
            del work, done, result, error

    # What follows is the task's coroutine.

    def send(self, value: None) -> Any:
        if self._yielded:
            return self._yielded.pop()
        job, self._job = self._job, None
        if job is None and self._idle:
            return self._park()
        return self._stepped(self.step(job))

    def throw(self, error: Any, *_: Any) -> Any:
        if self._idle:
            raise error
        self._yielded.clear()  # cancelled between the first step and the second
        job, self._job = self._job, None
        if job is None:
            return self._stepped(self._working.throw(error))
        work, done = job
        work.close()
        done(self, None, error)
        return self._stepped(_IDLE)

    def close(self) -> None:
        self._working.close()

    def __await__(self) -> Any:
        raise TypeError("a Runner is awaited by its own task alone")

    def _stepped(self, yielded: Any) -> Any:
        if yielded is not _IDLE:
            return yielded
        self._idle = True
        if self._owner.take_back(self):
            return self._park()
        raise StopIteration

    def _park(self) -> asyncio.Future[None]:
        parked = self._parked = self._loop.create_future()
        # What `Future.__await__` does before it yields itself.
        parked._asyncio_future_blocking = True
        return parked

    def _wake(self) -> None:
        self._idle = False
        parked = self._parked
        if parked is not None and not parked.done():
            parked.set_result(None)
