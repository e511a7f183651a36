"""What gateways tell the autoscaler: the wire format.

Law: JSON lines, each a `Hello`, a `Stat` or a `Poke`; a line that is not one ends the connection. Sent again by nobody:
a lost Stat is followed by the next within a second, a lost Poke by the Stat of the request that still waits. No IO.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from funcs.api.meta import Key
from funcs.errors import BadRequest

LONGEST_LINE = 4096
PERIOD = 1.0  # seconds between Stats


class Hello(msgspec.Struct, frozen=True, tag="hello", tag_field="type"):
    """The first line: which gateway this is."""

    gateway: str


class Stat(msgspec.Struct, frozen=True, tag="stat", tag_field="type"):
    """Of one revision during the last second: average concurrency, waiting ones too, and arrivals. Silence is none."""

    namespace: str
    revision: str
    concurrency: float
    requests: int

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.revision)


class Poke(msgspec.Struct, frozen=True, tag="poke", tag_field="type"):
    """A request has come for a revision without ready pods."""

    namespace: str
    revision: str

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.revision)


Message: TypeAlias = Hello | Stat | Poke

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    return _encoder.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """Raises BadRequest."""
    try:
        return _decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"not a message of a gateway: {error}") from error
