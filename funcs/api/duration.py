"""Go durations, as Kubernetes resources write them: `1h0m0s`, `90s`, `1.5s`, `0`.

Law: seconds as floats inside, Go's text at the edge; `render` writes what Go's `time.Duration.String` writes.
Source: Go's package time. No IO.
"""

from __future__ import annotations

import re
from decimal import Decimal

from funcs.errors import Invalid

_SECOND = 1_000_000_000
_UNITS = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 1_000_000,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_LONGEST_TEXT = 64


def parse(text: str) -> float:
    """Seconds. Raises Invalid."""
    sign, digits = (-1.0, text[1:]) if text[:1] == "-" else (1.0, text.removeprefix("+"))
    if digits == "0":
        return 0.0
    if len(text) > _LONGEST_TEXT or not _WHOLE.fullmatch(digits):
        raise Invalid(f'"{text[:_LONGEST_TEXT]}" is not a duration', hint='Write it as in "90s", "1h30m" or "500ms".')
    return sign * float(sum(Decimal(amount) * _UNITS[unit] for amount, unit in _PART.findall(digits)) / _SECOND)


def render(seconds: float) -> str:
    """Go's own text: 3600 is `1h0m0s`, 90 is `1m30s`, 0.25 is `250ms`."""
    if seconds < 0:
        return "-" + render(-seconds)
    nanoseconds = round(seconds * _SECOND)
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < _SECOND:
        return _below_a_second(nanoseconds)
    whole, rest = divmod(nanoseconds, _SECOND)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = _decimal(second * _SECOND + rest, _SECOND) + "s"
    if minutes:
        text = f"{minute}m{text}"
    return f"{hours}h{text}" if hours else text


def _below_a_second(nanoseconds: int) -> str:
    for unit, size in (("ms", 1_000_000), ("µs", 1_000)):
        if nanoseconds >= size:
            return _decimal(nanoseconds, size) + unit
    return f"{nanoseconds}ns"


def _decimal(amount: int, size: int) -> str:
    whole, rest = divmod(amount, size)
    if not rest:
        return str(whole)
    digits = len(str(size)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")
