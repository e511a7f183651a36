"""A gateway on a real socket before pods on real sockets: what the gateway's tests share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from funcs.api.meta import Key, Object
from funcs.control.clock import SystemClock
from runtimes.serving.gateway.backend import Address, Limits
from runtimes.serving.gateway.gateway import Gateway
from runtimes.serving.gateway.settings import GatewaySettings

HOST = "hello.default.localhost"
REVISION = Key("default", "hello-00001")
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class FakeWorld:
    """Addresses and limits by revision, set by the test."""

    def __init__(self) -> None:
        self.pods: dict[Key, list[Address]] = {}
        self.rules: dict[Key, Limits] = {}

    def limits(self, key: Key) -> Limits:
        return self.rules.get(key, Limits())

    def addresses(self, key: Key) -> Iterable[Address]:
        return self.pods.get(key, ())


class Rig:
    def __init__(self, settings: GatewaySettings) -> None:
        self.world = FakeWorld()
        self.pokes: list[Key] = []
        self.gateway = Gateway(
            settings, self.world, self.pokes.append, SystemClock(), random.Random(7).random, unique="0123456789abcdef"
        )
        self.port = 0
        self._servers: list[asyncio.Server] = []
        self.route("hello", ("hello-00001", 100))

    def route(self, name: str, *shares: tuple[str, int], tags: tuple[tuple[str, str], ...] = ()) -> None:
        traffic: list[Object] = [{"revisionName": revision, "percent": percent} for revision, percent in shares]
        traffic += [{"revisionName": revision, "tag": tag} for tag, revision in tags]
        route = {"metadata": {"name": name, "namespace": "default"}, "status": {"traffic": traffic}}
        self.gateway.table.set(Key("default", name), route)

    async def pod(self, script: Script, revision: Key = REVISION, *, ready: bool = True) -> Address:
        """A pod that runs `script` for each connection."""

        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await script(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                return
            finally:
                writer.close()

        server = await asyncio.start_server(run, "127.0.0.1", 0)
        self._servers.append(server)
        address = ("127.0.0.1", int(server.sockets[0].getsockname()[1]))
        if ready:
            self.ready(address, revision)
        return address

    def ready(self, address: Address, revision: Key = REVISION) -> None:
        self.world.pods.setdefault(revision, []).append(address)
        self.gateway.changed(revision)

    def gone(self, revision: Key = REVISION) -> None:
        self.world.pods[revision] = []
        self.gateway.changed(revision)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, data: bytes) -> bytes:
        """Send, and everything that comes until the gateway closes."""
        reader, writer = await self.connect()
        writer.write(data)
        try:
            async with asyncio.timeout(5):
                return await reader.read()
        finally:
            writer.close()

    async def get(self, host: str = HOST, path: str = "/") -> bytes:
        return await self.ask(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())

    async def close(self) -> None:
        await self.gateway.close()
        for server in self._servers:
            server.close()


@asynccontextmanager
async def rig(settings: GatewaySettings | None = None) -> AsyncIterator[Rig]:
    made = Rig(settings or GatewaySettings())
    server = await asyncio.get_running_loop().create_server(made.gateway.accept, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()


def request(method: str = "GET", path: str = "/", body: bytes = b"", host: str = HOST, extra: str = "") -> bytes:
    length = f"content-length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{extra}{length}\r\n".encode() + body


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """(head, body) of one request, whatever its framing."""
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        body = b""
        while size := int((await reader.readline()).strip(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return head, body
    for line in lower.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head, await reader.readexactly(int(line.split(b":")[1]))
    return head, b""


def answering(body: bytes = b"hello", extra: bytes = b"", status: bytes = b"200 OK") -> Script:
    """A pod that answers every request alike, keeping its connections."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _ = await read_request(reader)
            shown = b"" if head.startswith(b"HEAD") else body
            writer.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n%b\r\n%b" % (status, len(body), extra, shown))

    return script


def echoing(seen: list[bytes]) -> Script:
    """A pod that answers with the body it got and records the heads."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, body = await read_request(reader)
            seen.append(head)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    return script
