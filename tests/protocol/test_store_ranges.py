"""What becomes of the slots of a store, decided by value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.errors import BadRequest
from pyshard.model.key_slots import SLOTS
from pyshard.model.slot_ranges import EVERYTHING, common, shown, union, without
from pyshard.protocol.store_ranges import LEFT, Origin, Seal, Staging, StoreRanges

HALF = SLOTS // 2
A, B, C, D = ((0, 100),), ((100, 200),), ((200, 300),), ((300, 400),)
FROM = Origin("1d", "2e")


def staged(ranges: StoreRanges, name: str = "m") -> StoreRanges:
    """With a complete copy of `B`."""
    return ranges.staging(name, B, FROM).absorbed(name, 7)


def test_at_first() -> None:
    """A store that was told nothing owns everything."""
    assert StoreRanges() == StoreRanges(EVERYTHING, {}, ())
    assert StoreRanges().hidden == ()


def test_a_copy_that_becomes_owned() -> None:
    """It is staged, complete, and owned; nothing of it is left over."""
    ranges = StoreRanges(A).staging("m", B, FROM)
    assert ranges == StoreRanges(A, {"m": Staging(B, FROM)})
    assert (ranges.hidden, ranges.hides(150), ranges.hides(50), ranges.hides(250)) == (B, "m", None, None)
    assert ranges.absorbed("m", 7).staged["m"].origin == Origin("1d", "2e", 7)
    assert staged(StoreRanges(A)).owning(union(A, B)) == StoreRanges(((0, 200),))


def test_what_moves_away_is_left_over() -> None:
    """It is hidden until its records are removed. A shard may own nothing at all."""
    ranges = StoreRanges(((0, 300),)).owning(union(A, C))
    assert ranges == StoreRanges((*A, *C), {}, B)
    assert ranges.hides(150) == LEFT
    assert ranges.owning(()) == StoreRanges((), {}, ((0, 300),))
    assert ranges.trimmed() == StoreRanges((*A, *C))
    assert ranges.owning(union(A, C)) == ranges


def test_a_copy_that_is_given_up() -> None:
    """What it has is left over, complete or not. To give it up again changes nothing."""
    ranges = staged(StoreRanges(A)).unstaged("m")
    assert ranges == StoreRanges(A, {}, B)
    assert ranges.unstaged("m") is ranges


@pytest.mark.parametrize(
    ("ranges", "wanted", "why"),
    [
        (StoreRanges(A, {}, B), union(A, B), r"found \[1e-05, 2e-05\), of which old records are being removed"),
        (StoreRanges(A).staging("m", B, FROM), union(A, B), "a copy of .* that isn't complete"),
        (staged(StoreRanges(A)), ((0, 150),), "expected all of a complete copy, or nothing of it"),
    ],
)
def test_what_can_not_be_owned(ranges: StoreRanges, wanted: tuple[tuple[int, int], ...], why: str) -> None:
    """Left over, a part of a copy, or a copy that isn't complete."""
    with pytest.raises(BadRequest, match=why):
        ranges.owning(wanted)


@pytest.mark.parametrize(
    ("ranges", "why"),
    [
        (StoreRanges(B), "which this store has"),
        (StoreRanges(A, {}, ((150, 160),)), "which this store has"),
        (StoreRanges(A).staging("other", ((199, 201),), FROM), "which this store has"),
        (StoreRanges(A).staging("m", C, FROM), "another copy of the name 'm'"),
        (StoreRanges(A).staging("m", B, Origin("1d", "other")), "another copy of the name 'm'"),
        (StoreRanges(A).staging("m", B, FROM), "the copy 'm' was begun before"),
    ],
)
def test_what_can_not_be_staged(ranges: StoreRanges, why: str) -> None:
    """A copy begins empty, so no slot of it may have records, or be staged already."""
    with pytest.raises(BadRequest, match=why):
        ranges.staging("m", B, FROM)
    with pytest.raises(BadRequest, match="no name or no range"):
        ranges.staging("", D, FROM)
    with pytest.raises(BadRequest, match="no name or no range"):
        ranges.staging("n", (), FROM)


def test_what_is_staged_again() -> None:
    """It stays as it is, with what it has absorbed."""
    ranges = staged(StoreRanges(A))
    assert ranges.staging("m", B, FROM) is ranges


