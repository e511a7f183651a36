"""When log lines are written."""

from __future__ import annotations

import asyncio
import threading

import msgspec

from runtimes.function.output import MANY, Output


def gathering() -> tuple[Output, list[bytes]]:
    written: list[bytes] = []
    output = Output(written.append, lambda: 1_700_000_000.25, {"function": "hello"})
    output.gather(asyncio.get_running_loop())
    return output, written


async def test_lines_of_one_turn_are_written_together_at_its_end() -> None:
    output, written = gathering()
    output.sink("info", "one", {"n": 1})
    output.sink("info", "two", {"n": 2})
    assert written == []
    await asyncio.sleep(0)
    (data,) = written
    first, second = map(msgspec.json.decode, data.splitlines())
    assert first == {"time": "2023-11-14T22:13:20.250Z", "level": "info", "message": "one", "function": "hello", "n": 1}
    assert second["message"] == "two"


async def test_an_error_is_written_at_once_with_what_came_before_it() -> None:
    output, written = gathering()
    output.sink("info", "before", {})
    output.sink("error", "broken", {})
    assert [msgspec.json.decode(line)["message"] for line in b"".join(written).splitlines()] == ["before", "broken"]


async def test_many_lines_do_not_wait_for_the_end_of_the_turn() -> None:
    output, written = gathering()
    output.sink("info", "x" * MANY, {})
    assert len(written) == 1


async def test_what_is_held_is_written_when_gathering_ends() -> None:
    output, written = gathering()
    output.sink("info", "held", {})
    output.gather(None)
    output.sink("info", "after", {})
    assert [msgspec.json.decode(line)["message"] for line in written] == ["held", "after"]


async def test_other_threads_write_at_once() -> None:
    output, written = gathering()
    thread = threading.Thread(target=output.sink, args=("info", "elsewhere", {}))
    thread.start()
    thread.join()
    assert len(written) == 1
