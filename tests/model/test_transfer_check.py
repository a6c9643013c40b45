"""Whether shards can give and take what a plan has move."""

from __future__ import annotations

from itertools import pairwise

import attrs
import msgspec
import pytest
from hypothesis import given as examples
from hypothesis import strategies as st
from work import steps

from pyshard.errors import BadRequest
from pyshard.model.bounded_json import decode_json
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Phase, RangeMove, StoreId
from pyshard.model.range_plan import Transfer
from pyshard.model.slot_ranges import SlotRanges, common
from pyshard.model.transfer_check import (
    ShardLoad,
    ShardStatistics,
    bytes_in,
    check_transfers,
    documents_in,
    on_their_way,
)
from pyshard.settings import settings

LOAD = ShardLoad(((0, 100), (200, 300)), 60, 6000, [[10, 20], [30, 0]], keeps=True)
EMPTY = ShardLoad((), 0, 0, [], keeps=True)
LIMITS = {"a": 10_000, "b": 10_000, "c": 4000}

A, B = StoreId("1d", "a"), StoreId("2d", "b")


@pytest.mark.parametrize(
    ("ranges", "documents"),
    [
        (((0, 100), (200, 300)), 60),
        (((0, 50),), 10),
        (((0, 25),), 5),
        (((50, 225),), 35),
        (((225, 300),), 15),
        (((100, 200),), 0),
        ((), 0),
    ],
)
def test_documents_by_the_histogram(ranges: tuple[tuple[int, int], ...], documents: float) -> None:
    """Each bar counts by the part of its slots, and bytes go with documents."""
    assert documents_in(LOAD, ranges) == documents
    assert bytes_in(LOAD, ranges) == documents * 100


def test_nothing_is_there() -> None:
    """An empty shard has nothing; a histogram with more bars than slots counts each slot once."""
    assert bytes_in(EMPTY, ((0, 100),)) == 0
    assert documents_in(ShardLoad(((5, 7),), 3, 1, [[0, 1, 0, 2]], keeps=True), ((5, 7),)) == 3


def counted_plainly(load: ShardLoad, ranges: SlotRanges) -> float:
    """Each bar by the part of its slots that lies in the ranges."""
    found = 0.0
    for (start, end), bars in zip(load.ranges, load.histogram, strict=False):
        for number, documents in enumerate(bars):
            bar = start + (end - start) * number // len(bars), start + (end - start) * (number + 1) // len(bars)
            slots = sum(behind - first for first, behind in common((bar,), ranges))
            found += documents * slots / (bar[1] - bar[0]) if bar[0] < bar[1] else 0
    return found


bounds = st.lists(st.integers(0, 60), max_size=12).map(sorted)
some_ranges = bounds.map(lambda found: tuple(zip(found[::2], found[1::2], strict=False)))


@examples(some_ranges, st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=6), some_ranges)
def test_documents_as_counted_plainly(owned: SlotRanges, histogram: list[list[int]], ranges: SlotRanges) -> None:
    """Whatever a shard owns, also if its histogram is that of other ranges."""
    load = ShardLoad(owned, 1, 1, histogram, keeps=True)
    assert documents_in(load, ranges) == pytest.approx(counted_plainly(load, ranges))


def test_work_of_a_large_plan() -> None:
    """A histogram is gone through once, however many transfers there are from its shard."""
    owned = tuple((number * 100, number * 100 + 90) for number in range(settings.MAX_SHARD_RANGES))
    ranges = [((start, start + 50),) for start, _ in owned]

    def work(transfers: int) -> int:
        def check() -> None:
            loads = {"a": ShardLoad(owned, 10**4, 10, [[1] * settings.HISTOGRAM_BARS] * len(owned), True), "c": EMPTY}
            check_transfers([Transfer("a", "c", taken) for taken in ranges[:transfers]], loads, LIMITS)

        return steps(check)

    assert work(1000) < 2 * work(1)


