"""The work queue: each key once, never twice at a time, later and later after failures."""

from __future__ import annotations

import asyncio

import pytest

from funcs.api.meta import Key
from funcs.control.clock import ManualClock
from funcs.control.queue import LONGEST_DELAY, Action, Queue, action_after
from funcs.errors import AlreadyExists, Conflict, FuncsError, Invalid, NotFound, Terminal, Timeout, Unavailable

A, B = Key("default", "a"), Key("default", "b")


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (Conflict("c"), Action.SOON),
        (AlreadyExists("a"), Action.SOON),
        (NotFound("n"), Action.DROP),
        (Invalid("i"), Action.DROP),
        (Terminal("t"), Action.DROP),
        (Unavailable("u"), Action.BACK_OFF),
        (Timeout("t"), Action.BACK_OFF),
        (FuncsError("f"), Action.BACK_OFF),
        (ValueError("v"), Action.BACK_OFF),
    ],
)
def test_the_class_of_the_error_is_the_decision(error: Exception, action: Action) -> None:
    assert action_after(error) is action


def test_a_key_added_twice_comes_up_once() -> None:
    queue = Queue(ManualClock())
    for key in (A, B, A):
        queue.add(key)
    assert [queue.take(), queue.take(), queue.take()] == [A, B, None]


def test_a_key_being_worked_on_comes_up_again_only_when_it_is_done() -> None:
    queue = Queue(ManualClock())
    queue.add(A)
    assert queue.take() == A
    queue.add(A)
    assert queue.take() is None
    queue.done(A)
    assert queue.take() == A
    queue.done(A)
    assert queue.idle


async def test_the_earlier_of_two_wishes_wins() -> None:
    clock = ManualClock()
    queue = Queue(clock)
    queue.add_after(A, 10)
    queue.add_after(A, 5)
    queue.add_after(A, 7)
    await clock.advance(4.9)
    assert queue.take() is None
    await clock.advance(0.1)
    assert queue.take() == A
    queue.done(A)
    await clock.advance(20)
    assert queue.take() is None


def test_failures_back_off_up_to_a_limit_and_are_forgotten() -> None:
    queue = Queue(ManualClock())
    delays = [queue.back_off(A) for _ in range(40)]
    assert delays[:4] == [0.005, 0.01, 0.02, 0.04]
    assert delays[-1] == LONGEST_DELAY
    queue.forget(A)
    assert queue.back_off(A) == 0.005


async def test_waiting_workers_each_get_a_key() -> None:
    queue = Queue(ManualClock())
    workers = [asyncio.create_task(queue.next()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add(A)
    queue.add(B)
    assert await asyncio.gather(*workers) == [A, B]


async def test_a_cancelled_worker_takes_no_key_with_it() -> None:
    queue = Queue(ManualClock())
    first, second = (asyncio.create_task(queue.next()) for _ in range(2))
    await asyncio.sleep(0)
    queue.add(A)
    first.cancel()
    async with asyncio.timeout(5):
        assert await second == A


async def test_keys_come_up_when_they_are_due() -> None:
    clock = ManualClock()
    queue = Queue(clock)
    running = asyncio.create_task(queue.run())
    worker = asyncio.create_task(queue.next())
    await asyncio.sleep(0)
    queue.add_after(A, 60)
    await clock.advance(1)
    queue.add_after(B, 5)
    await clock.advance(1)
    assert not worker.done()
    await clock.advance(5)
    assert await worker == B
    running.cancel()
