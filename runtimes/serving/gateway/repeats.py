"""The short way: requests and answers whose heads repeat, byte for byte, what was understood just before.

Law: nothing is understood here. A head counts as what the parser made of the very same bytes last time, and only where
the whole message came at once, framed by its length; anything else goes the general way, untouched. Limits, timeouts,
admission and accounting are the general way's own. No IO.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .exchange import Exchange

if TYPE_CHECKING:
    from .client import ClientConnection
    from .upstream import Upstream

# The method and the target, where neither changes how the fields are read: no CONNECT, no other protocol's methods.
_REQUEST_LINE = re.compile(rb'(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[!"$-~]*) HTTP/1\.1')


class Request:
    """What follows a request's first line. `fields`: as it came; `wire`: as a pod gets it, all but the request's id."""

    __slots__ = ("fields", "host", "size", "wire")

    def __init__(self, fields: bytes, length: int, host: bytes, wire: bytes) -> None:
        self.fields = fields
        self.size = len(fields) + length
        self.host = host
        self.wire = wire


class Answer:
    """`head`: as it came; `passed`: as a client gets it; `size`: with the body."""

    __slots__ = ("head", "passed", "size", "status")

    def __init__(self, head: bytes, size: int, status: int, passed: bytes) -> None:
        self.head = head
        self.size = size
        self.status = status
        self.passed = passed

    @classmethod
    def learned(cls, head: bytes, size: int, status: int, passed: bytes) -> Answer | None:
        """What the parser made of a head and the body that came with it; None where no length frames it."""
        names = head.lower()
        framed = b"\r\ncontent-length:" in names and b"\r\ntransfer-encoding:" not in names
        return cls(head, size, status, passed) if framed else None


def fields_of(data: bytes) -> bytes:
    """What follows the first line of a request, to the end of its head; empty when the head is not all there."""
    start, end = data.find(b"\r\n") + 2, data.find(b"\r\n\r\n") + 4
    return data[start:end] if end >= start > 1 else b""


def learned(data: bytes, fields: bytes, exchange: Exchange) -> Request | None:
    """What the parser made of `data`; None when that must be asked again each time."""
    line = data[: data.find(b"\r\n")]
    length = int(exchange.length or 0)
    usual = exchange.complete and exchange.hosts == 1 and exchange.probe is None and exchange.brought is None
    if not usual or exchange.chunked or exchange.close or exchange.upgrade or _REQUEST_LINE.fullmatch(line) is None:
        return None
    if len(data) != len(line) + 2 + len(fields) + length:
        return None
    return Request(fields, length, exchange.host, exchange.fields())


def repeated(client: ClientConnection, known: Request, data: bytes) -> bool:
    """Serve `data` if it is a whole request that repeats `known`; False: it is not, and nothing was done."""
    line, _, rest = data.partition(b"\r\n")
    if len(rest) != known.size or not rest.startswith(known.fields):
        return False
    match = _REQUEST_LINE.fullmatch(line)
    gateway, target = client.gateway, client.target
    if match is None or target is None or client.host != known.host or client.version != gateway.table.version:
        return False
    backend = gateway.backends.get(target.revisions[0] if len(target.revisions) == 1 else target.pick(gateway.random()))
    if backend is None or backend.limits.protocol != "http1":
        return False
    exchange = client.current = Exchange(client)
    exchange.method, exchange.target = match.groups()
    exchange.host, exchange.complete, exchange.backend = known.host, True, backend
    exchange.wire = wire = b"%b\r\n%b%b\r\n%b" % (line, known.wire, gateway.request_id(), rest[len(known.fields) :])
    exchange.started = exchange.touched = now = gateway.monotonic()
    backend.arrive(now)
    pod = exchange.pod = backend.take()
    if pod is None:
        exchange.wait(backend)
    elif pod.idle and not client.slow and not (upstream := pod.idle.pop()).transport.is_closing():
        exchange.upstream = upstream
        upstream.start(exchange)
        upstream.transport.write(wire)
    else:
        exchange.connect(pod)
    return True


def answered(upstream: Upstream, exchange: Exchange, data: bytes) -> bool:
    """Pass `data` on if it is a whole answer that repeats the pod's last; False: it is not, and nothing was done."""
    pod, client = upstream.pod, exchange.client
    known = pod.known
    if known is None or len(data) != known.size or not data.startswith(known.head):
        return False
    if exchange.method == b"HEAD" or exchange.waited or exchange.close or not exchange.complete:
        return False
    if pod.gone or client.slow or client.draining:
        return False
    client.transport.write(known.passed + data[len(known.head) :])
    exchange.status, exchange.sent, exchange.upstream = known.status, True, None
    upstream.put_aside(client.gateway.now)
    exchange.account()
    client.finished(exchange, keep=True)
    return True
