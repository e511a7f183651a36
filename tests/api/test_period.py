"""ISO-8601 durations, as deliveries are configured with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcs.api import period
from funcs.errors import Invalid


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT0.2S", 0.2),
        ("PT0S", 0),
        ("PT1M30S", 90),
        ("P1DT12H", 129_600),
        ("P2W", 1_209_600),
        ("P1Y", 31_556_952),
        ("P1M", 2_629_746),
        ("PT0,5S", 0.5),
        ("-PT5S", -5),
    ],
)
def test_a_period_is_so_many_seconds(text: str, seconds: float) -> None:
    assert period.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "P", "PT", "P1S", "5s", "PT5", "P1DT", "pt1s", "PT1S ", "PT" + "9" * 80 + "S"])
def test_what_is_not_a_period_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is not an ISO-8601 duration"):
        period.parse(text)


@given(st.integers(-(10**10), 10**10).map(lambda ms: ms / 1000))
def test_parsing_inverts_rendering(seconds: float) -> None:
    assert period.parse(period.render(seconds)) == pytest.approx(seconds)
