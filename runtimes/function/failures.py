"""What a handler raised, as an HTTP answer.

Law: the table of exceptions. Nobody but the log learns what an unexpected exception says; the answer carries the
invocation's id, by which the log is found. Pure.
"""

from __future__ import annotations

import asyncio
import math
from http import HTTPStatus

from funcs.errors import BadRequest, Timeout, Unavailable
from funcs.sdk import DeadLetter, Drop, HTTPError, Retry

from ..http.headers import block
from ..http.message import Response
from .shape import InvalidData
from .values import encode, with_headers

PROBLEM = block(((b"content-type", b"application/problem+json"),))


def failure(error: BaseException, invocation: str, *, cloudevent: bool) -> tuple[Response, bool]:
    """The answer, and whether the error is for the log because it was not meant."""
    match error:
        case HTTPError():
            response = problem(error.status, error.detail)
            if error.headers:
                response.headers = with_headers(response.headers, error.headers)
            return response, False
        case Retry():
            response = problem(503, "try again")
            if error.after is not None:
                response.headers = with_headers(response.headers, {"retry-after": str(max(0, math.ceil(error.after)))})
            return response, False
        case Drop():
            return Response(200), False
        case DeadLetter():
            return problem(422, error.reason), False
        case InvalidData():
            return problem(400 if cloudevent else 422, error.message), False
        case BadRequest():
            return problem(error.code, error.message), False
        case asyncio.CancelledError():
            return problem(499, "cancelled"), False
        case Timeout() | TimeoutError():
            return problem(504, "the function took too long", invocation), True
        case Unavailable():
            return problem(503, "something the function needs is not available", invocation), True
    return problem(500, "the function failed", invocation), True


def problem(status: int, detail: str, invocation: str = "") -> Response:
    """RFC 9457."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Client Closed Request" if status == 499 else ""
    fields: dict[str, str | int] = {"type": "about:blank", "title": title, "status": status}
    if detail:
        fields["detail"] = detail
    if invocation:
        fields["instance"] = f"urn:invocation:{invocation}"
    return Response(status, PROBLEM, encode(fields))
