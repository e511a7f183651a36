"""What a function's author imports: `from funcs import Context, Event, HTTPError, Retry`.

Law: importing this loads nothing; the first name taken loads the SDK, which loads no heavier package of the project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from funcs.sdk import Context, DeadLetter, Drop, Event, HTTPError, Logger, Response, Retry, Trace, inline

__all__ = ["Context", "DeadLetter", "Drop", "Event", "HTTPError", "Logger", "Response", "Retry", "Trace", "inline"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from funcs import sdk

        return getattr(sdk, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
