"""Our errors as the distribution specification's error documents.

Law: the code is one of the specification's; the reason decides it, else the class. No IO.
"""

from __future__ import annotations

import re

import msgspec
from starlette.responses import Response

from funcs.errors import FuncsError, Invalid

_CODES = {
    "Invalid": "MANIFEST_INVALID",
    "Forbidden": "DENIED",
    "NotFound": "NAME_UNKNOWN",
    "BadRequest": "UNSUPPORTED",
    "MethodNotAllowed": "UNSUPPORTED",
    "TooManyRequests": "TOOMANYREQUESTS",
    "TagInvalid": "MANIFEST_INVALID",
}
_STATUS = {"SizeInvalid": 413, "TooManyRequests": 429, "ManifestBlobUnknown": 404}


def respond(error: FuncsError) -> Response:
    status = _STATUS.get(error.reason) or (400 if isinstance(error, Invalid) else error.code)
    body = {"errors": [{"code": code_of(error.reason), "message": error.message, "detail": error.hint}]}
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")


def code_of(reason: str) -> str:
    """`BlobUploadUnknown` → `BLOB_UPLOAD_UNKNOWN`."""
    return _CODES.get(reason) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", reason).upper()
