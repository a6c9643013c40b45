"""How much a store looks at for one page, whatever has expired or was removed; and that nothing is left out for it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage.contract.samples import key_sets, neighbors
from stores import FAST_KINDS, PLENTY, Bench, prepared

from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_operations import Remove
from pyshard.storage import Page, PageBounds
from pyshard.storage.durable import page_of_keys
from pyshard.storage.look_budget import LookBudget
from pyshard.storage.memory import store as memory_store
from pyshard.storage.page_walk import Step, page_of


class Counted:
    """How many entries the stores have looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looked = 0
        for module in (memory_store, page_of_keys):
            monkeypatch.setattr(module, "page_of", self._page_of)

    def _page_of(self, steps: Iterable[Step], bounds: PageBounds, looks: LookBudget | None = None) -> Page:
        def counting() -> Iterable[Step]:
            for step in steps:
                self.looked += 1
                yield step

        return page_of(counting(), bounds, looks)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Counts what is looked at."""
    return Counted(monkeypatch)


@pytest.mark.parametrize("gone", ["expired", "removed"])
def test_a_page_over_what_is_gone(bench: Bench, counted: Counted, gone: str) -> None:
    """Of five hundred keys that nobody may see any more a page looks at fifty, and the next ones at the others."""
    keys = bench.in_order([b"%d" % each for each in range(500)])
    bench.fill({b"alive": b""})
    bench.fill(dict.fromkeys(keys, b""), ttl=1000 if gone == "expired" else 0)
    if gone == "removed":
        bench.answers(Remove("", keys))
    bench.clock.advance(2)
    pages = []
    for page in bench.pages(0, SLOTS, 1000, PLENTY, "", most_steps=50):
        assert counted.looked <= 2 * 50 + 1
        counted.looked = 0
        pages.append(page)
    assert [key for page in pages for key in page.keys] == [b"alive"]
    if gone == "expired" or bench.kind in ("lmdb", "lmdb with a thread"):  # the others forget what was removed
        assert len(pages) >= 10


def test_within_a_slot(bench: Bench) -> None:
    """Keys of one slot, of which the first have expired, come over several pages that end within it."""
    first, second, third = neighbors()
    bench.fill(dict.fromkeys([first, second], b""), ttl=1000)
    bench.fill({third: b""})
    bench.clock.advance(2)
    slot = slot_of(first)
    assert bench.page(slot, None, slot + 1, most_steps=1) == Page([], False, slot, second)
    assert bench.page(slot, second, slot + 1, most_steps=1) == Page([third], False)


@pytest.mark.parametrize("kind", FAST_KINDS)
@given(key_sets, st.data(), st.integers(1, 30), st.integers(1, 30))
def test_nothing_is_left_out(kind: str, keys: set[bytes], data: st.DataObject, most: int, most_steps: int) -> None:
    """Whatever has expired or was removed: pages of any bounds give all other keys, in order, each once."""
    gone = data.draw(st.sets(st.sampled_from(sorted(keys)))) if keys else set()
    removed = data.draw(st.sets(st.sampled_from(sorted(gone)))) if gone else set()
    with prepared(kind) as bench:
        bench.fill(dict.fromkeys(keys - gone, b""))
        bench.fill(dict.fromkeys(gone, b""), ttl=1000)
        bench.answers(Remove("", sorted(removed)))
        bench.clock.advance(2)
        pages = bench.pages(0, SLOTS, most, PLENTY, "", most_steps=most_steps)
        assert [key for page in pages for key in page.keys] == bench.in_order(keys - gone)


def test_a_page_beside_many_keys(bench: Bench, counted: Counted) -> None:
    """A page of the last slot looks at what lies there, and not at the bucket around it."""
    keys = [key for key in (b"%d" % each for each in range(300_000)) if slot_of(key) >= SLOTS - 8192]
    bench.fill(dict.fromkeys(keys, b""))
    for _ in range(3):
        assert bench.page(SLOTS - 1, None, SLOTS) == Page([], False)
    assert len(keys) > 50
    assert counted.looked == 0
