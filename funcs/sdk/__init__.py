"""The author's side of a function: the event that comes, the context it comes in, the answers and refusals that go.

Law: light (errors and the standard library; msgspec when data is decoded), and free of IO: the runtime passes in what
does any.
"""

from funcs.sdk.answers import DeadLetter, Drop, HTTPError, Response, Retry, inline
from funcs.sdk.context import Context, Trace
from funcs.sdk.event import Event
from funcs.sdk.logger import Logger

__all__ = ["Context", "DeadLetter", "Drop", "Event", "HTTPError", "Logger", "Response", "Retry", "Trace", "inline"]
