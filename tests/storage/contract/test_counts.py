"""What every store counts and keeps beside records: the histogram, the text to remember, its identity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage.contract.samples import key_sets
from stores import FAST_KINDS, INDEXES, Bench, prepared, weight

from pyshard.errors import IndexNotFound
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_operations import Remove


@pytest.mark.parametrize("kind", FAST_KINDS)
@given(key_sets, st.integers(1, 20), st.integers(0, SLOTS - 1), st.integers(1, SLOTS))
def test_histogram(kind: str, keys: set[bytes], bars: int, start: int, length: int) -> None:
    """The bars hold all documents of all indexes, each at most 8,192 slots from its place."""
    end = min(start + length, SLOTS)
    own = [key for key in keys if start <= slot_of(key) < end]
    pages = [key for key in keys if start <= slot_of(key, b"pages") < end]
    slots = [slot_of(key) for key in own] + [slot_of(key, b"pages") for key in pages]
    with prepared(kind) as bench:
        bench.fill(dict.fromkeys(own, b""))
        bench.fill(dict.fromkeys(pages, b""), "pages")
        counts = bench.store.histogram(start, end, bars)
        assert sum(counts) == bench.store.documents == len(slots)
    assert len(counts) == bars
    check_bars(counts, slots, start, end)


def check_bars(counts: list[int], slots: list[int], start: int, end: int) -> None:
    """Each document counts in a bar that is at most 8,192 slots away from it."""
    for bar in range(len(counts)):
        bound = start + (end - start) * (bar + 1) / len(counts)
        assert sum(counts[: bar + 1]) >= sum(slot < bound - 8192 for slot in slots)
        assert sum(counts[bar + 1 :]) >= sum(slot >= bound + 8192 for slot in slots)


def test_histogram_of_a_small_range(bench: Bench) -> None:
    """Bars that are as narrow as the bounds may be off are still right to that measure."""
    end = 40 * 8192
    keys = [key for key in (b"%d" % each for each in range(30_000)) if slot_of(key) < end]
    bench.fill(dict.fromkeys(keys, b""))
    counts = bench.store.histogram(0, end, 40)
    assert sum(counts) == len(keys) > 900
    check_bars(counts, [slot_of(key) for key in keys], 0, end)


def test_histogram_at_the_ends(bench: Bench) -> None:
    """Documents at the very ends of the range asked for count in the first and the last bar."""
    keys = [b"%d" % each for each in range(400)]
    for key in keys:
        slot = slot_of(key)
        bench.fill({key: b""})
        if 8192 * 3 < slot < SLOTS - 8192 * 3:  # bars that are wider than their bounds may be off
            assert bench.store.histogram(slot, SLOTS, 3) == [1, 0, 0]
            assert bench.store.histogram(0, slot + 1, 3) == [0, 0, 1]
        for start, end in ((slot, SLOTS), (0, slot + 1), (slot, slot + 1)):
            assert sum(bench.store.histogram(start, end, 3)) == 1
        bench.answers(Remove("", [key]))


def test_histogram_after_removing(bench: Bench) -> None:
    """Documents that were removed don't count."""
    keys = [b"%d" % each for each in range(1000)]
    bench.fill(dict.fromkeys(keys, b""))
    bench.answers(Remove("", keys[:900]))
    assert sum(bench.store.histogram(0, SLOTS, 10)) == 100


def test_count(bench: Bench) -> None:
    """Each index counts its own documents; one that expires counts until it is swept away."""

    def counts() -> list[int]:
        return [bench.store.count(INDEXES[index]) for index in ("", "pages", "links")]

    bench.fill({b"a": b"", b"b": b"", b"c": b""})
    bench.fill({b"a": b"", b"b": b""}, "pages", ttl=1000)
    bench.fill({b"a": b"new"})
    assert counts() == [3, 2, 0]
    bench.answers(Remove("", [b"a", b"x"]), Remove("pages", [b"a"]))
    assert counts() == [2, 1, 0]
    bench.clock.advance(1)
    assert counts() == [2, 1, 0]
    bench.sweep()
    assert counts() == [2, 0, 0]
    with pytest.raises(IndexNotFound, match=r"id 3 "):
        bench.store.count(INDEXES["gone"])


def test_count_of_a_dropped_index(bench: Bench) -> None:
    """An index that is dropped can't be counted from then on, and one that comes in its place begins with nothing."""
    bench.fill({b"a": b""}, "pages")
    bench.result(bench.store.set_indexes({"pages": 7}))
    assert (bench.store.count(7), bench.store.documents) == (0, 0)
    with pytest.raises(IndexNotFound):
        bench.store.count(INDEXES["pages"])


def test_remember(bench: Bench) -> None:
    """`recall` gives the text last given to `remember`; it takes no room."""
    bench.result(bench.store.remember(b"first"))
    bench.result(bench.store.remember(b""))
    assert bench.store.recall() == b""
    bench.result(bench.store.remember(b"last \x00"))
    bench.fill({b"a": b"one"})
    bench.result(bench.store.set_indexes({}))
    assert bench.store.recall() == b"last \x00"
    assert bench.store.used == weight(b"a", b"one")


def test_identity(bench: Bench, kind: str) -> None:
    """A store has an identity, and says whether a restart loses its data."""
    assert bench.store.identity
    assert bench.store.ephemeral == (kind == "memory")
