"""The short way for heads that repeat: nobody can tell it from the general one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from funcs.api.meta import Key
from runtimes.serving.gateway.backend import Limits

from .gateway_rig import REVISION, Rig, Script, answering, echoing, read_request, request, rig

REQUESTS = (
    request(),
    request(path="/b?c=d"),
    request("HEAD"),
    request("POST", "/p", b"12345"),
    request("POST", "/p", b"54321"),
    request("POST", "/long", b"x" * 5000),
    request("PUT", "/chunked", b"abc"),
    request("POST", "/p", extra="Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\n\r\n",
    request(extra="X-Forwarded-For: 10.0.0.1\r\n"),
    request(extra="Connection: X-Gone, keep-alive\r\nX-Gone: 1\r\nX-Kept: 2\r\n"),
    request("DELETE", "/nothing"),
    request("OPTIONS", "*"),
    b"\r\n" + request(),
)
ORDERS = st.lists(
    st.tuples(st.sampled_from(range(len(REQUESTS))), st.sampled_from((0, 1, 20))), min_size=1, max_size=24
)


def telling(seen: list[bytes]) -> Script:
    """A pod that answers with what it was asked, framed as the path says, and records it all."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, body = await read_request(reader)
            seen.append(re.sub(rb"x-request-id: [^\r]*\r\n", b"", head) + body)
            text = head.split(b"\r\n")[0][-40:] + body[:5]
            if b" /nothing " in head:
                writer.write(b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n")
            elif b" /chunked " in head:
                chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text)
                writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nConnection: keep-alive\r\n\r\n" + chunk)
            else:
                shown = b"" if head.startswith(b"HEAD") else text
                writer.write(b"HTTP/1.1 200 OK\r\nKeep-Alive: 5\r\ncontent-length: %d\r\n\r\n%b" % (len(text), shown))

    return script


async def exchanged(it: Rig, seen: list[bytes], order: Sequence[tuple[int, int]]) -> list[tuple[bytes, bytes]]:
    """(what the pod saw, what the client got) for each request, on one connection; `order`: which, and cut where."""
    reader, writer = await it.connect()
    found = []
    try:
        for which, cut in order:
            data = REQUESTS[which]
            writer.write(data[:cut])
            if cut:
                await asyncio.sleep(0)
            writer.write(data[cut:])
            async with asyncio.timeout(5):
                head, body = await answer(reader, bodiless=data.startswith(b"HEAD"))
            found.append((seen.pop(), head + body))
    finally:
        writer.close()
    return found


async def answer(reader: asyncio.StreamReader, *, bodiless: bool) -> tuple[bytes, bytes]:
    if not bodiless:
        return await read_request(reader)
    return await reader.readuntil(b"\r\n\r\n"), b""


async def told(order: Sequence[tuple[int, int]]) -> list[tuple[bytes, bytes]]:
    seen: list[bytes] = []
    async with rig() as it:
        await it.pod(telling(seen))
        return await exchanged(it, seen, order)


@settings(max_examples=25, deadline=None)
@given(ORDERS)
def test_a_request_fares_alike_whatever_came_before_it(order: list[tuple[int, int]]) -> None:
    async def compared() -> None:
        alone = {which: (await told([(which, 0)]))[0] for which, _ in order}
        assert await told(order) == [alone[which] for which, _ in order]

    asyncio.run(compared())


async def test_repeated_requests_are_counted_and_limited_like_any_other() -> None:
    async with rig() as it:
        it.world.rules[REVISION] = Limits(concurrency=1)
        await it.pod(answering())
        reader, writer = await it.connect()
        for _ in range(5):
            writer.write(request())
            await read_request(reader)
        writer.close()
        backend = it.gateway.backends[REVISION]
        assert backend.figures.codes == {200: 5}
        assert backend.arrived == 5
        assert backend.in_flight == 0
        assert [pod.in_flight for pod in backend.pods] == [0]


async def test_a_repeated_request_follows_its_route() -> None:
    old: list[bytes] = []
    new: list[bytes] = []
    later = Key("default", "hello-00002")
    async with rig() as it:
        await it.pod(echoing(old))
        await it.pod(echoing(new), later)
        reader, writer = await it.connect()
        for turn in range(6):
            if turn == 3:
                it.route("hello", ("hello-00002", 100))
            writer.write(request())
            await read_request(reader)
        writer.close()
    assert (len(old), len(new)) == (3, 3)


async def test_repeated_requests_that_come_at_once_are_all_answered() -> None:
    async with rig() as it:
        await it.pod(answering())
        reader, writer = await it.connect()
        for count in (1, 1, 1, 3, 1):
            writer.write(request() * count)
            for _ in range(count):
                assert (await read_request(reader))[1] == b"hello"
        writer.close()


async def test_every_repeated_request_has_an_id_of_its_own() -> None:
    seen: list[bytes] = []
    async with rig() as it:
        await it.pod(echoing(seen))
        reader, writer = await it.connect()
        for _ in range(4):
            writer.write(request())
            await read_request(reader)
        writer.close()
    ids = {re.search(rb"x-request-id: ([^\r]*)", head)[1] for head in seen}  # type: ignore[index]
    assert len(ids) == 4


async def test_an_answer_without_a_length_is_never_taken_for_a_repeated_one() -> None:
    whole, begun = b"3\r\nabc\r\n0\r\n\r\n", b"8\r\nabcdefgh\r\n"
    assert len(whole) == len(begun)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for body in (whole, whole, whole, begun, whole):
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body)
            if body is begun:
                await asyncio.sleep(0.05)
                writer.write(b"0\r\n\r\n")

    async with rig() as it:
        await it.pod(script)
        reader, writer = await it.connect()
        bodies = []
        for _ in range(5):
            writer.write(request())
            bodies.append((await read_request(reader))[1])
        writer.close()
    assert bodies == [b"abc", b"abc", b"abc", b"abcdefgh", b"abc"]


async def test_a_body_sent_to_head_does_not_pass_however_familiar_it_looks() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")

    async with rig() as it:
        await it.pod(script)
        reader, writer = await it.connect()
        for _ in range(3):
            writer.write(request())
            await read_request(reader)
        writer.write(request("HEAD"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(request(extra="Connection: close\r\n"))
        assert (await reader.read()).count(b"hello") == 1
        writer.close()
