"""Deliveries: over real sockets, by a clock turned by hand."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from funcs.control.clock import ManualClock
from runtimes.eventing.delivery import Subscription
from runtimes.eventing.dispatcher import Dispatcher, DispatcherSettings
from runtimes.eventing.event import Event
from runtimes.eventing.filters import compile_filter
from runtimes.eventing.lane import LaneSettings
from runtimes.eventing.log import Retention, SaveCursor, SaveFailure
from runtimes.eventing.retry import Policy
from runtimes.eventing.sqlite import SqliteLog
from runtimes.eventing.transport import Transport
from runtimes.http.client import Pool
from runtimes.http.message import Response

from .events import an_event
from .net import Received, Subscriber, subscriber, until

BROKER = "default/default"


class Broker:
    """A log and a dispatcher, that can be stopped, killed and started again."""

    def __init__(self, path: Path, settings: DispatcherSettings) -> None:
        self.path = path
        self.settings = settings
        self.clock = ManualClock()
        self.log: SqliteLog
        self.dispatcher: Dispatcher

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Broker]:
        self.log = await SqliteLog.open(self.path)
        pool = Pool()
        try:
            async with Dispatcher(
                self.log, Transport(pool, lambda host, port: (host, port)), self.clock, self.settings
            ) as self.dispatcher:
                yield self
        finally:
            await pool.close()
            await self.log.close()

    async def publish(self, *numbers: int, ttl: int = 256, **attributes: str) -> None:
        events = [replace(an_event(number, **attributes), ttl=ttl) for number in numbers]
        now = self.clock.now()
        await asyncio.gather(*[self.log.append(BROKER, event.arriving(now), now) for event in events])

    def pauses(self) -> list[float]:
        """How long deliveries wait to be tried again, flushes and trims left aside."""
        waits = [round(due - self.clock.now(), 6) for due, _, wake in self.clock._sleepers if not wake.done()]
        return [wait for wait in sorted(waits) if wait != 0.05 and wait < 1000]

    async def pause_of(self, seconds: float) -> None:
        """Once a delivery waits for so long: let it pass."""
        await until(lambda: seconds in self.pauses())
        await self.clock.advance(seconds)

    async def settled(self) -> None:
        """Once nothing is owed, and that is saved."""
        await until(lambda: all(not lane._open for lane in self.dispatcher._lanes.values()))
        await until(lambda: not self.dispatcher._to_flush.is_set() or self.clock._sleepers != [])
        await self.clock.advance(0.05)
        await self.dispatcher.trim()


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    return Broker(tmp_path / "log.db", DispatcherSettings(trim=1e6, drain=0.2))


def to(target: Subscriber | str | None, uid: str = "t", **changes: Any) -> Subscription:
    url = target.url + "/in" if isinstance(target, Subscriber) else target
    wants = changes.pop("wants", (None, ()))
    return Subscription(
        uid=uid, namespace="default", name=uid, broker=BROKER, subscriber=url, wants=wants,
        filter=compile_filter(*wants), **changes,
    )  # fmt: skip


def answers(*statuses: int, then: int = 200) -> Callable[[Received], Response]:
    left = list(statuses)

    def answer(received: Received) -> Response:
        status = left.pop(0) if left else then
        return Response(status, (), b"" if status == 200 else b"because")

    return answer


def replying(**changes: str) -> Callable[[Received], Response]:
    def answer(received: Received) -> Response:
        event = an_event(int(received.id) + 1, **changes)
        return Response(200, [tuple(line.split(b": ", 1)) for line in event.head().splitlines()], b"reply")  # type: ignore[misc]

    return answer


async def test_an_event_reaches_its_subscriber_as_it_came(broker: Broker) -> None:
    async with broker.running(), subscriber() as sub:
        await broker.dispatcher.program(to(sub))
        await broker.publish(1, subject="a b")
        (found,) = await sub.until(1)
        assert (found.path, found.body) == ("/in", b'{"number": 1}')
        assert found.headers["ce-subject"] == "a%20b"
        assert (found.headers["prefer"], found.headers["kn-namespace"]) == ("reply", "default")
        assert found.headers["host"] == sub.url.removeprefix("http://")
        assert "ce-knativebrokerttl" not in found.headers


async def test_in_the_json_format_the_event_is_the_body(broker: Broker) -> None:
    async with broker.running(), subscriber() as sub:
        await broker.dispatcher.program(to(sub, policy=Policy(structured=True)))
        await broker.publish(1)
        (found,) = await sub.until(1)
        assert found.headers["content-type"] == "application/cloudevents+json"
        assert b'"data":{"number": 1}' in found.body


async def test_only_what_a_trigger_wants_is_delivered(broker: Broker) -> None:
    async with broker.running(), subscriber() as sub, subscriber() as all_of_it:
        await broker.dispatcher.program(to(sub, wants=({"type": "wanted"}, ())))
        await broker.dispatcher.program(to(all_of_it, "all"))
        await broker.publish(1, 2, 3)
        await broker.publish(4, type="wanted")
        assert [found.id for found in await sub.until(1)] == ["4"]
        assert sorted(found.id for found in await all_of_it.until(4)) == ["1", "2", "3", "4"]


async def test_nothing_from_before_a_trigger_was_programmed(broker: Broker) -> None:
    async with broker.running(), subscriber() as sub:
        await broker.publish(1)
        await broker.dispatcher.program(to(sub))
        await broker.publish(2)
        assert [found.id for found in await sub.until(1)] == ["2"]


async def test_a_failed_delivery_is_tried_again_with_backoff(broker: Broker) -> None:
    async with broker.running(), subscriber(answers(503, 500, 404)) as sub:
        await broker.dispatcher.program(to(sub, policy=Policy(retries=3, backoff="exponential", delay=0.2)))
        await broker.publish(1)
        for pause in (0.2, 0.4, 0.8):
            await broker.pause_of(pause)
        assert [found.id for found in await sub.until(4)] == ["1"] * 4
        await broker.settled()
        assert (await broker.log.recall("t")).failures == ()
        assert await broker.log.dead_letters() == []


async def test_a_failing_event_does_not_hold_up_the_others(broker: Broker) -> None:
    async with broker.running(), subscriber(lambda got: Response(500 if got.id == "1" else 200)) as sub:
        await broker.dispatcher.program(to(sub, policy=Policy(retries=1, backoff="exponential", delay=60.0)))
        await broker.publish(1, 2, 3)
        await sub.until(3)
        assert sorted(sub.ids) == ["1", "2", "3"]
        await until(lambda: 60.0 in broker.pauses())


async def test_without_a_sink_an_undeliverable_event_rests_as_a_dead_letter(broker: Broker) -> None:
    async with broker.running(), subscriber(answers(400)) as sub:
        await broker.dispatcher.program(to(sub, policy=Policy(retries=5)))
        await broker.publish(1)
        await broker.settled()
        (letter,) = await broker.log.dead_letters()
        assert (letter.code, letter.data, letter.destination, letter.body) == (
            400,
            b"because",
            sub.url + "/in",
            b'{"number": 1}',
        )
        assert sub.ids == ["1"], "a 400 is not tried again"


async def test_the_dead_letter_sink_gets_the_original_with_the_real_error(broker: Broker) -> None:
    async with broker.running(), subscriber(answers(then=500)) as sub, subscriber(answers(503)) as sink:
        policy = Policy(retries=1, backoff="linear", delay=1.0)
        await broker.dispatcher.program(to(sub, policy=policy, dead_letter_sink=sink.url))
        await broker.publish(7)
        await sink.until(2)
        assert len(sub.received) == 2
        found = sink.received[1]
        assert (found.id, found.body) == ("7", b'{"number": 7}')
        assert found.headers["ce-knativeerrordest"] == sub.url + "/in"
        assert found.headers["ce-knativeerrorcode"] == "500"
        assert base64.b64decode(found.headers["ce-knativeerrordata"]) == b"because"
        await broker.settled()
        assert await broker.log.dead_letters() == []


async def test_no_answer_is_a_500_with_the_reason(broker: Broker) -> None:
    async with broker.running(), subscriber() as sink:
        await broker.dispatcher.program(to("http://127.0.0.1:1/", dead_letter_sink=sink.url))
        await broker.publish(1)
        (found,) = await sink.until(1)
        assert found.headers["ce-knativeerrorcode"] == "500"
        assert base64.b64decode(found.headers["ce-knativeerrordata"]).startswith(b"dispatch error: no connection to")


@pytest.mark.parametrize("url", ["https://x/", "http://ü.example/", "http://x:99999/", "nonsense"])
async def test_a_subscriber_that_cannot_be_dialled_is_a_dead_letter_with_the_reason(broker: Broker, url: str) -> None:
    async with broker.running():
        await broker.dispatcher.program(to(url))
        await broker.publish(1)
        await broker.settled()
        (letter,) = await broker.log.dead_letters()
        assert b"cannot be delivered to" in letter.data


async def test_a_reply_goes_through_the_same_broker(broker: Broker) -> None:
    async with broker.running(), subscriber(replying(type="reply")) as first, subscriber() as second:
        await broker.dispatcher.program(to(first, "first", wants=({"type": "ask"}, ())))
        await broker.dispatcher.program(to(second, "second", wants=({"type": "reply"}, ())))
        await broker.publish(1, type="ask")
        (found,) = await second.until(1)
        assert (found.id, found.body) == ("2", b"reply")
        entries = await broker.log.read(0)
        assert [entry.ttl for entry in entries] == [255, 254]


async def test_a_loop_of_replies_ends_with_the_time_to_live(broker: Broker) -> None:
    async with broker.running(), subscriber(replying()) as sub:
        await broker.dispatcher.program(to(sub, policy=Policy(retries=3)))
        await broker.publish(1, ttl=5)
        await sub.until(4)
        await broker.settled()
        assert sub.ids == ["1", "2", "3", "4"]
        (letter,) = await broker.log.dead_letters()
        assert (letter.code, letter.destination) == (400, broker.dispatcher.broker_url(BROKER))
        assert b"used up" in letter.data


@pytest.mark.parametrize(
    ("response", "delivered"),
    [
        pytest.param(Response(200, (), b"fine"), False, id="200 with a body that is no event"),
        pytest.param(Response(200, ((b"ce-specversion", b"1.0"),)), False, id="200 with half an event"),
        pytest.param(Response(202, (), b"whatever"), True, id="202 with any body"),
        pytest.param(Response(204), True, id="204"),
        pytest.param(Response(301), False, id="redirects are not followed"),
    ],
)
async def test_what_counts_as_delivered(broker: Broker, response: Response, delivered: bool) -> None:
    async with broker.running(), subscriber(lambda received: response) as sub:
        await broker.dispatcher.program(to(sub))
        await broker.publish(1)
        await sub.until(1)
        await broker.settled()
        assert (await broker.log.dead_letters() == []) is delivered
        assert broker.log.last == 1


async def test_a_slow_subscriber_gets_everything_though_little_is_held(broker: Broker) -> None:
    broker.settings = replace(broker.settings, lane=LaneSettings(parallel=3, window=5))
    async with broker.running(), subscriber() as sub:
        await broker.dispatcher.program(to(sub))
        for first in range(0, 300, 50):
            await broker.publish(*range(first, first + 50))
        await sub.until(300)
        assert sorted(map(int, sub.ids)) == list(range(300))
        assert all(len(lane._open) <= 5 for lane in broker.dispatcher._lanes.values())
        await broker.publish(300)
        await sub.until(301)


async def test_after_a_restart_what_was_acknowledged_is_not_repeated_and_the_rest_is_delivered(broker: Broker) -> None:
    async with broker.running(), subscriber() as sub:
        await broker.dispatcher.program(to(sub))
        await broker.publish(1, 2, 3)
        await sub.until(3)
        await broker.settled()
        broker.dispatcher.suspend("t")
        await broker.publish(4, 5)
    async with broker.running(), subscriber() as sub:
        await broker.publish(6)
        await broker.dispatcher.program(to(sub))
        await sub.until(3)
        assert sorted(sub.ids) == ["4", "5", "6"]


async def test_after_a_restart_retries_go_on_where_they_were(broker: Broker) -> None:
    policy = Policy(retries=2, backoff="exponential", delay=10.0)
    async with broker.running(), subscriber(answers(then=500)) as sub:
        await broker.dispatcher.program(to(sub, policy=policy))
        await broker.publish(1, 2)
        await until(lambda: broker.pauses() == [10.0, 10.0])
    async with broker.running(), subscriber(answers(then=500)) as sub, subscriber() as sink:
        await broker.dispatcher.program(to(sub, policy=policy, dead_letter_sink=sink.url))
        await until(lambda: broker.pauses() == [10.0, 10.0])
        assert sub.ids == []
        await broker.clock.advance(10.0)
        await until(lambda: broker.pauses() == [20.0, 20.0])
        await broker.clock.advance(20.0)
        await sink.until(2)
        assert sorted(sub.ids) == ["1", "1", "2", "2"], "the first attempts were before the restart"
        assert sorted(sink.ids) == ["1", "2"]


async def test_a_crash_between_writing_down_and_saving_the_cursor_repeats_nothing_twice(broker: Broker) -> None:
    """The failure is on disk, the cursor that passes it is not."""
    policy = Policy(retries=1, backoff="exponential", delay=5.0)
    async with broker.running(), subscriber(answers(500)) as sub:
        await broker.dispatcher.program(to(sub, policy=policy))
        before = (await broker.log.recall("t")).cursor
        await broker.publish(1)
        await until(lambda: broker.pauses() == [5.0])
        failures = (await broker.log.recall("t")).failures
    assert len(failures) == 1
    async with broker.running(), subscriber() as sub:
        await broker.log.save(SaveCursor("t", before or b""), SaveFailure(failures[0]))
        await broker.dispatcher.program(to(sub, policy=policy))
        await broker.pause_of(5.0)
        await sub.until(1)
        await broker.settled()
        assert sub.ids == ["1"]


async def test_a_suspended_trigger_keeps_what_it_wants(broker: Broker) -> None:
    async with broker.running(), subscriber() as sub:
        await broker.dispatcher.program(to(sub))
        broker.dispatcher.suspend("t")
        await broker.publish(1, 2)
        await broker.clock.advance(1.0)
        assert sub.received == []
        await broker.dispatcher.program(to(sub))
        await sub.until(2)
        assert sorted(sub.ids) == ["1", "2"]


async def test_a_removed_trigger_is_forgotten(broker: Broker) -> None:
    async with broker.running(), subscriber() as sub:
        await broker.dispatcher.program(to(sub))
        await broker.dispatcher.remove("t")
        await broker.publish(1)
        await broker.clock.advance(1.0)
        assert sub.received == []
        assert await broker.log.triggers() == []


async def test_a_trigger_deleted_while_nobody_watched_is_forgotten(broker: Broker) -> None:
    async with broker.running(), subscriber() as sub:
        await broker.dispatcher.program(to(sub, "gone"))
        await broker.dispatcher.program(to(sub, "stays"))
    async with broker.running():
        await broker.dispatcher.keep_only(["stays"])
        assert await broker.log.triggers() == ["stays"]


async def test_a_changed_filter_counts_from_the_next_event(broker: Broker) -> None:
    async with broker.running(), subscriber() as sub:
        await broker.dispatcher.program(to(sub, wants=({"type": "a"}, ())))
        await broker.publish(1, type="b")
        await broker.dispatcher.program(to(sub, wants=({"type": "b"}, ())))
        await broker.publish(2, type="b")
        await sub.until(1)
        assert sub.ids == ["2"]


def holding(release: asyncio.Event, id: str) -> Callable[[Received], Awaitable[Response]]:
    async def answer(received: Received) -> Response:
        if received.id == id:
            await release.wait()
        return Response(200)

    return answer


async def test_draining_lets_deliveries_under_way_end_and_remembers_them(broker: Broker) -> None:
    broker.settings = replace(broker.settings, drain=5.0)
    release = asyncio.Event()
    async with subscriber(holding(release, "1")) as sub:
        async with broker.running():
            await broker.dispatcher.program(to(sub))
            await broker.publish(1)
            await sub.until(1)
            asyncio.get_running_loop().call_later(0.05, release.set)
        async with broker.running():
            await broker.dispatcher.program(to(sub))
            await broker.publish(2)
            await sub.until(2)
            assert sub.ids == ["1", "2"]


async def test_a_delivery_cut_off_by_the_drain_is_repeated(broker: Broker) -> None:
    release = asyncio.Event()
    async with subscriber(holding(release, "1")) as sub:
        async with broker.running():
            await broker.dispatcher.program(to(sub))
            await broker.publish(1, 2)
            await sub.until(2)
        release.set()
        async with broker.running():
            await broker.dispatcher.program(to(sub))
            await sub.until(3)
            assert sorted(sub.ids) == ["1", "1", "2"]


async def test_one_slow_delivery_does_not_widen_the_cursor_for_ever(broker: Broker) -> None:
    broker.settings = replace(broker.settings, lane=LaneSettings(widest=10))
    release = asyncio.Event()
    async with broker.running(), subscriber(holding(release, "0")) as sub:
        await broker.dispatcher.program(to(sub))
        await broker.publish(0)
        await broker.publish(*range(1, 60))
        lane = broker.dispatcher._lanes["t"]
        await until(lambda: lane.cursor.width == 0 and len(sub.received) == 60)
        assert (lane.low, lane.cursor.low) == (0, 60), "the log still keeps the slow one"
        release.set()
        await broker.settled()
        assert lane.low == 60
        assert (await broker.log.recall("t")).failures == ()


async def test_the_log_keeps_what_any_trigger_still_needs(broker: Broker) -> None:
    broker.settings = replace(broker.settings, retention=Retention(seconds=0, size=0))
    async with broker.running(), subscriber() as sub:
        await broker.dispatcher.program(to(sub, "fast"))
        await broker.dispatcher.program(to(sub, "stuck"))
        broker.dispatcher.suspend("stuck")
        for number in range(4):
            await broker.publish(number)
        await sub.until(4)
        assert await broker.dispatcher.trim() == 0
        await broker.dispatcher.remove("stuck")
        await broker.settled()
        assert [entry.seq for entry in await broker.log.read(0)] == [4]


async def test_an_event_of_another_broker_is_not_ours(broker: Broker) -> None:
    async with broker.running(), subscriber() as sub:
        await broker.dispatcher.program(to(sub))
        event: Event = an_event(1).arriving(0.0)
        await broker.log.append("other/default", event, 0.0)
        await broker.publish(2)
        await sub.until(1)
        assert sub.ids == ["2"]
