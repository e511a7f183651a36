"""A cursor never passes an event that was not acknowledged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtimes.eventing.cursor import Cursor


def test_low_waits_for_the_oldest() -> None:
    cursor = Cursor()
    assert all(cursor.take(seq) for seq in (1, 2, 5))
    cursor.ack(2)
    assert (cursor.low, cursor.oldest, list(cursor.acked())) == (0, 1, [2])
    cursor.ack(1)
    assert cursor.low == 4
    cursor.ack(5)
    assert (cursor.low, cursor.width) == (5, 0)


def test_what_is_done_is_not_taken_again() -> None:
    cursor = Cursor(10, [12])
    assert not cursor.take(9)
    assert not cursor.take(12)
    assert cursor.take(11)
    assert not cursor.take(11)


def test_low_follows_what_was_seen_when_nothing_is_outstanding() -> None:
    cursor = Cursor()
    cursor.see(100)
    assert cursor.low == 100
    assert repr(cursor) == "Cursor(low=100, acked=[], outstanding=[])"


@given(st.data(), st.sets(st.integers(1, 60)))
def test_after_a_restart_exactly_what_was_not_acknowledged_is_taken(data: st.DataObject, wanted: set[int]) -> None:
    """Through any number of restarts, at any moments, with acknowledgements in any order."""
    cursor, done = Cursor(), set[int]()
    for _ in range(data.draw(st.integers(1, 4))):
        reached = data.draw(st.integers(0, 60))
        taken = {seq for seq in sorted(wanted) if seq <= reached and cursor.take(seq)}
        assert taken.isdisjoint(done), "delivered twice though acknowledged"
        cursor.see(reached)
        acked = data.draw(st.permutations(sorted(taken)).map(lambda order: order[: len(order) // 2]))
        for seq in acked:
            cursor.ack(seq)
        done.update(acked)
        assert all(seq in done for seq in wanted if seq <= cursor.low), "passed one that was not acknowledged"
        assert set(cursor.acked()) <= done
        cursor = Cursor.decode(cursor.encode())
    remaining = {seq for seq in sorted(wanted) if cursor.take(seq)}
    assert remaining == wanted - done
