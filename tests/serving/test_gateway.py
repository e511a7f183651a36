"""The gateway's HTTP, over raw sockets."""

from __future__ import annotations

import asyncio

import pytest

from funcs.api.meta import Key
from runtimes.serving.gateway.backend import Limits
from runtimes.serving.gateway.settings import GatewaySettings

from .gateway_rig import HOST, REVISION, answering, echoing, read_request, request, rig


async def test_a_request_reaches_its_pod_and_the_answer_comes_back() -> None:
    async with rig() as it:
        await it.pod(answering(b"hi"))
        assert await it.get() == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi"


@pytest.mark.parametrize(
    "host",
    ["hello.default.localhost", "HELLO.default.localhost:8080", "hello.default.svc.cluster.local",
     "hello.default.svc", "hello.default", "hello.default.localhost."],
)  # fmt: skip
async def test_every_spelling_of_the_host_is_served(host: str) -> None:
    async with rig() as it:
        await it.pod(answering())
        assert (await it.get(host)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("host", ["other.default.localhost", "localhost", "hello.default.example.com", "127.0.0.1:80"])
async def test_an_unknown_host_is_refused_by_name(host: str) -> None:
    async with rig() as it:
        answer = await it.get(host)
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert f'no route for host "{host}"'.encode() in answer


async def test_a_host_cannot_write_into_the_page() -> None:
    async with rig() as it:
        answer = await it.get('x"><script>')
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"<script>" not in answer


async def test_the_pod_is_told_who_asked_and_hop_by_hop_headers_end_here() -> None:
    seen: list[bytes] = []
    async with rig() as it:
        await it.pod(echoing(seen))
        extra = "Connection: close, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nX-Mine: a\r\n"
        await it.ask(request(extra=extra))
    head = seen[0].lower()
    assert b"\r\nhost: hello.default.localhost\r\n" in head
    assert b"\r\nx-forwarded-for: 127.0.0.1\r\n" in head
    assert b"\r\nforwarded: for=127.0.0.1;host=hello.default.localhost;proto=http\r\n" in head
    assert b"\r\nx-request-id: 0123456789abcdef-" in head
    assert b"\r\nx-mine: a\r\n" in head
    for gone in (b"x-secret", b"keep-alive", b"\r\nte:", b"connection"):
        assert gone not in head


async def test_what_an_earlier_proxy_said_is_kept_and_appended() -> None:
    seen: list[bytes] = []
    async with rig() as it:
        await it.pod(echoing(seen))
        extra = "Connection: close\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: https\r\nX-Request-Id: r1\r\n"
        await it.ask(request(extra=extra))
    head = seen[0]
    assert b"\r\nx-forwarded-for: 10.0.0.9, 127.0.0.1\r\n" in head
    assert b"\r\nx-forwarded-proto: https\r\n" in head
    assert b"\r\nx-request-id: r1\r\n" in head
    assert b"for=10.0.0.9;host=hello.default.localhost;proto=https, for=127.0.0.1" in head


async def test_connection_headers_of_the_pod_do_not_reach_the_client() -> None:
    async with rig() as it:
        await it.pod(answering(b"x", b"Connection: keep-alive, X-Own\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\n"))
        answer = (await it.get()).lower()
        assert answer.count(b"connection:") == 1
        assert b"x-own" not in answer
        assert b"keep-alive" not in answer


async def test_pipelined_requests_are_answered_in_order() -> None:
    seen: list[bytes] = []
    async with rig() as it:
        await it.pod(echoing(seen))
        data = b"".join(request("POST", body=b"%d" % number) for number in range(50))
        answer = await it.ask(data + request("POST", body=b"end", extra="Connection: close\r\n"))
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b"%d" % number for number in range(50)] + [b"end"]


async def test_a_body_passes_both_ways_however_it_is_cut() -> None:
    seen: list[bytes] = []
    body = bytes(range(256)) * 4096
    async with rig(GatewaySettings(unsent=16 * 1024)) as it:
        await it.pod(echoing(seen))
        answer = await it.ask(request("POST", body=body, extra="Connection: close\r\n"))
        assert answer.endswith(body)
        chunks = b"".join(
            b"%x\r\n%b\r\n" % (len(body[at : at + 5000]), body[at : at + 5000]) for at in range(0, len(body), 5000)
        )
        head = request("POST", extra="Connection: close\r\nTransfer-Encoding: chunked\r\n")
        assert (await it.ask(head + chunks + b"0\r\n\r\n")).endswith(body)


