"""Header hygiene: what may go on the wire, what must not be forwarded, and the bytes of a message's head.

Law: nothing leaves through here that could end a line early. Names given to `block` are lower-case tokens, values hold
no CR, LF or NUL; framing headers (`FRAMING`) belong to the connection that writes them, never to a handler. No IO.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from http import HTTPStatus

from funcs.errors import Invalid

Pairs = Sequence[tuple[bytes, bytes]]

FRAMING = frozenset({b"connection", b"content-length", b"keep-alive", b"transfer-encoding", b"upgrade"})
# RFC 9110, 7.6.1, with `proxy-connection`, which old clients still send.
HOP_BY_HOP = FRAMING - {b"content-length"} | {b"proxy-connection", b"te", b"trailer"}
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"})
BODILESS = frozenset({204, 304})

STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch
_BREAKS = re.compile(rb"[\r\n\0]").search
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Block(bytes):
    """Header lines already checked and serialised by `block`: reusable, and taken as they are."""


class Dated(Block):
    """Header lines with a date among them."""


def block(pairs: Pairs | Block) -> Block:
    """The header lines of `pairs`; raises Invalid for a name that is no token or a value that would break the line."""
    if isinstance(pairs, Block):
        return pairs
    for name, value in pairs:
        if not _TOKEN(name):
            raise Invalid(f"{name!r} is not a lower-case header name", reason="InvalidHeader")
        if _BREAKS(value):
            raise Invalid(f"the value of header {name!r} contains a line break or NUL", reason="InvalidHeader")
        if name in FRAMING:
            raise Invalid(f"header {name!r} is the connection's own to set", reason="InvalidHeader")
    lines = b"".join([b"%b: %b\r\n" % pair for pair in pairs])
    return Dated(lines) if any(name == b"date" for name, _ in pairs) else Block(lines)


def end_to_end(pairs: Pairs) -> list[tuple[bytes, bytes]]:
    """What a proxy passes on: without hop-by-hop headers, those that `connection` names, and `content-length`."""
    dropped: frozenset[bytes] | set[bytes] = HOP_BY_HOP
    named = [value for name, value in pairs if name == b"connection"]
    if named:
        dropped = HOP_BY_HOP | {token.strip().lower() for value in named for token in value.split(b",")}
    return [pair for pair in pairs if pair[0] not in dropped and pair[0] != b"content-length"]


def find(pairs: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    """The first value of the header `wanted` (lower case)."""
    for name, value in pairs:
        if name == wanted:
            return value
    return None


def has_token(pairs: Pairs, wanted: bytes, token: bytes) -> bool:
    """Whether a comma-separated header holds `token`, as in `connection: keep-alive, upgrade`."""
    return any(token == item.strip().lower() for name, value in pairs if name == wanted for item in value.split(b","))


def status_line(status: int) -> bytes:
    line = STATUS_LINES.get(status)
    if line is None:
        if not 100 <= status <= 999:
            raise Invalid(f"{status} is not an HTTP status", reason="InvalidStatus")
        line = b"HTTP/1.1 %d \r\n" % status
    return line


def request_line(method: bytes, target: bytes) -> bytes:
    """Raises Invalid when method or target would break out of the line."""
    if not _TOKEN(method.lower()) or not target or re.search(rb"[\x00-\x20\x7f]", target):
        raise Invalid(f"{method!r} {target!r} is not a request line", reason="InvalidRequestLine")
    return b"%b %b HTTP/1.1\r\n" % (method, target)


def date_line(now: float) -> bytes:
    """`date: Sun, 06 Nov 1994 08:49:37 GMT` and its line end, for Unix seconds (RFC 9110, 5.6.7)."""
    at = time.gmtime(now)
    day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
    clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    return f"date: {day}, {at.tm_mday:02} {month} {at.tm_year:04} {clock} GMT\r\n".encode()


def chunk(data: bytes) -> bytes:
    """`data`, not empty, as one chunk of the chunked coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
