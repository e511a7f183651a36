"""Durations are Go's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcs.api import duration
from funcs.errors import Invalid


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (3600, "1h0m0s"), (90, "1m30s"), (0.25, "250ms"), (1.5, "1.5s"), (1e-6, "1µs"), (3661.5, "1h1m1.5s")],
)
def test_seconds_render_as_go_renders_them(seconds: float, text: str) -> None:
    assert duration.render(seconds) == text
    assert duration.parse(text) == pytest.approx(seconds)


@given(st.integers(-(10**15), 10**15).map(lambda ms: ms / 1000))
def test_parsing_inverts_rendering(seconds: float) -> None:
    assert duration.parse(duration.render(seconds)) == pytest.approx(seconds, abs=1e-6, rel=1e-12)


@pytest.mark.parametrize("text", ["", "5", "1x", "h", "1h 2m", "-", "١s", "1" * 100 + "s"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is not a duration"):
        duration.parse(text)
