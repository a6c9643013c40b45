"""Which slots move when a cluster grows, shrinks or is weighted anew: as few as can be."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pyshard.model.key_slots import SLOTS
from pyshard.model.range_plan import Layout, Transfer, least_moved, moved, proposed, slot_count, transfers
from pyshard.model.slot_ranges import EVERYTHING, SlotRanges, common, union

NAMES = ["a", "b", "c", "d", "e", "f"]


def equal(*names: str) -> dict[str, SlotRanges]:
    """A layout in which each shard has one range, all of one length."""
    bounds = [number * SLOTS // len(names) for number in range(len(names) + 1)]
    return {name: (bounds_of,) for name, bounds_of in zip(names, pairwise(bounds), strict=True)}


def weights(*names: str) -> dict[str, Fraction]:
    """Equal weights."""
    return dict.fromkeys(names, Fraction(1))


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, SlotRanges]:
    """Any layout: cuts, with a shard for what is between two of them."""
    cuts = sorted(draw(st.sets(st.integers(1, SLOTS - 1), max_size=12)))
    owners = draw(st.lists(st.sampled_from(NAMES), min_size=len(cuts) + 1, max_size=len(cuts) + 1))
    found: dict[str, SlotRanges] = {}
    for bounds, name in zip(pairwise([0, *cuts, SLOTS]), owners, strict=True):
        found[name] = union(found.get(name, ()), (bounds,))
    return found


any_weights = st.dictionaries(st.sampled_from(NAMES), st.fractions(0, 10, max_denominator=9), min_size=1).filter(
    lambda given: any(given.values())
)


def check(layout: Layout) -> None:
    """Each slot has one shard."""
    assert union(*layout.values()) == EVERYTHING
    assert sum(map(slot_count, layout.values())) == SLOTS


@given(layouts(), any_weights)
def test_least(now: Layout, wanted: Mapping[str, Fraction]) -> None:
    """Each shard gets its share, to a slot; none moves that needn't; and what moves is what the layouts differ in."""
    layout = proposed(now, wanted)
    check(layout)
    assert list(layout) == list(wanted)
    total = sum(wanted.values())
    for name, ranges in layout.items():
        assert abs(slot_count(ranges) - wanted[name] * SLOTS / total) < 1
    assert moved(transfers(now, layout)) == least_moved(now, layout)
    assert proposed(layout, wanted) == layout
    after = dict(now)
    for transfer in transfers(now, layout):
        assert common(after[transfer.source], transfer.ranges) == transfer.ranges
        assert transfer.source != transfer.target
    assert moved(transfers(now, layout)) == SLOTS - sum(
        slot_count(common(now[name], layout[name])) for name in now if name in layout
    )


@given(layouts(), layouts())
def test_transfers_are_what_each_pair_has_in_common(now: Layout, wanted: Layout) -> None:
    """As if each shard were compared with each other one, in their order."""
    assert transfers(now, wanted) == [
        Transfer(source, target, ranges)
        for source, owned in now.items()
        for target, claimed in wanted.items()
        if source != target and (ranges := common(owned, claimed))
    ]


def test_from_four_to_more() -> None:
    """From 4 equal shards to 6 a third moves, from 4 to 5 a fifth."""
    now = equal("a", "b", "c", "d")
    six = proposed(now, weights("a", "b", "c", "d", "e", "f"))
    assert abs(moved(transfers(now, six)) - SLOTS / 3) < 6
    five = proposed(now, weights("a", "b", "c", "d", "e"))
    assert moved(transfers(now, five)) == SLOTS // 5
    assert {name: len(ranges) for name, ranges in five.items()} == {"a": 1, "b": 1, "c": 1, "d": 1, "e": 4}


def test_nothing_moves_for_rounding() -> None:
    """Thirds, however they were rounded, are thirds."""
    third = SLOTS // 3
    for bounds in (
        [0, third, 2 * third, SLOTS],
        [0, third, 2 * third + 1, SLOTS],
        [0, third + 1, 2 * third + 1, SLOTS],
    ):
        now: Layout = {name: (one,) for name, one in zip("abc", pairwise(bounds), strict=True)}
        assert proposed(now, weights("a", "b", "c")) == now


def test_neighbors_move_their_border() -> None:
    """A shard that gets more takes it from its neighbor, so that both keep one range."""
    now = equal("a", "b")
    assert proposed(now, {"a": Fraction(3), "b": Fraction(2)}) == {
        "a": ((0, SLOTS * 3 // 5),),
        "b": ((SLOTS * 3 // 5, SLOTS),),
    }
    assert proposed(now, {"a": Fraction(2), "b": Fraction(3)}) == {
        "a": ((0, SLOTS * 2 // 5),),
        "b": ((SLOTS * 2 // 5, SLOTS),),
    }


def test_drained() -> None:
    """A shard that isn't wanted any more, or has no weight, gives all that it has."""
    now = equal("a", "b", "c", "d")
    layout = proposed(now, weights("a", "b", "d"))
    assert moved(transfers(now, layout)) == SLOTS // 4
    assert proposed(now, {**weights("a", "b", "d"), "c": Fraction(0)})["c"] == ()


def test_transfers_by_pairs() -> None:
    """All ranges that go from one shard to another are one transfer."""
    now: Layout = {"a": ((0, 10), (20, 30)), "b": ((10, 20), (30, SLOTS))}
    wanted: Layout = {"a": (), "b": ((0, 5), (10, SLOTS)), "c": ((5, 10),)}
    assert transfers(now, wanted) == [Transfer("a", "b", ((0, 5), (20, 30))), Transfer("a", "c", ((5, 10),))]
    assert moved(transfers(now, wanted)) == 20
    assert least_moved(now, wanted) == 20
