"""ISO-8601 durations, as Knative eventing writes them: `PT0.2S`, `PT1M`, `P1DT12H`.

Law: seconds as floats inside, text at the edge. Years and months are their mean length (365.2425 days and a twelfth of
it). Source: ISO 8601-1 section 5.5.2 and the readings of it that Knative's delivery specification allows. No IO.
"""

from __future__ import annotations

import re

from funcs.errors import Invalid

_DAY = 86_400.0
_YEAR = 365.2425 * _DAY
_SECONDS = (_YEAR, _YEAR / 12, 7 * _DAY, _DAY, 3600.0, 60.0, 1.0)
_AMOUNT = r"(?:([0-9]{1,12}(?:[.,][0-9]{1,9})?)"
_PERIOD = re.compile(
    rf"(-?)P{_AMOUNT}Y)?{_AMOUNT}M)?{_AMOUNT}W)?{_AMOUNT}D)?(?:T(?=[0-9]){_AMOUNT}H)?{_AMOUNT}M)?{_AMOUNT}S)?)?"
)


def parse(text: str) -> float:
    """Seconds. Raises Invalid."""
    found = _PERIOD.fullmatch(text) if len(text) <= 64 else None
    if found is None or not any(found.groups()[1:]):
        raise Invalid(f'"{text[:64]}" is not an ISO-8601 duration', hint='Write it as in "PT0.5S", "PT10M" or "P1D".')
    amounts = found.groups()[1:]
    total = sum(
        float(amount.replace(",", ".")) * size for amount, size in zip(amounts, _SECONDS, strict=True) if amount
    )
    return -total if found[1] else total


def render(seconds: float) -> str:
    """In hours, minutes and seconds: 90 is `PT1M30S`, 0 is `PT0S`."""
    if seconds < 0:
        return "-" + render(-seconds)
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minute = divmod(minutes, 60)
    parts = [f"{hours}H" if hours else "", f"{minute}M" if minute else ""]
    if rest or not any(parts):
        parts.append(f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "S")
    return "PT" + "".join(parts)
