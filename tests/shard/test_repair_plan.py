"""Which buckets of a copy are fetched again, by value."""

from __future__ import annotations

import pytest

from pyshard.errors import BadRequest
from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import Change
from pyshard.protocol.row_digests import BucketDigest, RowDigests
from pyshard.shard import repair_plan
from pyshard.shard.repair_plan import RepairPortion, repair_portions

RANGES: SlotRanges = ((0, 6), (100, 106))  # twelve buckets of a slot


def digests(*slots: int, ranges: SlotRanges = RANGES) -> RowDigests:
    """Those of a row in each of some slots."""
    made = RowDigests(ranges, {0})
    made.add(Change(0, slot, b"%d" % number, 1, 0, b"") for number, slot in enumerate(slots))
    return made


def planned(mine: RowDigests, theirs: RowDigests) -> list[RepairPortion] | None:
    """What is fetched again."""
    return repair_portions(mine, theirs.buckets())


def test_only_what_differs() -> None:
    """Its slots, and no others; nothing where nothing does."""
    assert planned(digests(1, 2), digests(1, 2)) == []
    assert planned(digests(1), digests(1, 5)) == [RepairPortion(1, ((5, 6),))]
    assert planned(digests(1, 101), digests(1)) == [RepairPortion(1, ((101, 102),))]
    assert planned(digests(), digests(5, 100, 101)) == [RepairPortion(3, ((5, 6), (100, 102)))]


def test_too_much_differs() -> None:
    """A quarter of the buckets is fetched again, and with one more the copy is begun anew."""
    assert planned(digests(), digests(1, 2, 3)) is not None
    assert planned(digests(), digests(1, 2, 3, 4)) is None
    assert planned(digests(1, 2, 3, 4), digests()) is None
    assert planned(digests(ranges=((0, 3),)), digests(1, ranges=((0, 3),))) is None


def test_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of either side count, and a bucket is never divided."""
    monkeypatch.setattr(repair_plan, "_MOST_ROWS", 3)
    one, two = RepairPortion(1, ((1, 2),)), RepairPortion(1, ((2, 3),))
    assert planned(digests(), digests(1, 1, 2)) == [RepairPortion(2, ((1, 3),))]
    assert planned(digests(), digests(1, 1, 2, 2)) == [one, two]
    assert planned(digests(1, 1, 2, 2), digests()) == [one, two]
    assert planned(digests(1, 1), digests(2, 2)) == [one, two]
    assert planned(digests(), digests(*[1] * 9, 2, 3, 3)) == [one, RepairPortion(2, ((2, 4),))]


def test_few_ranges_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a question may have."""
    monkeypatch.setattr(repair_plan, "settings", type("Few", (), {"MAX_SHARD_RANGES": 2}))
    assert planned(digests(), digests(1, 3, 100)) == [
        RepairPortion(2, ((1, 2), (3, 4))),
        RepairPortion(1, ((100, 101),)),
    ]


def test_other_buckets() -> None:
    """What has other buckets can't be compared."""
    with pytest.raises(BadRequest, match="expected 12"):
        repair_portions(digests(), [BucketDigest(0, bytes(16))])
