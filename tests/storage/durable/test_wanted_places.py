"""What is wanted of many indexes and ranges is found without asking for each pair of them, and all of it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import PLENTY, Bench, at_once, folder
from work import growth

from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import SlotRanges, in_ranges, union
from pyshard.protocol.batch_operations import Write
from pyshard.protocol.store_ranges import Origin, StoreRanges
from pyshard.storage import LmdbStore, Task
from pyshard.storage.durable import hidden_records
from pyshard.storage.durable.hidden_records import records_between
from pyshard.storage.durable.lmdb_encoding import PREFIX, database_key
from pyshard.storage.durable.wanted_places import WantedPlaces
from pyshard.storage.hidden_counts import HiddenCounts

bounds = st.lists(st.integers(0, 40), min_size=2, max_size=8, unique=True).map(sorted)
some_ranges = bounds.map(lambda found: union(tuple(pairwise(found))[::2]))


@given(st.lists(st.integers(0, 5), unique=True).map(sorted), some_ranges, st.integers(0, 6), st.integers(0, 41))
def test_the_next_span(indexes: list[int], ranges: SlotRanges, index: int, slot: int) -> None:
    """It is the first of all pairs that ends behind the place."""
    place = PREFIX.pack(index, slot)
    spans = [(PREFIX.pack(number, start), PREFIX.pack(number, end)) for number in indexes for start, end in ranges]
    wanted = WantedPlaces(indexes, ranges)
    for begin in (place, place + b"\0key", place[:6]):
        assert wanted.span_at(begin) == next((span for span in spans if begin < span[1]), None)
    assert wanted.behind == (spans[-1][1] if spans else b"")


def test_nothing_is_wanted() -> None:
    """Without a range, or an index, there is no span."""
    assert WantedPlaces([], ((1, 2),)).span_at(b"") is None
    assert WantedPlaces([1], ()).span_at(b"") is None


# ---------------------------------------------------------------------- records


@pytest.fixture
def opened() -> Iterator[list[LmdbStore]]:
    """Where stores are put that are closed in the end."""
    stores: list[LmdbStore] = []
    yield stores
    for store in stores:
        at_once(store.close())


def filled(indexes: int, documents: int, flush: bool) -> LmdbStore:
    """A durable store with as many documents in each index."""
    with folder() as path:
        store = Bench("lmdb", path).store
        assert isinstance(store, LmdbStore)
        at_once(store.set_indexes({f"i{number}": number for number in range(1, indexes)}))
        for number in range(indexes):
            name = f"i{number}" if number else ""
            keys = [b"%d" % each for each in range(documents)]
            run = Write(name, keys, [b"1"] * documents)
            slots = [slot_of(key, name.encode()) for key in keys]
            at_once(store.apply([Task(run, number, slots)], PLENTY, PLENTY))
        if flush:
            store._engine.flush_all()
        return store


def every_other(count: int) -> SlotRanges:
    """So many ranges with as much between them."""
    width = SLOTS // (2 * count)
    return tuple((2 * number * width, (2 * number + 1) * width) for number in range(count))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 30), st.booleans(), some_ranges, st.integers(1, 4), st.binary(max_size=9))
def test_all_records_in_some_ranges(
    indexes: int, documents: int, flush: bool, ranges: SlotRanges, in_vain: int, place: bytes
) -> None:
    """Each is found once, in order, from any place on, however few others are walked through."""
    store = filled(indexes, documents, flush)
    ranges = tuple((start * SLOTS // 41, end * SLOTS // 41) for start, end in ranges)
    everything = sorted(
        database_key(number, slot_of(b"%d" % each, b"i%d" % number if number else b""), b"%d" % each)
        for number in range(indexes)
        for each in range(documents)
    )
    with pytest.MonkeyPatch.context() as patched, store._engine.reading() as view:
        patched.setattr(hidden_records, "_IN_VAIN", in_vain)
        found = [*records_between(view, store._engine.counters, ranges, place)]
    expected = [key for key in everything if key >= place and in_ranges(PREFIX.unpack_from(key)[1], ranges)]
    assert [key for key, value in found if value is not None] == expected
    assert [key for key, _ in found] == sorted({key for key, _ in found})
    at_once(store.close())


def stage(store: LmdbStore, ranges: SlotRanges) -> Callable[[], object]:
    """Begin a copy of other ranges than those that the store owns."""
    at_once(store.count_ahead(ranges, PLENTY))
    at_once(store.own(ranges))
    at_once(store.sweep(PLENTY))
    others = tuple((end, end + 9) for _, end in ranges)
    return lambda: at_once(store.stage("m", others, Origin("2e", "2e")))


def trim(store: LmdbStore, ranges: SlotRanges) -> Callable[[], object]:
    """Remove some of what is left over."""
    at_once(store.count_ahead(ranges, PLENTY))
    at_once(store.own(ranges))
    return lambda: at_once(store.sweep(1000))


def count_ahead(store: LmdbStore, ranges: SlotRanges) -> Callable[[], object]:
    """Count some of what may be given up."""
    return lambda: at_once(store.count_ahead(ranges, 1000))


def snapshot(store: LmdbStore, ranges: SlotRanges) -> Callable[[], object]:
    """Read a page of a snapshot."""
    at_once(store.count_ahead(ranges, PLENTY))
    at_once(store.own(ranges))
    taken = store.snapshot()
    return lambda: taken.page(PLENTY, 1000)


def copy(store: LmdbStore, ranges: SlotRanges) -> Callable[[], object]:
    """Read a page of a copy."""
    taken = at_once(store.copy(None, ranges))
    return lambda: taken.page(PLENTY, 1000)


@pytest.mark.parametrize("prepare", [stage, trim, count_ahead, snapshot, copy])
def test_no_step_looks_at_each_range_of_each_index(
    prepare: Callable[[LmdbStore, SlotRanges], Callable[[], object]], opened: list[LmdbStore]
) -> None:
    """With four times as many indexes, and ranges, a step does no more than four times as much."""

    def prepared(count: int) -> Callable[[], object]:
        opened.append(filled(count, 2, flush=True))
        return prepare(opened[-1], every_other(count))

    assert growth(prepared, 15) < 5


def test_what_was_nobodys_is_not_counted() -> None:
    """A copy that is begun has no records. One in the place of what was there has those that are counted there."""
    asked: list[SlotRanges] = []

    def records(ranges: SlotRanges) -> list[tuple[int, int, int]]:
        asked.append(ranges)
        return [(0, 6, 7)]

    counts, origin = HiddenCounts(StoreRanges(((0, 10),), left=((20, 30),))), Origin("2e", "2e")
    counts.set_ranges(counts.ranges.staging("m", ((10, 20), (30, 40)), origin), records)
    assert (asked, counts.documents()) == ([], 0)
    counts.set_ranges(StoreRanges(((0, 5),), StoreRanges(()).staging("n", ((5, 15),), origin).staged), records)
    assert asked == [((5, 15),)]
    counts.set_ranges(StoreRanges(()).staging("o", ((0, 7),), origin), records)
    assert asked[1:] == [((0, 7),)]
    counts.set_ranges(StoreRanges(()).staging("p", ((6, 9),), origin), records)
    assert asked[2:] == [((6, 7),)]
    assert (counts.documents(), counts.used()) == (1, 7)
