"""A call and its answer, between the ASGI shell and the verbs.

Law: by the time a `Call` exists its user is known, allowed, and its body is in memory and bounded. No IO.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from starlette.responses import Response

from funcs.api.meta import Object
from funcs.control.client import WriteOptions
from funcs.errors import BadRequest

from . import media, requests
from .requests import RequestInfo
from .users import User

_LONGEST_WARNING = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, understood. `host` is the Host header as it was checked."""

    info: RequestInfo
    user: User
    query: Mapping[str, str] = field(default_factory=dict)
    accept: str = ""
    content_type: str = ""
    agent: str = ""
    host: str = "localhost"
    body: bytes = field(default=b"", repr=False)

    @property
    def pretty(self) -> bool:
        asked = self.query.get("pretty")
        if asked is None:
            return self.agent.startswith(("curl", "Wget", "Mozilla/5.0"))
        return requests.is_true(self.query, "pretty")

    def object(self) -> Object:
        """The body as a mapping. Raises BadRequest, UnsupportedMediaType."""
        if not self.body:
            raise BadRequest("the request has no body")
        return media.decode_object(self.body, self.content_type)

    def optional_object(self) -> Object:
        return self.object() if self.body.strip() else {}

    def write_options(self) -> WriteOptions:
        return requests.write_options(self.query, self.user.name, self.agent)


def answer(
    call: Call, value: object, *, code: int = 200, warnings: Sequence[str] = (), media_type: str | None = None
) -> Response:
    """A value as JSON, or as YAML for who prefers it."""
    accepted = media.JSON if media_type else media.negotiate(call.accept or media.JSON).type
    response = Response(media.encode(value, accepted, pretty=call.pretty), code, media_type=media_type or accepted)
    response.headers["cache-control"] = "no-cache, private"
    for warning in warnings:
        response.headers.append("warning", _warning(warning))
    return response


def _warning(text: str) -> str:
    """RFC 7234 section 5.5; what a header cannot carry is left out."""
    plain = "".join(letter if letter.isascii() and letter.isprintable() else " " for letter in text)
    escaped = plain[:_LONGEST_WARNING].replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'
