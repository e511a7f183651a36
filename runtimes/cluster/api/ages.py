"""Durations as kubectl prints them: two units at most, coarser the longer ago.

Law: pure; the same text for the same seconds as `k8s.io/apimachinery/pkg/util/duration.HumanDuration`. No IO.
"""

from __future__ import annotations

from funcs.api import meta

UNKNOWN = "<unknown>"
_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def since(timestamp: object, now: float) -> str:
    """The age of an RFC 3339 timestamp; `<unknown>` without one, `<invalid>` for anything else."""
    if not timestamp:
        return UNKNOWN
    try:
        return human(now - meta.parse_timestamp(str(timestamp)))
    except ValueError:
        return "<invalid>"


def human(duration: float) -> str:
    seconds = int(duration)
    if seconds < -1:
        return "<invalid>"
    if seconds < 2 * _MINUTE:
        return f"{max(seconds, 0)}s"
    if seconds < 3 * _HOUR:
        return _two(seconds, _MINUTE, "m", 1, "s") if seconds < 10 * _MINUTE else f"{seconds // _MINUTE}m"
    if seconds < 2 * _DAY:
        return _two(seconds, _HOUR, "h", _MINUTE, "m") if seconds < 8 * _HOUR else f"{seconds // _HOUR}h"
    if seconds < 2 * _YEAR:
        return _two(seconds, _DAY, "d", _HOUR, "h") if seconds < 8 * _DAY else f"{seconds // _DAY}d"
    return _two(seconds, _YEAR, "y", _DAY, "d") if seconds < 8 * _YEAR else f"{seconds // _YEAR}y"


def _two(seconds: int, large: int, large_unit: str, small: int, small_unit: str) -> str:
    rest = seconds % large // small
    return f"{seconds // large}{large_unit}" + (f"{rest}{small_unit}" if rest else "")
