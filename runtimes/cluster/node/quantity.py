"""Kubernetes quantities (`500m`, `64Mi`, `1e3`) as numbers. Law: exact; no floats. No IO."""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil

from .runtime import CannotRun

_QUANTITY = re.compile(r"([+-]?[0-9.]{1,40})(?:e([+-]?[0-9]{1,3})|([numkMGTPE]|[KMGTPE]i)?)", re.ASCII)
_SUFFIXES = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1)}
_SUFFIXES |= {letter: Fraction(1000 ** (power + 1)) for power, letter in enumerate("kMGTPE")}
_SUFFIXES |= {f"{letter}i": Fraction(1024 ** (power + 1)) for power, letter in enumerate("KMGTPE")}


def parse(text: str) -> Fraction:
    """Raises CannotRun for what is not a quantity (k8s.io/apimachinery/pkg/api/resource)."""
    found = _QUANTITY.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        number = Fraction(found[1])
    except ValueError:
        raise CannotRun(f"not a quantity: {text[:60]!r}") from None
    return number * (Fraction(10) ** int(found[2]) if found[2] else _SUFFIXES[found[3] or ""])


def in_units(text: str, divisor: str) -> int:
    """How many of `divisor`, rounded up, as the downward API says it."""
    unit = parse(divisor)
    return ceil(parse(text) / (unit or 1))
