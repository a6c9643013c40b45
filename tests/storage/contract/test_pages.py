"""Pages of every store: all keys of some slots, each once, in order."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage.contract.samples import key_sets, neighbors
from stores import FAST_KINDS, PLENTY, Bench, prepared

from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_operations import ABSENT, Remove, Write
from pyshard.storage import Page


def test_page_of_one_slot(bench: Bench) -> None:
    """Keys that share a slot come in the order of their bytes, and `after` goes on between them."""
    first, second, third = neighbors()
    slot = slot_of(first)
    bench.fill(dict.fromkeys([third, first, second], b""))
    assert bench.page(slot, None, slot + 1) == Page([first, second, third], False)
    assert bench.page(slot, first, slot + 1, most=1) == Page([second], True)
    assert bench.page(slot, second, slot + 1, most=1) == Page([third], False)
    assert bench.page(slot, third, slot + 1) == Page([], False)


def test_after_need_not_exist(bench: Bench) -> None:
    """A page begins behind `after`, also when that key is gone."""
    first, second, third = neighbors()
    bench.fill(dict.fromkeys([first, third], b""))
    assert bench.page(slot_of(second), second).keys == [third]


def test_page_keeps_to_its_slots(bench: Bench) -> None:
    """`start` is the first slot looked at, `end` the first that isn't."""
    keys = bench.in_order([b"%d" % each for each in range(50)])
    bench.fill(dict.fromkeys(keys, b""))
    slots = [slot_of(key) for key in keys]
    assert bench.page(slots[10], None, slots[20]) == Page(keys[10:20], False)
    assert bench.page(slots[10] + 1, None, slots[20] + 1) == Page(keys[11:21], False)
    assert bench.page(slots[10], keys[10], slots[20], most=5) == Page(keys[11:16], True)
    assert bench.page(slots[10], None, slots[10]) == Page([], False)
    assert bench.page(SLOTS - 1, None, SLOTS) == Page([], False)


def test_page_takes_the_key_that_fills_it(bench: Bench) -> None:
    """Keys are taken while there is room in bytes; the one that fills it, or goes past it, is the last."""
    keys = bench.in_order([b"%03d" % each for each in range(10)])
    bench.fill(dict.fromkeys(keys, b""))
    assert bench.page(most_bytes=6) == Page(keys[:2], True)
    assert bench.page(most_bytes=7) == Page(keys[:3], True)
    assert bench.page(most_bytes=1) == Page(keys[:1], True)
    assert bench.page(most_bytes=30).keys == keys


@pytest.mark.parametrize("kind", FAST_KINDS)
@given(key_sets, st.integers(1, 70), st.integers(1, 200), st.sampled_from(["", "pages"]))
def test_scan_gives_each_key_once(kind: str, keys: set[bytes], most: int, most_bytes: int, index: str) -> None:
    """Pages of any size, in keys or bytes, give all keys of the index in (slot, key) order, each once."""
    with prepared(kind) as bench:
        bench.fill(dict.fromkeys(keys, b""), index)
        bench.fill({b"other": b""}, "links")
        pages = list(bench.pages(0, SLOTS, most, most_bytes, index))
        assert [key for page in pages for key in page.keys] == bench.in_order(keys, index)
    for page in pages:
        assert len(page.keys) <= most
        assert sum(map(len, page.keys[:-1])) < most_bytes


@pytest.mark.parametrize("kind", FAST_KINDS)
@given(key_sets, st.lists(st.integers(0, SLOTS), max_size=5), st.integers(1, 70))
def test_parts_make_the_whole(kind: str, keys: set[bytes], cuts: list[int], most: int) -> None:
    """Scans of neighboring ranges give together what one scan of both gives."""
    bounds = [0, *sorted(cuts), SLOTS]
    with prepared(kind) as bench:
        bench.fill(dict.fromkeys(keys, b""))
        parts = [bench.scan(start, end, most) for start, end in pairwise(bounds)]
        assert [key for part in parts for key in part] == bench.in_order(keys)


@pytest.mark.parametrize("kind", FAST_KINDS)
@given(key_sets, st.lists(st.tuples(key_sets, key_sets), min_size=1, max_size=8), st.integers(1, 10))
def test_scan_while_keys_come_and_go(
    kind: str, stay: set[bytes], changes: list[tuple[set[bytes], set[bytes]]], most: int
) -> None:
    """A key that is there from a scan's start to its end comes exactly once, and none comes twice."""
    with prepared(kind) as bench:
        bench.fill(dict.fromkeys(stay, b"stays"))
        ever = set(stay)
        seen: list[bytes] = []
        for each, page in enumerate(bench.pages(0, SLOTS, most, PLENTY, "")):
            seen += page.keys
            come, go = changes[each % len(changes)]
            adding = Write("", list(come), [b"comes"] * len(come), [ABSENT] * len(come))
            bench.answers(Remove("", list(go - stay)), adding)
            ever |= come
        assert seen == bench.in_order(seen)
    assert len(seen) == len(set(seen))
    assert stay <= set(seen) <= ever
