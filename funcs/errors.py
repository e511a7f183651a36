"""One error family, rendered three ways: condition reason, API Status, CLI message.

Law: the class is the decision (what a queue or a client should do next); `reason` is the CamelCase word that the
condition, the Status and the CLI all show; `hint` is one imperative sentence. No IO.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong at one place. `path` is a field path such as `spec.steps[0].image`."""

    message: str
    path: str = ""
    details: str = ""

    def __str__(self) -> str:
        text = f"{self.message}: {self.path}" if self.path else self.message
        return f"{text}\n{self.details}" if self.details else text


class FuncsError(Exception):
    """The base. `code` is the HTTP status of the API Status that this error becomes."""

    code: ClassVar[int] = 500
    default_reason: ClassVar[str] = "InternalError"

    def __init__(
        self, message: str, *, reason: str | None = None, hint: str | None = None, causes: Iterable[FieldError] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.hint = hint
        self.causes = tuple(causes)

    def __str__(self) -> str:
        return self.message


class BadRequest(FuncsError):
    """The request cannot be understood."""

    code = 400
    default_reason = "BadRequest"


class Unauthorized(FuncsError):
    """Nobody we know."""

    code = 401
    default_reason = "Unauthorized"


class Forbidden(FuncsError):
    """Somebody we know, who may not."""

    code = 403
    default_reason = "Forbidden"


class NotFound(FuncsError):
    """There is no such thing (now)."""

    code = 404
    default_reason = "NotFound"


class Conflict(FuncsError):
    """Somebody else wrote first: read again, decide again."""

    code = 409
    default_reason = "Conflict"


class AlreadyExists(Conflict):
    """The name is taken."""

    default_reason = "AlreadyExists"


class Expired(FuncsError):
    """The resource version asked for is no longer held: list again (HTTP 410)."""

    code = 410
    default_reason = "Expired"


class Invalid(FuncsError):
    """Understood and refused; `causes` name the fields. Retrying the same object is pointless."""

    code = 422
    default_reason = "Invalid"


class Unavailable(FuncsError):
    """Not now: try again later."""

    code = 503
    default_reason = "ServiceUnavailable"


class Timeout(Unavailable):
    """The deadline passed."""

    code = 504
    default_reason = "Timeout"


class Unsupported(FuncsError):
    """This substrate does not do that, and says so by name."""

    code = 405
    default_reason = "MethodNotAllowed"


class UnsupportedMediaType(Unsupported):
    """This kind of body or patch is not taken here (HTTP 415)."""

    code = 415
    default_reason = "UnsupportedMediaType"


class Terminal(FuncsError):
    """Retrying cannot help; `reason` goes to the condition."""
