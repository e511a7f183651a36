"""What goes wrong between two ends of a connection. Law: the class says whose fault it is and whether to try again."""

from __future__ import annotations

from funcs.errors import BadRequest, Timeout, Unavailable


class TooLarge(BadRequest):
    """A body beyond its limit."""

    code = 413
    default_reason = "RequestEntityTooLarge"


class Disconnected(Unavailable):
    """The peer went away before its message was complete."""

    code = 499
    default_reason = "Disconnected"


class ConnectFailed(Unavailable):
    """No connection came to be; nothing was sent, so any request may be tried again, elsewhere or later."""

    code = 502
    default_reason = "ConnectFailed"


class PoolFull(Unavailable):
    """Every allowed connection to the address stayed busy for as long as a connect may take; nothing was sent."""

    default_reason = "PoolFull"


class UpstreamLost(Unavailable):
    """The connection broke after the request was sent. `reused`: it may have been closed before the request came."""

    code = 502
    default_reason = "UpstreamLost"

    def __init__(self, message: str, *, reused: bool = False) -> None:
        super().__init__(message)
        self.reused = reused


class ResponseTimeout(Timeout):
    """The request was sent and no answer began in time; the far end may still be working on it."""

    default_reason = "ResponseTimeout"


class RequestTimeout(BadRequest):
    """The client fell silent in the middle of its request."""

    code = 408
    default_reason = "RequestTimeout"
