"""Events for tests."""

from __future__ import annotations

from runtimes.eventing.event import Event


def an_event(number: int = 1, **attributes: str) -> Event:
    """A valid event; `id` is the number."""
    given = {"specversion": "1.0", "id": str(number), "source": "/test", "type": "test.happened", **attributes}
    return Event(given, b'{"number": %d}' % number)
