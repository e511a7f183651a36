"""The head of a request as it goes to a pod, and of a response as it goes to a client.

Law: hop-by-hop headers (RFC 9110, 7.6.1) end here in both directions; framing is written anew for requests and kept for
responses; who asked is told by X-Forwarded-*, Forwarded and X-Request-Id, as Knative's runtime contract wants. No IO.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Headers that the gateway looks at or replaces. Everything else passes as it is.
CONNECTION = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"})
FRAMING = frozenset({b"transfer-encoding", b"content-length"})
FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"forwarded", b"x-request-id"})
# Knative's own, which a client must not be able to set for a function.
INTERNAL = frozenset({
    b"knative-serving-revision", b"knative-serving-namespace", b"k-proxy-request", b"k-original-host",
    b"proxy-authorization",
})  # fmt: skip
PROBE = b"k-network-probe"
SPECIAL = CONNECTION | FRAMING | FORWARDED | INTERNAL | {PROBE, b"host"}

_HOP = re.compile(rb"\r\n(?:connection|keep-alive|proxy-connection|te|trailer|upgrade):[^\r\n]*", re.IGNORECASE)
_CONNECTION = re.compile(rb"\r\nconnection:([^\r\n]*)", re.IGNORECASE)
_USUAL = b"\r\nConnection: keep-alive\r\n"
_PLAIN_TOKENS = frozenset({b"close", b"keep-alive", b"upgrade", b""})


def forwarded(peer: str, host: bytes) -> bytes:
    """The lines that tell a pod who asked, when the client brought none of its own."""
    shown = f'"[{peer}]"' if ":" in peer else peer
    text = host.decode("latin-1")
    return (
        f"x-forwarded-for: {peer}\r\nx-forwarded-host: {text}\r\nx-forwarded-proto: http\r\n"
        f"forwarded: for={shown};host={_quoted(text)};proto=http\r\n"
    ).encode("latin-1")


def forwarded_with(peer: str, host: bytes, brought: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The same, appended to what an earlier proxy said: the chain grows, its words stay."""
    said: dict[bytes, bytes] = {}
    for name, value in brought:
        said[name] = said[name] + b", " + value if name in said else value
    said.pop(b"x-request-id", None)
    chain = said.pop(b"x-forwarded-for", b"")
    said[b"x-forwarded-for"] = chain + b", " + peer.encode() if chain else peer.encode()
    said.setdefault(b"x-forwarded-host", host)
    said.setdefault(b"x-forwarded-proto", b"http")
    if b"forwarded" not in said:
        said[b"forwarded"] = _from_chain(said)
    return b"".join([b"%b: %b\r\n" % pair for pair in said.items()])


def named_by_connection(values: Iterable[bytes]) -> frozenset[bytes]:
    """The further headers that `connection` makes hop-by-hop."""
    tokens = {token.strip().lower() for value in values for token in value.split(b",")}
    return frozenset(tokens - _PLAIN_TOKENS)


def without(lines: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """`lines` is name, ": ", value, line end, and so on."""
    kept: list[bytes] = []
    for index in range(0, len(lines), 4):
        if lines[index] not in names:
            kept += lines[index : index + 4]
    return kept


def end_to_end(head: bytes) -> bytes:
    """A response's head (with its empty line) without the hop-by-hop headers; framing stays."""
    head = head.replace(_USUAL, b"\r\n", 1)
    if head.startswith(b"HTTP/1.0"):
        head = b"HTTP/1.1" + head[8:]
    if _HOP.search(head) is None:
        return head
    named = named_by_connection(_CONNECTION.findall(head))
    head = _HOP.sub(b"", head)
    for name in named - FRAMING:
        head = re.sub(rb"(?i)\r\n" + re.escape(name) + rb":[^\r\n]*", b"", head)
    return head


def with_line(head: bytes, line: bytes) -> bytes:
    """`head` (with its empty line) with one more header line."""
    return head[:-2] + line + b"\r\n"


def _from_chain(said: dict[bytes, bytes]) -> bytes:
    """RFC 7239 from the X-Forwarded-* triple."""
    proto, host = said[b"x-forwarded-proto"].decode("latin-1"), said[b"x-forwarded-host"].decode("latin-1")
    elements = []
    for address in said[b"x-forwarded-for"].decode("latin-1").split(","):
        address = address.strip()
        shown = f'"[{address.strip("[]")}]"' if ":" in address else _quoted(address)
        elements.append(f"for={shown};host={_quoted(host)};proto={_quoted(proto)}")
    return ", ".join(elements).encode("latin-1")


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _quoted(text: str) -> str:
    if _TOKEN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
