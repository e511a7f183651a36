"""Requests for a revision without pods: they wait, and nothing polls."""

from __future__ import annotations

import asyncio
from collections import Counter

from runtimes.serving.gateway.backend import Limits
from runtimes.serving.gateway.settings import GatewaySettings

from .gateway_rig import REVISION, answering, read_request, request, rig
from .test_gateway import until


async def test_a_hundred_requests_wait_for_the_first_pod_and_none_fails() -> None:
    async with rig() as it:
        asking = [asyncio.create_task(it.get()) for _ in range(100)]
        await until(lambda: bool(it.gateway.backends) and len(it.gateway.backends[REVISION].waiting) == 100)
        assert set(it.pokes) == {REVISION}
        await it.pod(answering())
        answers = await asyncio.gather(*asking)
        assert Counter(answer[:15] for answer in answers) == {b"HTTP/1.1 200 OK": 100}
        assert all(b"server-timing: cold-start;dur=" in answer for answer in answers)


async def test_a_large_body_waits_without_filling_memory() -> None:
    async with rig(GatewaySettings(unsent=64 * 1024)) as it:
        body = b"x" * 3_000_000
        asking = asyncio.create_task(it.ask(request("POST", body=body, extra="Connection: close\r\n")))
        await until(lambda: bool(it.gateway.backends) and len(it.gateway.backends[REVISION].waiting) == 1)
        for _ in range(20):
            await asyncio.sleep(0.005)
        waiter = next(iter(it.gateway.backends[REVISION].waiting))
        assert waiter.pending_size < 1_000_000  # type: ignore[attr-defined]

        async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            _, got = await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n%07d" % len(got))
            await writer.drain()

        await it.pod(counting)
        assert (await asking).endswith(b"3000000")


async def test_a_client_that_leaves_the_queue_is_forgotten() -> None:
    async with rig() as it:
        _, writer = await it.connect()
        writer.write(request())
        await until(lambda: bool(it.gateway.backends) and len(it.gateway.backends[REVISION].waiting) == 1)
        writer.close()
        backend = it.gateway.backends[REVISION]
        await until(lambda: len(backend.waiting) == 0)
        assert backend.in_flight == 0


async def test_a_pod_never_has_more_requests_than_it_allows() -> None:
    now, most = 0, 0

    async def careful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        while True:
            await read_request(reader)
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.002)
            now -= 1
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with rig() as it:
        it.world.rules[REVISION] = Limits(concurrency=3)
        await it.pod(careful)
        answers = await asyncio.gather(*(it.get() for _ in range(30)))
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
        assert most == 3


async def test_beyond_the_queue_is_503() -> None:
    async with rig() as it:
        it.world.rules[REVISION] = Limits(concurrency=1)
        waiting = [asyncio.create_task(it.get()) for _ in range(10)]
        await until(lambda: bool(it.gateway.backends) and len(it.gateway.backends[REVISION].waiting) == 10)
        answer = await it.get()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b"pending request queue full\n")
        await it.pod(answering())
        assert all(one.startswith(b"HTTP/1.1 200 ") for one in await asyncio.gather(*waiting))


async def test_waiting_longer_than_the_revision_allows_is_503() -> None:
    async with rig() as it:
        it.world.rules[REVISION] = Limits(timeout=0.2)
        answer = await it.get()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b"context deadline exceeded\n")


async def test_a_pod_that_went_away_makes_requests_wait_again() -> None:
    async with rig() as it:
        it.ready(("127.0.0.1", 1))  # a pod that is gone, though the endpoints do not say so yet
        asking = asyncio.create_task(it.get())
        await until(lambda: bool(it.gateway.backends) and len(it.gateway.backends[REVISION].waiting) == 1)
        it.gone()
        await it.pod(answering())
        assert (await asking).startswith(b"HTTP/1.1 200 ")