@pytest.mark.parametrize(
    ("ranges", "histogram", "why"),
    [
        ([(0.1, 0.2)] * 1001, [], "length <= 1000"),
        ([], [[]] * 1001, "length <= 1000"),
        ([(0.1, 0.2)], [[1] * (settings.HISTOGRAM_BARS + 1)], "length <= 10"),
        ([(0.1, 0.3), (0.2, 0.4)], [], "overlap, or aren't in order"),
        ([(0.3, 0.4), (0.1, 0.2)], [], "overlap, or aren't in order"),
        ([(0.2, 0.1)], [], "overlap, or aren't in order"),
    ],
)
def test_more_than_a_shard_has(ranges: list[tuple[float, float]], histogram: list[list[int]], why: str) -> None:
    """Statistics that no shard of ours has are refused, before anything is counted by them."""
    text = msgspec.json.encode(ShardStatistics(1, 1, True, [], []))
    fields = msgspec.json.decode(text) | {"ranges": ranges, "histogram": histogram}
    with pytest.raises(BadRequest, match=why):
        decode_json(msgspec.json.encode(fields), ShardStatistics, "statistics")


def test_as_much_as_a_shard_has() -> None:
    """The most ranges and bars are read, and ranges may touch."""
    bounds = [number / 1000 for number in range(settings.MAX_SHARD_RANGES + 1)]
    given = ShardStatistics(10**4, 1, True, [*pairwise(bounds)], [[1] * settings.HISTOGRAM_BARS] * 1000)
    load = decode_json(msgspec.json.encode(given), ShardStatistics, "statistics").load()
    assert documents_in(load, ((0, SLOTS),)) == 10**4
    assert documents_in(load, ((0, SLOTS // 4),)) == 2500


def test_room() -> None:
    """What comes to a target from all sources must fit beside what it has."""
    loads = {"a": LOAD, "b": LOAD, "c": EMPTY}
    check_transfers([Transfer("a", "c", ((0, 50),)), Transfer("b", "c", ((200, 250),))], loads, LIMITS)
    with pytest.raises(BadRequest, match="'c' has room for 4,000 bytes, and is to get about 5,000; raise its size"):
        check_transfers([Transfer("a", "c", ((50, 100),)), Transfer("b", "c", ((200, 250),))], loads, LIMITS)
    with pytest.raises(BadRequest, match="'c' has room for 0 bytes"):
        check_transfers([Transfer("a", "c", ((0, 1),))], loads | {"c": attrs.evolve(EMPTY, size=5000)}, LIMITS)
    check_transfers(
        [Transfer("a", "c", ((0, 1),))], loads | {"c": attrs.evolve(EMPTY, size=5000)}, LIMITS | {"c": 5100}
    )


def test_a_shard_that_has_left() -> None:
    """It is refused by its name, whether it was to give or to take."""
    loads = {"a": LOAD, "c": EMPTY}
    for gone in "ac":
        limits = {name: limit for name, limit in LIMITS.items() if name != gone}
        with pytest.raises(
            BadRequest, match=f"^shard '{gone}' has left the cluster meanwhile; look at the plan again$"
        ):
            check_transfers([Transfer("a", "c", ((0, 1),))], loads, limits)


def test_what_is_on_its_way() -> None:
    """Moves to a target that are planned or under way take its room, too; ended ones, and others, don't."""
    planned = RangeMove(1, "a", "c", ((0, 50),))
    copying = RangeMove(2, "b", "c", ((200, 250),), A, B, Phase.COPYING)
    ended = [RangeMove(3, "a", "c", ((60, 70),), A, B, phase) for phase in (Phase.COMMITTED, Phase.CANCELLED)]
    elsewhere = RangeMove(4, "a", "b", ((80, 90),))
    assert on_their_way([planned, copying, *ended, elsewhere], {"c"}) == [
        Transfer("a", "c", ((0, 50),)),
        Transfer("b", "c", ((200, 250),)),
    ]


def test_durability() -> None:
    """What is on a disk doesn't go to a shard in memory; the other way round it may."""
    memory = attrs.evolve(EMPTY, keeps=False)
    check_transfers([Transfer("a", "c", ((0, 50),))], {"a": attrs.evolve(LOAD, keeps=False), "c": EMPTY}, LIMITS)
    check_transfers([Transfer("a", "c", ((0, 50),))], {"a": attrs.evolve(LOAD, keeps=False), "c": memory}, LIMITS)
    with pytest.raises(BadRequest, match="'c' keeps its documents in memory, and 'a' on a disk; start"):
        check_transfers([Transfer("a", "c", ((0, 50),))], {"a": LOAD, "c": memory}, LIMITS)
