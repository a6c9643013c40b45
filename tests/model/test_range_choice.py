"""Which ranges go where when one is moved, or a shard is drained or split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.errors import InvalidArgument
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_choice import drain_transfers, range_transfers, split_transfers
from pyshard.model.range_plan import Transfer, slot_count
from pyshard.model.slot_ranges import SlotRanges, common, union
from pyshard.model.transfer_check import ShardLoad, documents_in

HALF = SLOTS // 2
LAYOUT: dict[str, SlotRanges] = {"a": ((0, HALF),), "b": ((HALF, SLOTS),), "c": ()}


def load(ranges: SlotRanges, *histogram: list[int]) -> ShardLoad:
    """A shard with these documents."""
    return ShardLoad(ranges, sum(map(sum, histogram)), 0, histogram, True)


def test_a_range() -> None:
    """It comes from each shard that has something of it, but not from the one that gets it."""
    assert range_transfers(LAYOUT, ((10, SLOTS - 10),), "c") == [
        Transfer("a", "c", ((10, HALF),)),
        Transfer("b", "c", ((HALF, SLOTS - 10),)),
    ]
    assert range_transfers(LAYOUT, ((10, SLOTS - 10),), "a") == [Transfer("b", "a", ((HALF, SLOTS - 10),))]
    assert range_transfers(LAYOUT, ((10, 20),), "a") == []


def test_drain() -> None:
    """Others get equal parts of what it has, or those that are named; nobody else gives or gets anything."""
    assert drain_transfers(LAYOUT, "a", ["b"]) == [Transfer("a", "b", ((0, HALF),))]
    found = drain_transfers(LAYOUT, "a", [])
    assert {one.source for one in found} == {"a"}
    assert [(one.target, slot_count(one.ranges)) for one in found] == [("b", HALF // 2), ("c", HALF // 2)]
    assert union(*(one.ranges for one in found)) == ((0, HALF),)
    assert drain_transfers(LAYOUT, "c", []) == []


@given(st.integers(1, 6), st.integers(1, 1000))
def test_drain_gives_equal_parts(others: int, slots: int) -> None:
    """They differ by a slot at the most, and nobody else's change."""
    layout: dict[str, SlotRanges] = {"a": ((0, slots),), "rest": ((slots, SLOTS),)}
    takers = [f"t{number}" for number in range(others)]
    found = drain_transfers(layout | dict.fromkeys(takers, ()), "a", takers)
    counts = [slot_count(one.ranges) for one in found] + [0] * (others - len(found))
    assert max(counts) - min(counts) <= 1
    assert union(*(one.ranges for one in found)) == ((0, slots),)
    assert {one.source for one in found} == {"a"}


def test_split() -> None:
    """Half of the documents goes, by the histogram; half of the slots without; or what lies behind a slot."""
    assert split_transfers(LAYOUT, "a", "c", None, None) == [Transfer("a", "c", ((HALF // 2, HALF),))]
    assert split_transfers(LAYOUT, "a", "c", None, load(((0, HALF),), [0, 0])) == [
        Transfer("a", "c", ((HALF // 2, HALF),))
    ]
    assert split_transfers(LAYOUT, "a", "c", None, load(((0, HALF),), [90, 10])) == [
        Transfer("a", "c", ((round(HALF / 2 * 50 / 90), HALF),))
    ]
    assert split_transfers(LAYOUT, "a", "c", 77, None) == [Transfer("a", "c", ((77, HALF),))]
    assert split_transfers({"a": ((0, 10), (20, 30)), "b": ()}, "a", "b", None, None) == [
        Transfer("a", "b", ((20, 30),))
    ]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.lists(st.integers(0, 50), min_size=1, max_size=8))
def test_split_in_halves(low: list[int], high: list[int]) -> None:
    """Both sides have about the same, and neither is empty."""
    owned: SlotRanges = ((1000, 9000), (20_000, 90_000))
    has = load(owned, low, high)
    [transfer] = split_transfers({"a": owned, "b": ()}, "a", "b", None, has)
    assert 0 < slot_count(transfer.ranges) < slot_count(owned)
    if has.documents:
        assert documents_in(has, transfer.ranges) == pytest.approx(has.documents / 2, abs=1)


def test_split_of_what_is_left() -> None:
    """What moves away already isn't halved once more."""
    has = load(((0, HALF),), [100, 100])
    [transfer] = split_transfers({"a": ((0, HALF // 2),), "b": ()}, "a", "b", None, has)
    assert transfer.ranges == ((HALF // 4, HALF // 2),)
    assert common(transfer.ranges, ((HALF // 2, HALF),)) == ()


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lambda: range_transfers(LAYOUT, ((0, 1),), "d"), "found shard 'd', expected one of the cluster: a, b, c"),
        (lambda: drain_transfers(LAYOUT, "d", []), "found shard 'd'"),
        (lambda: drain_transfers(LAYOUT, "a", ["b", "d"]), "found shard 'd'"),
        (lambda: drain_transfers(LAYOUT, "a", ["a"]), "can't be drained to itself"),
        (lambda: drain_transfers({"a": ((0, SLOTS),)}, "a", []), "is the only one"),
        (lambda: split_transfers(LAYOUT, "a", "d", None, None), "found shard 'd'"),
        (lambda: split_transfers(LAYOUT, "a", "a", None, None), "can't be split to itself"),
        (lambda: split_transfers(LAYOUT, "c", "a", None, None), "has no range that could be split"),
        (lambda: split_transfers(LAYOUT, "a", "c", HALF, None), "has nothing behind that hash"),
    ],
)
def test_what_cannot_be(choose: object, message: str) -> None:
    """It says why."""
    assert callable(choose)
    with pytest.raises(InvalidArgument, match=message):
        choose()
