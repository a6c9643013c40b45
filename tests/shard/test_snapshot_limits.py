"""Which snapshots a shard takes on, and which it ends: by value."""

from __future__ import annotations

import pytest

from pyshard.shard.snapshot_limits import SnapshotLimits, SnapshotPeer, SnapshotRests, heaviest, overdue, refusal

LIMITS = SnapshotLimits(most=4, per_address=2, idle=60, pace=1000, pins=500, admin_pins=4, rest=0.25, owed=2)
ADMIN = SnapshotPeer("a", admin=True)
A, B, C = (SnapshotPeer(address, admin=False) for address in "abc")
NOWHERE = SnapshotPeer(None, admin=False)


@pytest.mark.parametrize(
    ("others", "peer", "why"),
    [
        ([], A, ""),
        ([A], A, ""),
        ([A, A], A, "2 snapshots open for this address, the most it may have for one"),
        ([A, A], B, ""),
        ([A, A, B], B, "3 snapshots open, the most it may have for other roles than admin"),
        ([A, A, B], ADMIN, ""),
        ([A, A, ADMIN], B, "3 snapshots open, the most it may have for other roles than admin"),
        ([ADMIN, ADMIN], A, ""),
        ([ADMIN, ADMIN, ADMIN], ADMIN, ""),
        ([A, B, C, ADMIN], ADMIN, "4 snapshots open, the most it may have"),
        ([NOWHERE, NOWHERE], NOWHERE, "2 snapshots open for this address, the most it may have for one"),
    ],
)
def test_places(others: list[SnapshotPeer], peer: SnapshotPeer, why: str) -> None:
    """An address has a few places, others than admins all but one, and admins what is left."""
    assert refusal(others, peer, LIMITS) == why


@pytest.mark.parametrize(
    ("last_read", "given", "now", "left", "why"),
    [
        (100, 0, 100, 60, "nothing was read from it for 60 s"),
        (100, 0, 159, 1, "nothing was read from it for 60 s"),
        (100, 0, 161, -1, "nothing was read from it for 60 s"),
        (150, 9_000, 155, 14, "it was read too slowly, 9,000 bytes in 55 s, expected at least 1,000 a second"),
        (150, 9_000, 170, -1, "it was read too slowly, 9,000 bytes in 70 s, expected at least 1,000 a second"),
        (150, 10**9, 170, 40, "nothing was read from it for 60 s"),
    ],
)
def test_time(last_read: float, given: int, now: float, left: float, why: str) -> None:
    """It is read from within a minute, and after the first one at a pace; what was read early counts for later."""
    assert overdue(100, last_read, given, now, LIMITS) == (left, why)


@pytest.mark.parametrize(
    ("pinned", "used", "ended"),
    [
        ({}, 0, None),
        ({"1": (A, 500)}, 0, None),
        ({"1": (A, 501)}, 0, "1"),
        ({"1": (A, 501)}, 501, None),
        ({"1": (A, 200), "2": (B, 301)}, 0, "2"),
        ({"1": (ADMIN, 2000), "2": (A, 500)}, 0, None),
        ({"1": (ADMIN, 2001), "2": (A, 500)}, 0, "1"),
        ({"1": (ADMIN, 2000), "2": (A, 501)}, 0, "2"),
        ({"1": (ADMIN, 4000)}, 1000, None),
    ],
)
def test_what_is_kept(pinned: dict[str, tuple[SnapshotPeer, int]], used: int, ended: str | None) -> None:
    """So much is kept for all of a kind together, or as much as is in use; the one that costs most ends."""
    found = heaviest(pinned, used, LIMITS)
    assert (None if found is None else found[0]) == ended
    if found is not None:
        admin = pinned[found[0]][0].admin
        assert ("or with a token of role admin" in found[1]) is not admin
        assert f"more than {2000 if admin else 500:,} bytes of old documents" in found[1]


def test_rests() -> None:
    """By what was kept for the last snapshots of an address it has no further one, but for two seconds of that."""
    rests = SnapshotRests(LIMITS)
    rests.ended(A, 8, opened=100, now=100)
    assert rests.refusal(A, 100) == ""
    rests.ended(A, 8, opened=100, now=101)
    for now, seconds in ((101, "1.0"), (101.5, "0.5")):
        assert rests.refusal(A, now) == (
            f"kept many documents for the last snapshots of this address, the next one can be had in {seconds} s"
        )
    assert (rests.refusal(A, 102), rests.refusal(B, 101), len(rests)) == ("", "", 1)


def test_rests_that_are_over() -> None:
    """Time in which a snapshot was open counts; nothing is remembered of addresses that owe nothing, nor of admins."""
    rests = SnapshotRests(LIMITS)
    rests.ended(A, 40, opened=100, now=110)
    rests.ended(ADMIN, 1000, opened=100, now=110)
    rests.ended(B, 0, opened=110, now=110)
    assert len(rests) == 0
    rests.ended(A, 100, opened=100, now=110)
    assert (len(rests), rests.refusal(A, 110) != "", rests.refusal(ADMIN, 110)) == (1, True, "")
    rests.ended(B, 100, opened=130, now=140)
    assert (len(rests), rests.refusal(A, 140)) == (1, "")
