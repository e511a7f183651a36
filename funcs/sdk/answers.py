"""What a handler says other than by a plain value: a full response, or an error that decides what happens next."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Response:
    """A full HTTP answer. `body`: bytes, text, a value to be written as JSON, or an (async) generator of pieces."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        body: bytes | str | AsyncIterable[Any] | Iterable[Any] | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.body = body
        self.status = status
        self.headers = dict(headers or {})

    def __repr__(self) -> str:
        return f"Response(status={self.status})"


class HTTPError(Exception):
    """Answer with `status` and, as `application/problem+json`, `detail`: the one error whose words the caller sees.

    For a delivered event, 4xx means that trying again is pointless: it is dead-lettered.
    """

    def __init__(self, status: int, detail: str = "", *, headers: Mapping[str, str] | None = None) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"an HTTPError has a status from 400 to 599, not {status}")
        super().__init__(f"{status} {detail}".rstrip())
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


class Retry(Exception):
    """Not now: 503 with Retry-After; a delivered event comes again. `after`: seconds."""

    def __init__(self, after: float | None = None) -> None:
        super().__init__("retry" if after is None else f"retry after {after} s")
        self.after = after


class Drop(Exception):
    """Done with this event, without having acted on it: 200, so that it does not come again."""


class DeadLetter(Exception):
    """This event can never succeed: 422 with `reason`; it goes to the dead letters, and the reason with it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def inline(handler: F) -> F:
    """Mark a handler that is not async, and never waits, to run on the event loop rather than in a thread."""
    handler.__funcs_inline__ = True  # type: ignore[attr-defined]
    return handler
