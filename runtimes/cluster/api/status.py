"""Errors as metav1.Status, and the few refusals that only a server of HTTP can make.

Law: pure; every error of the `funcs.errors` family has exactly one rendering, and anything else is a 500 that tells
nothing of its inside. Source: Kubernetes API conventions, "Response Status Kind". No IO.
"""

from __future__ import annotations

import re

from funcs.api.meta import Object
from funcs.errors import BadRequest, FuncsError, Timeout, Unavailable

from .requests import RequestInfo

_SUBJECT = re.compile(r'(?P<kind>[A-Za-z]+)[.a-z0-9-]* "(?P<name>[^"]*)" is invalid')


class TooLarge(BadRequest):
    """The body passes the limit."""

    code = 413
    default_reason = "RequestEntityTooLarge"


class NotAcceptable(BadRequest):
    """Nothing that the client accepts is made here."""

    code = 406
    default_reason = "NotAcceptable"


class NotImplementedHere(FuncsError):
    """A part of the Kubernetes API that this server knows by name and does not have."""

    code = 501
    default_reason = "NotImplemented"


def failure(error: FuncsError, info: RequestInfo | None = None) -> Object:
    """The Status of an error; `info` tells which resource it is about."""
    details = _details(error, info)
    status: Object = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
        "code": error.code,
    }
    if details:
        status["details"] = details
    return status


def internal(message: str = "an internal error occurred") -> Object:
    return failure(FuncsError(message))


def success(info: RequestInfo, uid: str = "") -> Object:
    """What a delete that left nothing behind answers."""
    details: Object = {"name": info.name, "kind": info.resource}
    if info.group:
        details["group"] = info.group
    if uid:
        details["uid"] = uid
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _details(error: FuncsError, info: RequestInfo | None) -> Object:
    details: Object = {}
    if info is not None and info.is_resource and error.code in (403, 404, 409, 422):
        details = {"name": info.name, "group": info.group, "kind": info.resource}
        subject = _SUBJECT.match(error.message) if error.code == 422 else None
        if subject is not None:
            details |= {"kind": subject["kind"], "name": subject["name"]}
        details = {name: value for name, value in details.items() if value}
    if error.causes:
        details["causes"] = [
            {
                "reason": _cause(cause.message),
                "message": f"{cause.message}: {cause.details}" if cause.details else cause.message,
                "field": cause.path,
            }
            for cause in error.causes
        ]
    if isinstance(error, Unavailable) and not isinstance(error, Timeout):
        details["retryAfterSeconds"] = 1
    return details


def _cause(message: str) -> str:
    """The CauseType that a field error's wording stands for (apimachinery's field.ErrorType)."""
    lowered = message.lower()
    for opening, cause in (
        ("required", "FieldValueRequired"),
        ("missing", "FieldValueRequired"),
        ("duplicate", "FieldValueDuplicate"),
        ("unsupported value", "FieldValueNotSupported"),
        ("not found", "FieldValueNotFound"),
        ("forbidden", "FieldValueForbidden"),
        ("too long", "FieldValueTooLong"),
    ):
        if lowered.startswith(opening):
            return cause
    return "FieldValueInvalid"
