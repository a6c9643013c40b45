"""For how long a pull has come no further, by value."""

from __future__ import annotations

import pytest

from pyshard.shard.pull_stall import PullStall


def test_only_farther_places_count() -> None:
    """A place where it was before, or one behind that, brings nothing on."""
    stall = PullStall()
    stall.connected(10.0)
    assert stall.seconds(15.0) == 5.0
    stall.reached((1, 7), 20.0)
    assert stall.seconds(20.0) == 0.0
    for place in ((1, 7), (1, 6), (0, 900)):
        stall.reached(place, 30.0)
    assert stall.seconds(32.0) == 12.0
    stall.reached((2, 0), 33.0)
    assert stall.seconds(34.0) == 1.0


@pytest.mark.parametrize(("away", "counted"), [(0.5, 60.5), (9.9, 69.9), (10.1, 60.0), (3600.0, 60.0)])
def test_while_the_source_is_away(away: float, counted: float) -> None:
    """That doesn't count, unless it is back at once: such a one has ended the connection."""
    stall = PullStall()
    stall.connected(0.0)
    stall.disconnected(40.0)
    assert stall.seconds(40.0 + away) == 40.0
    stall.connected(40.0 + away)
    assert stall.seconds(60.0 + away) == pytest.approx(counted)


def test_while_this_side_waits_for_itself() -> None:
    """That isn't the source's time."""
    stall = PullStall()
    stall.connected(0.0)
    stall.hold(5.0)
    assert stall.seconds(500.0) == 5.0
    stall.go_on(1000.0)
    assert stall.seconds(1003.0) == 8.0
    stall.hold(1003.0)
    stall.brought_on(1004.0)
    assert stall.seconds(2000.0) == 0.0
