"""Exit codes: one table for every command.

Law: the code says which kind of thing went wrong, so that a script need not read the message. No IO.
"""

from __future__ import annotations

from funcs.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    FuncsError,
    Invalid,
    NotFound,
    Terminal,
    Timeout,
    Unauthorized,
    Unavailable,
)

UNEXPECTED = 1
USAGE = 2
NOT_FOUND = 3
INVALID = 4
AUTHENTICATION = 5
BUILD_FAILED = 6
NOT_READY = 7
FUNCTION_ERROR = 8
CONFLICT = 9
UNREACHABLE = 10

_BY_REASON = {"BuildFailed": BUILD_FAILED, "NotReady": NOT_READY, "FunctionError": FUNCTION_ERROR}
_BY_CLASS: tuple[tuple[type[FuncsError], int], ...] = (
    (NotFound, NOT_FOUND),
    (Invalid, INVALID),
    (BadRequest, INVALID),
    (Terminal, INVALID),
    (Unauthorized, AUTHENTICATION),
    (Forbidden, AUTHENTICATION),
    (AlreadyExists, CONFLICT),
    (Conflict, CONFLICT),
    (Timeout, NOT_READY),
    (Unavailable, UNREACHABLE),
)


def exit_code(error: FuncsError) -> int:
    """By reason first, then by class; 1 for what has neither."""
    if error.reason in _BY_REASON:
        return _BY_REASON[error.reason]
    return next((code for kind, code in _BY_CLASS if isinstance(error, kind)), UNEXPECTED)
