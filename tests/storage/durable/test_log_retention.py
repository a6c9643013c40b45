"""How long segments of the log are kept for followers: by value."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyshard.storage.durable.log_format import Lap
from pyshard.storage.durable.log_retention import SavedLog, need_not_be_kept
from pyshard.storage.durable.write_ahead_log import KeptSegment, Segment
from pyshard.storage.follower_places import FollowedBound, FollowerPlaces

KEPT = [
    KeptSegment(Segment(Path(f"log-{last}"), Lap(b"", last - 10)), last, 100, since)
    for last, since in ((10, 1.0), (20, 2.0), (30, 3.0), (40, 4.0))
]
PLENTY = FollowedBound(1000, 1000)


@pytest.mark.parametrize(
    ("flushed", "needed", "bound", "now", "until"),
    [
        (40, None, PLENTY, 5, 40),
        (25, None, PLENTY, 5, 25),
        (40, 15, PLENTY, 5, 15),
        (12, 15, PLENTY, 5, 12),
        (40, 0, FollowedBound(400, 1000), 5, 0),
        (40, 0, FollowedBound(399, 1000), 5, 10),
        (40, 0, FollowedBound(200, 1000), 5, 20),
        (40, 0, FollowedBound(0, 1000), 5, 40),
        (25, 0, FollowedBound(0, 1000), 5, 20),
        (40, 0, FollowedBound(1000, 4), 5, 0),
        (40, 0, FollowedBound(1000, 4), 5.1, 10),
        (40, 0, FollowedBound(1000, 4), 7.1, 30),
        (40, 35, FollowedBound(1000, 4), 7.1, 35),
        (9, 0, FollowedBound(0, 0), 100, 0),
    ],
)
def test_what_need_not_be_kept(flushed: int, needed: int | None, bound: FollowedBound, now: float, until: int) -> None:
    """What LMDB lacks is always kept; what followers need, until it is too much or too old, the oldest first."""
    assert need_not_be_kept(KEPT, flushed, needed, bound, now) == until


def test_places() -> None:
    """The lowest place decides; one that is behind is given up, and nothing raises it again."""
    places = FollowerPlaces({"a": 5})
    assert (places.needed(), places.of("a"), places.of("b")) == (5, 5, None)
    places.follow("b", 3)
    places.confirm("a", 4)
    places.confirm("b", 7)
    places.confirm("c", 9)
    assert (places.by_name, places.needed()) == ({"a": 5, "b": 7}, 5)
    assert places.leave_behind(5) == []
    assert places.leave_behind(6) == ["a"]
    places.confirm("a", 8)
    assert places.by_name == {"b": 7}
    places.forget("b")
    places.forget("c")
    assert (places.by_name, places.needed()) == ({}, None)


def test_what_is_saved() -> None:
    """The number of files and the places, as MessagePack; nothing is saved of a new log."""
    saved = SavedLog(3, {"a": 5})
    assert saved.packed() == b"\x92\x03\x81\xa1a\x05"
    assert SavedLog.unpacked(saved.packed()) == saved
    assert SavedLog.unpacked(None) == SavedLog(2, {})
    with pytest.raises(ValueError, match="array"):
        SavedLog.unpacked(b"\x01")