@pytest.mark.parametrize(
    "raw",
    [
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        b"GET / HTTP/1.1\nHost: h\n\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nHost: g\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_ambiguous_framing_is_refused_and_ends_the_connection(raw: bytes) -> None:
    seen: list[bytes] = []
    async with rig() as it:
        await it.pod(echoing(seen))
        raw = raw.replace(b": h\r\n", b": hello.default.localhost\r\n")
        answer = await it.ask(
            raw + b"GET /smuggled HTTP/1.1\r\nHost: hello.default.localhost\r\nConnection: close\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert not any(b"POST" in head for head in seen)


async def test_a_head_beyond_its_limit_is_refused() -> None:
    async with rig(GatewaySettings(head=4096)) as it:
        await it.pod(answering())
        assert b"431" in (await it.ask(request(extra=f"X: {'a' * 8000}\r\nConnection: close\r\n")))[:40]
        reader, writer = await it.connect()
        for _ in range(10):
            writer.write(b"GET / HTTP/1.1\r\nX: " + b"a" * 1000 if _ == 0 else b"a" * 1000)
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert b"431" in (await reader.read())[:40]
        writer.close()


async def test_a_body_beyond_its_limit_is_refused() -> None:
    async with rig(GatewaySettings(body=100)) as it:
        await it.pod(echoing([]))
        assert b" 413 " in (await it.ask(request("POST", body=b"a" * 101)))[:40]
        head = request("POST", extra="Transfer-Encoding: chunked\r\n")
        assert b" 413 " in (await it.ask(head + b"65\r\n" + b"a" * 101 + b"\r\n0\r\n\r\n"))[:40]


async def test_head_has_no_body_and_the_connection_goes_on() -> None:
    async with rig() as it:
        await it.pod(answering(b"12345"))
        answer = await it.ask(request("HEAD") + request(extra="Connection: close\r\n"))
        first, second = answer.split(b"HTTP/1.1 200 OK\r\n")[1:]
        assert first == b"content-length: 5\r\n\r\n"
        assert second.endswith(b"\r\n\r\n12345")


async def test_100_continue_comes_from_the_pod() -> None:
    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(3)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n" + body)

    async with rig() as it:
        await it.pod(pod)
        reader, writer = await it.connect()
        writer.write(f"POST / HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n".encode())
        async with asyncio.timeout(5):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"abc")
            assert (await reader.readuntil(b"abc")).startswith(b"HTTP/1.1 200 OK")
        writer.close()


async def test_websockets_pass_through() -> None:
    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"upgrade: websocket" in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := await reader.read(100):
            writer.write(data.upper())

    async with rig() as it:
        await it.pod(pod)
        reader, writer = await it.connect()
        writer.write(request(extra="Connection: Upgrade\r\nUpgrade: websocket\r\n"))
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"Upgrade: websocket" in head
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"PING"
        backend = it.gateway.backends[REVISION]
        assert backend.in_flight == 1
        writer.close()
        await until(lambda: backend.in_flight == 0)


async def test_an_offer_of_http2_is_passed_over() -> None:
    seen: list[bytes] = []
    async with rig() as it:
        await it.pod(echoing(seen))
        offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        plain = await it.ask(request(extra=offer) + request(extra="Connection: close\r\n", path="/2"))
        assert plain.count(b"HTTP/1.1 200 OK") == 2
        answer = await it.ask(request("POST", body=b"abc", extra=offer))
        assert answer.endswith(b"connection: close\r\n\r\nabc")
    assert not any(b"h2c" in head or b"http2-settings" in head.lower() for head in seen)


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        await writer.drain()

    async with rig() as it:
        await it.pod(pod)
        assert (await it.ask(request())).endswith(b"\r\n\r\nuntil the end")


async def test_a_pod_that_dies_in_its_answer_cuts_the_client_off() -> None:
    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        await writer.drain()

    async with rig() as it:
        await it.pod(pod)
        assert (await it.ask(request())).endswith(b"\r\n\r\nhalf")


async def test_a_pod_that_closes_before_it_answers_is_a_502() -> None:
    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)

    async with rig() as it:
        await it.pod(pod)
        assert (await it.ask(request(extra="Connection: close\r\n"))).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\naHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb",
    ],
    ids=["malformed", "two answers to one request"],
)
async def test_a_pod_that_breaks_http_is_a_502(answer: bytes) -> None:
    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await writer.drain()
        await reader.read()

    async with rig() as it:
        await it.pod(pod)
        assert (await it.ask(request(extra="Connection: close\r\n"))).startswith(b"HTTP/1.1 502 ")


