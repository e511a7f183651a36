"""Send one request or event to a function and read the whole answer.

Law: the name in the URL is what the function sees as Host; where to dial is an argument, because `*.localhost` does not
resolve everywhere. IO: one HTTP exchange.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import httpx

from funcs.errors import BadRequest, Timeout, Unavailable

Format = Literal["http", "ce", "ce-structured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """The context attributes of a CloudEvent to send."""

    id: str
    source: str = "/funcs/invoke"
    type: str = "funcs.invoke"
    subject: str = ""
    extensions: Mapping[str, str] = field(default_factory=dict)

    def items(self) -> dict[str, str]:
        own = {"specversion": "1.0", "id": self.id, "source": self.source, "type": self.type, "subject": self.subject}
        return {name: value for name, value in own.items() if value} | dict(self.extensions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What to send. `attributes` are used by the two event formats."""

    data: bytes = b""
    content_type: str = "application/json"
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    format: Format = "http"
    attributes: Attributes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def ok(self) -> bool:
        return self.status < 400


async def invoke(url: str, message: Message, *, dial: tuple[str, int] | None = None, timeout: float = 60.0) -> Answer:
    """Raises Unavailable when nothing answers, Timeout, BadRequest for a URL that is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadRequest(f"{url!r} is not an http URL")
    target = parts if dial is None else parts._replace(scheme="http", netloc=f"{dial[0]}:{dial[1]}")
    headers, body = render(message)
    try:
        async with httpx.AsyncClient(timeout=timeout, trust_env=dial is None, follow_redirects=False) as client:
            answer = await client.request(
                message.method, target.geturl(), headers=[("host", parts.netloc), *headers], content=body or None
            )
    except httpx.TimeoutException as error:
        raise Timeout(f"{url} did not answer within {timeout:g} s", hint="Give it longer with --timeout.") from error
    except httpx.HTTPError as error:
        where = target.netloc
        raise Unavailable(
            f"nothing answers at {where}: {error}", hint="Is the cluster up? See `funcs status`."
        ) from error
    return Answer(answer.status_code, list(answer.headers.multi_items()), answer.content)


def render(message: Message) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body on the wire (CloudEvents HTTP binding 1.0 for the event formats)."""
    if message.format == "http" or message.attributes is None:
        typed = [("content-type", message.content_type)] if message.data else []
        return [*typed, *message.headers], message.data
    attributes = message.attributes.items()
    if message.format == "ce":
        context = [(f"ce-{name}", _percent_encoded(value)) for name, value in attributes.items()]
        return [("content-type", message.content_type), *context, *message.headers], message.data
    event: dict[str, object] = {**attributes, "datacontenttype": message.content_type}
    if message.content_type.split(";")[0].strip().endswith("json"):
        try:
            event["data"] = json.loads(message.data or b"null")
        except ValueError as error:
            raise BadRequest(
                f"the data is not JSON ({error})", hint="Say what it is with --content-type, or mend it."
            ) from error
    else:
        event["data"] = message.data.decode("utf-8", "replace")
    return [("content-type", "application/cloudevents+json"), *message.headers], json.dumps(event).encode()


def _percent_encoded(value: str) -> str:
    """CloudEvents HTTP binding 3.1.3.2: space, double quote, percent, and all outside printable ASCII."""
    return "".join(
        sign if "\x21" <= sign <= "\x7e" and sign not in '"%' else "".join(f"%{byte:02X}" for byte in sign.encode())
        for sign in value
    )
