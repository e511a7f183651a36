"""One request and its answer: route, wait for a pod, send, pass on, account.

Law: counted once when it starts and once when it ends; sent again only when nothing can have been acted on (the connect
failed, or a reused connection was already closed and the method is idempotent); once the answer has begun, failure
cuts the connection, because nothing else can be said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from funcs.errors import BadRequest
from runtimes.http.headers import IDEMPOTENT, LAST_CHUNK

from ..breaker import DEADLINE, QUEUE_FULL, TOO_LATE
from . import heads
from .answers import answer, unknown_host
from .backend import Backend, Pod

if TYPE_CHECKING:
    from .client import ClientConnection
    from .upstream import Upstream

_ATTEMPTS = 20


class Exchange:
    """Made by the client's connection as a head arrives; the defaults stand for what most requests do not have."""

    method = target = host = wire = b""
    hosts = 0
    chunked = close = upgrade = complete = sent = finished = waited = refused = False
    length: bytes | None = None
    probe: bytes | None = None
    brought: list[tuple[bytes, bytes]] | None = None
    connection: list[bytes] | None = None
    upgrade_to = b""
    backend: Backend | None = None
    pod: Pod | None = None
    upstream: Upstream | None = None
    started = touched = cold = 0.0
    status = pending_size = received = attempts = 0

    def __init__(self, client: ClientConnection) -> None:
        self.client = client
        self.lines: list[bytes] = []  # name, ": ", value, line end, and so on
        self.pending: list[bytes] = []  # body, framed, not yet sent

    # Before a pod.

    def start(self) -> None:
        """Find who answers, and a pod of theirs."""
        client = self.client
        gateway = client.gateway
        self.started = self.touched = gateway.monotonic()
        if self._is_refused():
            return
        target = client.target
        if self.host != client.host or client.version != gateway.table.version:
            try:
                target = client.look_up(self.host)
            except BadRequest as error:
                self._refuse(400, f"{error}\n{error.hint}\n")
                return
        if target is None:
            self._refuse(404, unknown_host(self.host, gateway.settings.domain))
            return
        key = target.revisions[0] if len(target.revisions) == 1 else target.pick(gateway.random())
        backend = self.backend = gateway.backends.get(key) or gateway.backend(key)
        if self.probe is not None:
            self._probed(backend)
            return
        if backend.limits.protocol != "http1":
            self._refuse(501, f"revision {key} speaks {backend.limits.protocol}; this gateway speaks HTTP/1.1\n")
            return
        backend.arrive(self.started)
        pod = self.pod = backend.take()
        if pod is not None:
            self.connect(pod)
        else:
            self.wait(backend)

    def admitted(self, pod: Pod) -> None:
        """The wait is over."""
        self.pod = pod
        self.cold = self.client.gateway.monotonic() - self.started
        self.connect(pod)

    def wait(self, backend: Backend, *, first: bool = False) -> None:
        """Until the revision has a pod with room; refused where too many wait already."""
        if not backend.is_ready and not self.waited:
            self.waited = True
            backend.figures.cold += 1
        if not backend.wait(self, first=first):
            self._refuse(503, QUEUE_FULL + "\n")
        elif self.pending_size > self.client.gateway.settings.unsent:
            self.client.hold()

    def connect(self, pod: Pod) -> None:
        """By a connection that is idle, or else a new one."""
        while pod.idle:
            upstream = pod.idle.pop()
            if not upstream.transport.is_closing():
                self.connected(upstream)
                return
        self.client.gateway.dial(pod, self)

    def connected(self, upstream: Upstream) -> None:
        """Send the head and what there is of the body, in one write."""
        self.upstream = upstream
        upstream.start(self)
        if not self.wire:
            self.wire = self._head()
        data = self.wire
        if self.pending:
            data = b"".join([data, *self.pending])
            self.pending, self.pending_size = [], 0
            if self.complete:
                self.wire = data
        upstream.transport.write(data)
        client = self.client
        if client.slow:
            upstream.transport.pause_reading()
        if client.held and not self.upgrade:
            client.unhold()

    def connect_failed(self) -> None:
        """Nothing was sent: another pod, or wait again."""
        pod, backend = self.pod, self.backend
        if self.finished or pod is None or backend is None:
            return
        self.pod = None
        self.attempts += 1
        self.client.gateway.suspect(backend, pod)
        pod.in_flight -= 1
        if self.attempts >= _ATTEMPTS:
            self._refuse(502, "no pod of the revision accepts connections\n")
            return
        other = backend.take()
        if other is not None:
            self.pod = other
            self.connect(other)
        else:
            self.wait(backend, first=True)

    # The body, on its way to the pod.

    def body(self, data: bytes) -> None:
        self.received += len(data)
        limit = self.client.gateway.settings.body
        if self.received > limit:
            self.client.refuse(413, f"the body is larger than {limit} bytes\n")
            return
        self.pending.append(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)
        self.pending_size += len(data)

    def ended(self) -> None:
        """The request is complete."""
        self.complete = True
        if self.chunked:
            self.pending.append(LAST_CHUNK)

    def push(self) -> None:
        """Send what has come of the body since."""
        if self.upstream is not None:
            data, self.pending, self.pending_size = self.pending, [], 0
            self.wire = b""
            self.touched = self.client.gateway.now
            self.upstream.transport.write(b"".join(data))
        elif self.pending_size > self.client.gateway.settings.unsent:
            self.client.hold()

    # The answer, on its way to the client.

    def interim(self, head: bytes) -> None:
        self.client.transport.write(head)

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        client = self.client
        self.status = status
        self.sent = True
        if self.waited or self.close or client.draining:
            head = self._marked(head)
        self.touched = client.gateway.now
        client.transport.write(head + body if body else head)

    def pass_on(self, data: bytes) -> None:
        self.touched = self.client.gateway.now
        self.client.transport.write(data)

    def upstream_done(self, upstream: Upstream, *, reusable: bool) -> None:
        pod, client = upstream.pod, self.client
        if reusable and self.complete and not pod.gone:
            if client.slow:
                upstream.transport.resume_reading()
            upstream.put_aside(client.gateway.now)
        else:
            upstream.transport.close()
        self.upstream = None
        self.account()
        client.finished(self, keep=self.complete and not self.close)

    def upstream_lost(self, upstream: Upstream, *, untouched: bool) -> None:
        self.upstream = None
        stale = upstream.reused and untouched and self.wire and self.complete and self.method in IDEMPOTENT
        if self.sent:
            self._finish(keep=False)  # also how an answer without a length ends
        elif stale and self.pod is not None:
            self.connect(self.pod)
        else:
            self._refuse(502, "the pod closed the connection before it answered\n")

    def upstream_failed(self, why: str) -> None:
        self._drop_upstream()
        if self.sent:
            self.client.abort()
        else:
            self._refuse(502, f"bad answer from the pod: {why}\n")

    def switch(self, upstream: Upstream, head: bytes, rest: bytes) -> None:
        """The pod has agreed to another protocol: join the two connections."""
        self.upstream = None
        if not self.upgrade:
            upstream.transport.abort()
            self._refuse(502, "the pod switched protocols unasked\n")
            return
        self.status, self.sent = 101, True
        self.client.join(self, upstream, head, rest)

    # The end.

    def check(self, now: float) -> None:
        """Hold the exchange to the revision's timeouts."""
        backend = self.backend
        if backend is None or self.finished:
            return
        limits, lasted = backend.limits, now - self.started
        if lasted >= limits.timeout > 0:
            self._time_out(DEADLINE if self.pod is None else TOO_LATE)
        elif self.sent:
            if now - self.touched >= limits.idle > 0:
                self._time_out(TOO_LATE)
        elif lasted >= limits.response_start > 0:
            self._time_out(TOO_LATE)

    def abandon(self) -> None:
        """The client is gone."""
        self._drop_upstream()
        self.status = self.status or 499
        self.account()

    def finish_tunnel(self) -> None:
        self.account()

    def _time_out(self, text: str) -> None:
        self._drop_upstream()
        if self.sent:
            self.client.abort()
        else:
            self._refuse(503 if text == DEADLINE else 504, text + "\n")

    def _refuse(self, status: int, text: str) -> None:
        self.status = status
        self.sent = True
        keep = self.complete and not self.close
        self.client.transport.write(answer(status, text, close=not keep, head=self.method == b"HEAD"))
        if self.backend is None:
            refused = self.client.gateway.refused
            refused[status] = refused.get(status, 0) + 1
        self._finish(keep=keep)

    def _finish(self, *, keep: bool) -> None:
        self.account()
        self.client.finished(self, keep=keep)

    def account(self) -> None:
        """Once: leave the revision, let the next one in, count."""
        backend = self.backend
        if self.finished or backend is None or self.probe is not None:
            self.finished = True
            return
        self.finished = True
        gateway = self.client.gateway
        now = gateway.monotonic()
        backend.figures.count(self.status, now - self.started)
        if gateway.settings.request_log:
            gateway.log_request(self, now)
        if backend.limits.protocol != "http1":
            return
        backend.leave(now)
        pod, self.pod = self.pod, None
        if pod is not None:
            backend.release(pod)
        elif backend.waiting:
            backend.give_up(self)

    def _drop_upstream(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.detach()

    # Heads.

    def _is_refused(self) -> bool:
        """Answer at once what needs no revision to be refused."""
        settings = self.client.gateway.settings
        if self.hosts != 1:
            self._refuse(400, "a request needs exactly one Host header\n")
        elif self.length is not None and int(self.length) > settings.body:
            self._refuse(413, f"the body is larger than {settings.body} bytes\n")
        elif len(self.lines) > 4 * settings.fields or (self.client.is_large and self._size() > settings.head):
            self._refuse(431, f"the head is larger than {settings.head} bytes or {settings.fields} fields\n")
        elif self.method == b"CONNECT":
            self._refuse(405, "CONNECT is not served\n")
        else:
            return False
        return True

    def _size(self) -> int:
        return sum(map(len, self.lines)) + len(self.target) + len(self.host)

    def _head(self) -> bytes:
        version = b" HTTP/1.0\r\n" if self.client.is_old else b" HTTP/1.1\r\n"
        return b"%b %b%b%b%b\r\n" % (self.method, self.target, version, self.fields(), self._request_id())

    def fields(self) -> bytes:
        """As the pod gets them: all but the request's id."""
        client, lines = self.client, self.lines
        if self.connection is not None and not self.upgrade:
            named = heads.named_by_connection(self.connection)
            lines = heads.without(lines, named) if named else lines
        parts = [b"host: ", self.host, b"\r\n", *lines]
        if self.chunked:
            parts.append(b"transfer-encoding: chunked\r\n")
        elif self.length is not None:
            parts += (b"content-length: ", self.length, b"\r\n")
        if self.upgrade:
            parts += (b"connection: upgrade\r\nupgrade: ", self.upgrade_to, b"\r\n")
        if self.brought is None:
            parts.append(client.forwarded(self.host))
        else:
            parts.append(heads.forwarded_with(client.peer, self.host, self.brought))
        return b"".join(parts)

    def _request_id(self) -> bytes:
        known = [value for name, value in self.brought or () if name == b"x-request-id"]
        return b"x-request-id: %b\r\n" % known[0] if known else self.client.gateway.request_id()

    def _marked(self, head: bytes) -> bytes:
        if self.waited:
            head = heads.with_line(head, b"server-timing: cold-start;dur=%.1f\r\n" % (self.cold * 1000))
        if self.close or self.client.draining:
            self.close = True
            head = heads.with_line(head, b"connection: close\r\n")
        return head

    def _probed(self, backend: Backend) -> None:
        """K-Network-Probe: `queue` asks for a ready pod, `activator` and `probe` for the gateway itself."""
        asked = (self.probe or b"").decode("latin-1")
        if asked in ("activator", "probe"):
            self._refuse(200, asked)
        elif asked != "queue":
            self._refuse(400, "unexpected probe header value\n")
        elif backend.is_ready:
            self._refuse(200, "queue")
        else:
            self._refuse(503, "no pod is ready\n")
