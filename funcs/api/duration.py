"""Go durations, as Kubernetes resources write them: `1h0m0s`, `90s`, `1.5s`, `0`.

Law: seconds as floats inside, Go's text at the edge; `render` writes what Go's `time.Duration.String` writes.
Source: Go's package time. No IO.
"""

from __future__ import annotations

import re

from funcs.errors import Invalid

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
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
    return sign * sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(digits))


def render(seconds: float) -> str:
    """Go's own text: 3600 is `1h0m0s`, 90 is `1m30s`, 0.25 is `250ms`."""
    if seconds < 0:
        return "-" + render(-seconds)
    nanoseconds = round(seconds * 1e9)
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < 1_000_000_000:
        return _below_a_second(nanoseconds)
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = _decimal(second * 1_000_000_000 + rest, 1_000_000_000) + "s"
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
