"""JSON without `json`: importing that package costs more than the rest of the shim, for its regular expressions.

Law: what `encode` writes any JSON parser reads; `decode` reads one value from text that our own node wrote. No IO.
"""

from __future__ import annotations

import _json

TYPE_CHECKING = False  # importing `typing` for its own constant would cost 4 ms
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]


class _Context:
    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 (the scanner's own interning table)


def _refuse(value: object) -> Any:
    raise TypeError(f"not JSON: {value!r}")


_scan = _json.make_scanner(_Context())  # type: ignore[arg-type]
_encode = _json.make_encoder(None, _refuse, _json.encode_basestring_ascii, None, ":", ",", False, False, False)


def encode(value: Message) -> str:
    return "".join(_encode(value, 0))


def decode(text: str) -> Message:
    """Raises ValueError (StopIteration inside the scanner) on anything that is not one JSON object."""
    try:
        value, _ = _scan(text, 0)
    except StopIteration:
        raise ValueError("not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value
