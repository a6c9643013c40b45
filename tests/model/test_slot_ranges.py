"""Ranges of slots as sets, compared with sets of slots."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from work import steps

from pyshard.model.key_slots import SLOTS
from pyshard.model.slot_ranges import (
    EVERYTHING,
    SlotRanges,
    common,
    holds_all,
    in_ranges,
    positions_in,
    range_with,
    union,
    without,
)

_FEW = 24  # slots that tests use, at either end of the keyspace

some_ranges = st.lists(st.tuples(st.integers(0, _FEW), st.integers(0, _FEW)), max_size=4).map(tuple)
some_slots = st.lists(st.integers(0, _FEW), max_size=5)


def slots_of(ranges: SlotRanges) -> set[int]:
    """The slots of ranges, one by one."""
    return {slot for start, end in ranges for slot in range(start, end)}


def in_order(ranges: SlotRanges) -> bool:
    """Whether ranges are in order, not empty, and apart."""
    bounds = [bound for one in ranges for bound in one]
    return bounds == sorted(set(bounds))


@given(some_ranges, some_ranges)
def test_as_sets(one: SlotRanges, other: SlotRanges) -> None:
    """Each function gives what it gives of sets, in order and without ranges that touch."""
    assert slots_of(union(one, other)) == slots_of(one) | slots_of(other)
    assert slots_of(common(one, other)) == slots_of(one) & slots_of(other)
    assert slots_of(without(one, other)) == slots_of(one) - slots_of(other)
    assert all(map(in_order, (union(one, other), common(one, other), without(one, other))))


@given(some_ranges, some_slots)
def test_slots_in_ranges(ranges: SlotRanges, slots: list[int]) -> None:
    """A slot is in ranges if one of them has it; many are if each is."""
    expected = [slot in slots_of(ranges) for slot in slots]
    assert [in_ranges(slot, union(ranges)) for slot in slots] == expected
    assert positions_in(slots, union(ranges)) == [place for place, inside in enumerate(expected) if inside]
    assert holds_all(union(ranges), slots) == slots_of(ranges).issuperset(slots)


def test_the_whole_keyspace() -> None:
    """It has each slot, and nothing is beyond it."""
    assert holds_all(EVERYTHING, [0, SLOTS - 1])
    assert not in_ranges(SLOTS, EVERYTHING)
    assert in_ranges(SLOTS - 1, None)
    assert without(EVERYTHING, ((0, 5), (7, SLOTS))) == ((5, 7),)
    assert without(EVERYTHING, EVERYTHING) == ()
    assert union(((3, 5), (0, 3), (4, 4))) == ((0, 5),)


@given(some_ranges, st.integers(0, _FEW))
def test_the_range_that_has_a_slot(ranges: SlotRanges, slot: int) -> None:
    """It is the one, if there is one; also where a range ends with the keyspace."""
    wanted = [one for one in union(ranges) if one[0] <= slot < one[1]]
    assert range_with(slot, union(ranges)) == (wanted[0] if wanted else None)
    assert range_with(SLOTS - 1, union(ranges, ((SLOTS - 1, SLOTS),))) == (SLOTS - 1, SLOTS)


def test_work_of_a_few_slots() -> None:
    """A batch may have a thousand runs: a look at two slots hardly takes more where there are many ranges."""
    few, many = (tuple((2 * start, 2 * start + 1) for start in range(count)) for count in (10, 1000))
    for look in (positions_in, lambda slots, ranges: holds_all(ranges, slots)):
        assert steps(lambda look=look: look([4, 15], many)) < 2 * steps(lambda look=look: look([4, 15], few))  # type: ignore[misc]