def test_ranges_as_people_read_them() -> None:
    """Of many, the first ones."""
    assert shown(()) == "no slot"
    assert shown(((0, HALF),)) == "[0.0, 0.5)"
    assert shown(tuple((slot, slot + 1) for slot in range(0, 10, 2))).endswith(", 2 more")


cuts = st.tuples(st.integers(0, 8), st.integers(0, 8)).map(lambda cut: ((min(cut) * 50, max(cut) * 50),))
moves = st.lists(st.tuples(st.sampled_from(["own", "stage", "absorb", "unstage", "trim"]), cuts, st.booleans()))


@given(moves)
def test_each_slot_is_one_thing(todo: list[tuple[str, tuple[tuple[int, int], ...], bool]]) -> None:
    """Owned, staged and left never overlap, and what had records is never free until it is trimmed."""
    ranges = StoreRanges()
    for what, cut, more in todo:
        had = union(ranges.owned, ranges.hidden)
        try:
            if what == "own":
                ranges = ranges.owning(union(cut, ranges.owned) if more else cut)
            elif what == "stage":
                ranges = ranges.staging("m", cut, FROM)
            elif what == "absorb" and ranges.staged:
                ranges = ranges.absorbed("m", 5)
            elif what == "unstage":
                ranges = ranges.unstaged("m")
            elif what == "trim":
                had = without(had, ranges.left)
                ranges = ranges.trimmed()
        except BadRequest:
            pass
        parts = [ranges.owned, ranges.left, *(staging.ranges for staging in ranges.staged.values())]
        assert all(not common(one, other) for one in parts for other in parts if one is not other)
        assert not without(had, union(*parts))


def test_sealed() -> None:
    """What is sealed is owned, and isn't served, until it is taken back or given up."""
    ranges = StoreRanges(((0, 300),)).sealing("m", B, 1)
    assert ranges == StoreRanges(((0, 300),), {}, (), {"m": Seal(B, 1)})
    assert (ranges.served, ranges.hidden) == ((*A, *C), ())
    assert ranges.sealing("m", B, 1) == ranges
    assert ranges.sealing("m", B, 3).sealed == {"m": Seal(B, 3)}
    assert ranges.sealing("n", C, 1).served == A
    assert ranges.unsealed("m") == ranges.unsealed("m").unsealed("m") == StoreRanges(((0, 300),))
    assert ranges.owning(union(A, C)) == StoreRanges((*A, *C), {}, B)
    assert ranges.owning(((0, 150),)).sealed == {"m": Seal(((100, 150),), 1)}


def test_served_is_owned_where_nothing_is_sealed() -> None:
    """It is the same object, so that a batch is compared with it at once."""
    ranges = StoreRanges(A)
    assert ranges.served is ranges.owned


def test_a_seal_stays_with_copies() -> None:
    """What becomes of copies and left-overs doesn't open what is sealed."""
    ranges = StoreRanges(A).sealing("m", ((0, 50),), 2)
    seal = ranges.sealed
    steps = [ranges.staging("c", B, FROM)]
    steps.append(steps[-1].absorbed("c", 7))
    steps += [steps[-1].unstaged("c"), steps[-1].unstaged("c").trimmed(), steps[-1].owning(union(A, B))]
    assert [step.sealed for step in steps] == [seal] * len(steps)


@pytest.mark.parametrize(
    ("name", "wanted", "attempt", "why"),
    [
        ("m", B, 1, "found attempt 1 for .* where 'm' has attempt 2"),
        ("m", A, 3, "expected the same ranges"),
        ("n", ((150, 250),), 1, "isn't sealed for another move"),
        ("n", D, 1, "expected what this store owns"),
        ("n", (), 1, "found no slot"),
        ("", A, 1, "expected what this store owns"),
    ],
)
def test_what_can_not_be_sealed(name: str, wanted: tuple[tuple[int, int], ...], attempt: int, why: str) -> None:
    """An older attempt, other ranges, what isn't owned, what is sealed already, nothing, and nobody's."""
    with pytest.raises(BadRequest, match=why):
        StoreRanges(((0, 300),)).sealing("m", B, 2).sealing(name, wanted, attempt)
