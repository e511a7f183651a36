"""The line from gateways to the autoscaler."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from funcs.control.informer import Informers
from funcs.control.memory import MemoryClient
from funcs.errors import BadRequest
from runtimes.serving.autoscaler import Autoscaler
from runtimes.serving.controllers import controllers
from runtimes.serving.listener import StatsListener
from runtimes.serving.settings import ServingSettings
from runtimes.serving.stats import Hello, Poke, Stat, decode, encode


@pytest.mark.parametrize("message", [Hello("g"), Stat("ns", "rev", 1.5, 3), Poke("ns", "rev")])
def test_messages_come_back_as_they_were(message: Hello | Stat | Poke) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert decode(line) == message


@pytest.mark.parametrize("line", [b"", b"{}", b'{"type":"stat"}', b'{"type":"other"}', b"\xff\n"])
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(BadRequest):
        decode(line)


async def test_a_peer_that_talks_nonsense_is_cut_off_and_others_stay(tmp_path: Path) -> None:
    client, cache = MemoryClient(), Informers()
    autoscaler = Autoscaler(client, cache, client.clock, ServingSettings())

    async def digest(image: str) -> str:
        return image

    for controller in controllers(client, cache, client.clock, ServingSettings(), digest, autoscaler):
        for watch in controller.watches:
            cache.mirror(watch.kind)
    path = str(tmp_path / "autoscaler.sock")
    async with StatsListener(path, autoscaler), asyncio.timeout(5):
        _, good = await asyncio.open_unix_connection(path)
        reader, bad = await asyncio.open_unix_connection(path)
        good.write(encode(Hello("good")) + encode(Poke("default", "nobody")))
        bad.write(b"nonsense\n")
        assert await reader.read() == b""
        assert autoscaler.gateways == 1
        good.close()
        bad.close()
