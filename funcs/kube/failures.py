"""An API's Status as one of our errors.

Law: pure; the HTTP code chooses the class, the Status gives message, reason and causes; a body that is no Status still
makes a clear error. Source: metav1.Status. No IO.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from funcs.api.meta import Object
from funcs.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    FieldError,
    Forbidden,
    FuncsError,
    Invalid,
    NotFound,
    Timeout,
    Unauthorized,
    Unavailable,
    Unsupported,
    UnsupportedMediaType,
)

_CLASSES: Mapping[int, type[FuncsError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: Unsupported,
    406: Unsupported,
    408: Timeout,
    409: Conflict,
    410: Expired,
    413: BadRequest,
    415: UnsupportedMediaType,
    422: Invalid,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Timeout,
}
_SHOWN = 500  # bytes of a body that is no Status


def failure(code: int, body: bytes, what: str) -> FuncsError:
    """The error that an answer stands for. `what` was asked, such as `GET /api/v1/pods`."""
    try:
        status = msgspec.json.decode(body)
    except msgspec.DecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        shown = body[:_SHOWN].decode("utf-8", "replace").strip()
        status = {"message": f"{what}: HTTP {code}{': ' + shown if shown else ''}"}
    return of_status({**status, "code": code}, what)


def of_status(status: Object, what: str) -> FuncsError:
    """The error that a Status object stands for."""
    code, reason = _whole(status.get("code")), str(status.get("reason") or "")
    found = AlreadyExists if code == 409 and reason == "AlreadyExists" else _CLASSES.get(code, FuncsError)
    hint = "Check the token or certificate of the kubeconfig." if found is Unauthorized else None
    message = str(status.get("message") or f"{what}: HTTP {code}")
    return found(message, reason=reason or None, hint=hint, causes=_causes(status.get("details")))


def _causes(details: Any) -> list[FieldError]:
    causes = details.get("causes") if isinstance(details, dict) else None
    if not isinstance(causes, list):
        return []
    return [
        FieldError(str(cause.get("message") or ""), str(cause.get("field") or ""))
        for cause in causes
        if isinstance(cause, dict)
    ]


def _whole(code: object) -> int:
    return code if isinstance(code, int) else 500
