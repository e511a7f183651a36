"""One delivery, seen purely: what is sent to whom, and what the answer means.

Law: an answer is either acceptance, perhaps with a reply event, or a refusal that says by whom, with what, and whether
trying again may help. Sources: Knative's data-plane specification; extensions of dead letters as in its broker. No IO.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from funcs.errors import BadRequest

from . import event
from .event import Event
from .filters import Filter, everything
from .log import Entry
from .retry import Policy, is_retried

ERROR_DATA = 768  # bytes of an answer that a dead letter carries: 1024 once they are base64


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A trigger as the data plane has it. `broker` is `namespace/name`; `subscriber` None while it is not resolved."""

    uid: str
    namespace: str
    name: str
    broker: str
    subscriber: str | None
    dead_letter_sink: str | None = None
    policy: Policy = field(default_factory=Policy)
    wants: tuple[Mapping[str, str] | None, Sequence[Mapping[str, Any]]] = (None, ())
    filter: Filter = field(default_factory=lambda: Filter(everything), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names are lower case."""

    status: int
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""

    def header(self, wanted: bytes) -> str | None:
        return next((value.decode("latin-1") for name, value in self.headers if name == wanted), None)


class Send(Protocol):
    """POST an event. Raises `funcs.errors.Unavailable` (or Timeout) when no answer comes."""

    async def __call__(self, url: str, head: bytes, body: bytes, timeout: float) -> Answer: ...


class Refusal(msgspec.Struct, frozen=True):
    """Why a delivery failed. `code` 0 means that no answer came; `data` is the answer's body, or what went wrong."""

    destination: str
    code: int
    data: bytes = b""
    retried: bool = True
    retry_after: str | None = None

    def encode(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> Refusal:
        """Raises msgspec.DecodeError."""
        return msgspec.json.decode(text, type=cls)

    def lines(self) -> bytes:
        """The header lines that a dead letter carries beside its own (Knative: knativeerrordest, -code, -data)."""
        problem = Event(
            {
                "knativeerrordest": self.destination,
                "knativeerrorcode": str(self.code or 500),
                "knativeerrordata": base64.b64encode(self.data[:ERROR_DATA]).decode(),
            }
        )
        return problem.head()


def no_answer(destination: str, why: str) -> Refusal:
    return Refusal(destination, 0, f"dispatch error: {why}".encode()[:ERROR_DATA])


def message(entry: Entry, namespace: str, policy: Policy, extra: bytes = b"") -> tuple[bytes, bytes]:
    """Header lines and body of the request that carries an event: binary unless the policy says JSON."""
    about = _about(namespace)
    if not policy.structured:
        return about + entry.head + extra, entry.data
    lines = [line for line in entry.head.split(b"\r\n") if line and not line.startswith((b"ce-", b"content-type:"))]
    head = b"".join(line + b"\r\n" for line in [*lines, b"content-type: application/cloudevents+json"])
    return about + head, event.structured(entry.head + extra, entry.data)


@lru_cache(maxsize=256)
def _about(namespace: str) -> bytes:
    """The lines that go with every delivery to a subscriber (Knative data plane, "Event reply contract")."""
    return b"prefer: reply\r\nkn-namespace: %b\r\n" % namespace.encode()


def judge(answer: Answer, destination: str) -> Event | Refusal | None:
    """A reply event, a refusal, or None: accepted without a reply."""
    if not 200 <= answer.status < 300:
        retried = is_retried(answer.status)
        why = answer.body[:ERROR_DATA]
        return Refusal(destination, answer.status, why, retried, answer.header(b"retry-after"))
    if answer.status == 202 or not (answer.body or event.is_event(answer.headers)):
        return None
    if not event.is_event(answer.headers):
        return Refusal(destination, 502, b"the reply is not a CloudEvent: " + answer.body[: ERROR_DATA // 2])
    try:
        return event.parse(answer.headers, answer.body)
    except BadRequest as error:
        return Refusal(destination, 502, f"the reply is not a CloudEvent: {error}".encode()[:ERROR_DATA])
