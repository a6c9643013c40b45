"""Counts of hidden records, compared with a count of them one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from work import growth

from pyshard.errors import BadRequest
from pyshard.model.key_slots import SLOTS
from pyshard.model.slot_ranges import SlotRanges, in_ranges, union, without
from pyshard.protocol.store_ranges import Origin, StoreRanges
from pyshard.storage.hidden_counts import HiddenCounts, tallies_of
from pyshard.storage.slot_histogram import BUCKET_BITS, BUCKETS, histogram, new_bucket_counts

_STEP = 5_000  # slots: some bounds lie within a bucket

cuts = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(lambda cut: ((min(cut) * _STEP, max(cut) * _STEP),))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("own"), cuts),
        st.tuples(st.sampled_from(["own more", "own uncounted"]), cuts),
        st.tuples(st.just("stage"), cuts),
        st.tuples(st.sampled_from(["absorb", "unstage", "count", "trim", "drop", "copy"]), st.just(())),
        st.tuples(st.just("put"), st.tuples(st.integers(1, 2), st.integers(0, 6 * _STEP - 1))),
        st.tuples(st.just("remove"), st.tuples(st.integers(1, 2), st.integers(0, 6 * _STEP - 1))),
    ),
    max_size=30,
)


class Recounted:
    """Records of a store, one by one, and what `HiddenCounts` makes of them."""

    def __init__(self) -> None:
        self.records: dict[tuple[int, int], int] = {}  # index and slot → used
        self.counts = HiddenCounts()

    def tell(self, ranges: StoreRanges, counted: bool = True) -> None:
        """Have other ranges; what is given up is counted, or isn't yet."""
        given_up = tallies_of(self.records_in(self.counts.ranges.given_up(ranges.owned))) if counted else None
        self.counts.set_ranges(ranges, self.records_in, given_up)

    def records_in(self, ranges: SlotRanges) -> list[tuple[int, int, int]]:
        """Index, slot and used bytes of the records in some ranges."""
        return [(*place, used) for place, used in self.records.items() if in_ranges(place[1], ranges)]

    def hidden(self, staged: bool = True) -> dict[tuple[int, int], int]:
        """The records that are hidden, and counted."""
        ranges = self.counts.ranges
        found = without(ranges.hidden if staged else ranges.left, self.counts.uncounted)
        return {place: used for place, used in self.records.items() if in_ranges(place[1], found)}

    def check(self) -> None:
        """Compare."""
        hidden, counts = self.hidden(), self.counts
        assert counts.documents() == len(hidden)
        for index in (1, 2):
            assert counts.documents(index) == sum(1 for number, _ in hidden if number == index)
        assert counts.used() == sum(hidden.values())
        assert counts.used(staged=False) == sum(self.hidden(staged=False).values())
        buckets = new_bucket_counts()
        expected = Counter(slot >> BUCKET_BITS for _, slot in self.records.keys() - hidden.keys())
        for _, slot in self.records:
            buckets[slot >> BUCKET_BITS] += 1
        bars = histogram(buckets, 0, (BUCKETS - 1) << BUCKET_BITS, BUCKETS - 1, counts.buckets)
        assert bars == [expected[bucket] for bucket in range(BUCKETS - 1)]
        assert counts.nothing_is_left() == (not self.hidden(staged=False) and not counts.uncounted)
        assert not without(counts.uncounted, counts.ranges.left)


@given(steps)
def test_hidden_counts(todo: list[tuple[str, Any]]) -> None:
    """Whatever happens to records and ranges, the counts are those of what is hidden, and isn't still to be counted."""
    store = Recounted()
    for what, how in todo:
        ranges, counts = store.counts.ranges, store.counts
        try:
            if what.startswith("own"):
                owned = union(how, ranges.owned) if what == "own more" else how
                store.tell(ranges.owning(owned), counted=what != "own uncounted")
            elif what == "count" and counts.uncounted:
                counts.count_left(tallies_of(store.records_in(counts.uncounted)))
            elif what == "stage":
                store.tell(ranges.staging("m", how, Origin("1d", "2e")))
            elif what == "absorb" and ranges.staged:
                store.tell(ranges.absorbed("m", 5))
            elif what == "unstage":
                store.tell(ranges.unstaged("m"))
            elif what == "trim" and not counts.uncounted:
                for place, used in store.hidden(staged=False).items():
                    counts.note(*place, -1, -used)
                    del store.records[place]
                store.tell(ranges.trimmed())
            elif what == "drop":
                counts.drop_index(1)
                store.records = {place: used for place, used in store.records.items() if place[0] != 1}
            elif what == "copy":
                store.counts = counts.copy()
                store.counts.note(1, 0, 5, 5)  # of a copy that comes to nothing
                store.counts = counts
            elif what == "put":
                new = how not in store.records
                store.records[how] = store.records.get(how, 0) + 10
                counts.note(how[0], how[1], int(new), 10)
            elif what == "remove" and how in store.records:
                counts.note(how[0], how[1], -1, -store.records.pop(how))
        except BadRequest:
            pass
        store.check()


def many_hidden(indexes: int) -> HiddenCounts:
    """The counts of so many indexes, with a document in each of some buckets."""
    counts = HiddenCounts()
    records = [(index, bucket << BUCKET_BITS, 7) for index in range(indexes) for bucket in range(20)]
    counts.set_ranges(StoreRanges(((0, 5),), left=((5, SLOTS),)), lambda _: (), tallies_of(records))
    return counts


@pytest.mark.parametrize(
    "ask",
    [
        lambda counts: counts.used(staged=False),
        lambda counts: counts.used(),
        lambda counts: counts.documents(),
        lambda counts: counts.documents(3),
        lambda counts: histogram(new_bucket_counts(b"\1\0\0\0" * BUCKETS), 0, SLOTS // 9, 20, counts.buckets),
        lambda counts: counts.copy().note(3, 200_000, -1, -7),
    ],
)
def test_no_question_looks_at_all_indexes(ask: Callable[[HiddenCounts], object]) -> None:
    """What each batch asks, and what `stat` asks for each range and index, takes no longer where there are many."""

    def prepared(indexes: int) -> Callable[[], object]:
        counts = many_hidden(indexes)
        return lambda: ask(counts)

    assert growth(prepared, 50) < 1.5
