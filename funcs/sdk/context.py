"""What surrounds one invocation. Law: lazy, so that a handler pays for what it uses; no IO of its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from funcs.sdk.event import Event
from funcs.sdk.logger import Logger


@dataclass(frozen=True, slots=True)
class Trace:
    """W3C trace context, as received; empty strings if it was not."""

    traceparent: str = ""
    tracestate: str = ""

    @property
    def trace_id(self) -> str:
        parts = self.traceparent.split("-")
        return parts[1] if len(parts) >= 4 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all invocations of a process share; made by the runtime."""

    function: str = ""
    revision: str = ""
    namespace: str = ""
    source: str = ""
    """The `source` of events that name none."""
    env: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    logger: Logger
    identity: Callable[[], str]
    """Makes invocation ids."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    background: Callable[[Coroutine[Any, Any, Any]], None]
    user_data: dict[str, Any] = field(default_factory=dict)


class Context:
    """`ctx`: made for each invocation, and handed to `init` and `shutdown` with no request."""

    __slots__ = ("_id", "_logger", "_surroundings", "deadline", "emitted", "request")

    def __init__(self, surroundings: Surroundings, request: Event | None = None, deadline: float | None = None) -> None:
        self._surroundings = surroundings
        self._id = ""
        self._logger: Logger | None = None
        self.emitted: list[Event] | None = None
        """What `emit` was called for so far."""
        self.request = request
        """The HTTP request that this is, or that brought the event; None in `init` and `shutdown`."""
        self.deadline = deadline
        """Monotonic seconds at which the invocation is cancelled; None: never."""

    @property
    def invocation_id(self) -> str:
        if not self._id:
            self._id = self._surroundings.identity()
        return self._id

    @property
    def function(self) -> str:
        return self._surroundings.function

    @property
    def revision(self) -> str:
        return self._surroundings.revision

    @property
    def namespace(self) -> str:
        return self._surroundings.namespace

    @property
    def env(self) -> Mapping[str, str]:
        return self._surroundings.env

    @property
    def config(self) -> Mapping[str, Any]:
        """What the environment variable FUNCS_CONFIG holds as JSON."""
        return self._surroundings.config

    @property
    def user_data(self) -> dict[str, Any]:
        """The process's own: for what `init` makes and invocations use."""
        return self._surroundings.user_data

    @property
    def trace(self) -> Trace:
        if self.request is None:
            return Trace()
        return Trace(self.request.header("traceparent") or "", self.request.header("tracestate") or "")

    @property
    def logger(self) -> Logger:
        """Its lines carry function, revision, invocation and trace."""
        if self._logger is None:
            fields = {"invocation": self.invocation_id}
            request = self.request
            if request is not None and request.header("traceparent") and (trace_id := self.trace.trace_id):
                fields["trace_id"] = trace_id
            self._logger = self._surroundings.logger.bind(**fields)
        return self._logger

    def remaining(self) -> float | None:
        """Seconds left; None: no end is set."""
        return None if self.deadline is None else max(0.0, self.deadline - self._surroundings.clock())

    def emit(
        self, type: str, data: Any = None, *, subject: str | None = None, id: str = "", **extensions: Any
    ) -> Event:
        """Send an event to the function's sink, once the handler has succeeded and before its answer goes out.

        If sending fails, so does the invocation. The sink is K_SINK, or else the broker's URL in FUNCS_BROKER.
        """
        event = Event(data, type=type, source=self._surroundings.source, id=id, subject=subject, **extensions)
        if self.emitted is None:
            self.emitted = []
        self.emitted.append(event)
        return event

    def background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run `work` beside and after the answer; it is awaited before the process ends."""
        self._surroundings.background(work)