async def test_a_connection_the_pod_had_closed_meanwhile_is_not_the_clients_trouble() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await read_request(reader)  # and closes without a word

    async with rig() as it:
        await it.pod(once)
        answer = await it.ask(request() + request() + request(extra="Connection: close\r\n"))
        assert answer.count(b"HTTP/1.1 200 OK") == 3


async def test_a_dead_pod_is_passed_over_for_a_living_one() -> None:
    async with rig() as it:
        it.ready(("127.0.0.1", 1))
        await it.pod(answering())
        answers = await asyncio.gather(*(it.get() for _ in range(20)))
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)


async def test_the_time_a_revision_allows_is_kept() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with rig() as it:
        it.world.rules[REVISION] = Limits(timeout=0.2)
        await it.pod(silent)
        answer = await it.ask(request(extra="Connection: close\r\n"))
        assert answer.startswith(b"HTTP/1.1 504 ")
        assert answer.endswith(b"request timeout\n")


async def test_a_slow_client_holds_the_pod_back() -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        while sent < 100_000_000:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    async with rig() as it:
        await it.pod(endless)
        _, writer = await it.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(request())
        before = -1
        while before != sent or sent == 0:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 50_000_000
        writer.transport.abort()
        await until(lambda: it.gateway.backends[REVISION].in_flight == 0)


async def test_traffic_is_split_as_asked() -> None:
    async with rig() as it:
        it.route("hello", ("hello-00001", 80), ("hello-00002", 20), tags=(("next", "hello-00002"),))
        await it.pod(answering(b"one"))
        await it.pod(answering(b"two"), Key("default", "hello-00002"))
        answer = await it.ask(request() * 200 + request(extra="Connection: close\r\n"))
        assert 20 <= answer.count(b"\r\n\r\ntwo") <= 65
        assert (await it.get("next-hello.default.localhost")).endswith(b"two")


async def test_probes_are_answered_by_the_gateway() -> None:
    async with rig() as it:
        extra = "Connection: close\r\nK-Network-Probe: "
        assert (await it.ask(request(extra=extra + "queue\r\n"))).startswith(b"HTTP/1.1 503 ")
        await it.pod(answering())
        assert (await it.ask(request(extra=extra + "queue\r\n"))).endswith(b"\r\n\r\nqueue")
        assert (await it.ask(request(extra=extra + "activator\r\n"))).endswith(b"\r\n\r\nactivator")
        assert (await it.ask(request(extra=extra + "what\r\n"))).startswith(b"HTTP/1.1 400 ")


async def test_metrics_tell_what_happened() -> None:
    async with rig() as it:
        await it.pod(answering())
        await it.get()
        await it.get("nobody.default.localhost")
        text = it.gateway.metrics()
        assert 'funcs_gateway_requests_total{namespace="default",revision="hello-00001",code="200"} 1' in text
        assert 'funcs_gateway_refused_total{code="404"} 1' in text


async def test_draining_finishes_what_is_under_way() -> None:
    go = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await go.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()

    async with rig() as it:
        await it.pod(slow)
        asking = asyncio.create_task(it.ask(request()))
        await until(lambda: bool(it.gateway.backends) and it.gateway.backends[REVISION].in_flight == 1)
        it.gateway.drain()
        go.set()
        answer = await asking
        assert b"connection: close" in answer
        assert answer.endswith(b"ok")
        async with asyncio.timeout(5):
            await it.gateway.quiet.wait()


async def until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)
