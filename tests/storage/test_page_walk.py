"""Pages out of walks: bounded in keys, bytes and steps, with nothing left out between one page and the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.storage.interface import Page, PageBounds
from pyshard.storage.page_walk import Step, page_of


class Walk:
    """Entries in order, and how many of them were looked at.

    :param entries: slot, key, whether it is to be seen.
    """

    def __init__(self, entries: list[tuple[int, bytes, bool]]) -> None:
        self.entries = sorted(entries)
        self.looked = 0

    def steps(self, slot: int, after: bytes | None) -> Iterator[Step]:
        """The entries from a place on."""
        for entry in self.entries:
            if entry[0] > slot or (entry[0] == slot and (after is None or entry[1] > after)):
                self.looked += 1
                yield entry


DEAD = [(slot, b"%d" % slot, False) for slot in range(1000)]


@pytest.mark.parametrize("most_steps", [1, 10, 100])
def test_what_nobody_may_see_counts(most_steps: int) -> None:
    """A page over a thousand expired keys ends after its steps, empty, and says where to go on."""
    walk = Walk(DEAD)
    assert page_of(walk.steps(0, None), PageBounds(50, 1000, most_steps)) == Page([], False, most_steps)
    assert walk.looked == most_steps + 1


def test_a_long_key_is_several_steps() -> None:
    """A thousand expired keys of 64 KiB aren't looked at for one page, as a thousand short ones may be."""
    walk = Walk([(slot, b"x" * 65_536, False) for slot in range(1000)])
    assert page_of(walk.steps(0, None), PageBounds(50, 1000, 650)) == Page([], False, 10)
    assert walk.looked == 11


def test_it_ends_between_slots() -> None:
    """The slot that was begun is looked at to its end, if it has no more than as many entries again."""
    walk = Walk([(7, b"a%d" % number, number == 3) for number in range(4)] + [(9, b"b", True)])
    assert page_of(walk.steps(0, None), PageBounds(50, 1000, 2)) == Page([b"a3"], False, 9)


def test_a_slot_with_very_many() -> None:
    """A slot that alone has more ends within: the next page begins behind the last entry that was looked at."""
    walk = Walk([(7, b"%04d" % number, False) for number in range(1000)])
    page = page_of(walk.steps(7, None), PageBounds(50, 1000, 10))
    assert page == Page([], False, 7, b"0019")
    assert walk.looked == 21
    assert page_of(walk.steps(7, b"0019"), PageBounds(50, 1000, 10)) == Page([], False, 7, b"0039")


def test_a_key_that_the_store_has_forgotten() -> None:
    """It can't be a place to go on from; the page ends at the next one that can."""
    steps: list[Step] = [(7, b"a", False), *[(7, None, False)] * 5, (7, b"b", False), (7, b"c", False)]
    assert page_of(iter(steps), PageBounds(50, 1000, 1)) == Page([], False, 7, b"b")


def test_a_full_page_is_as_it_was() -> None:
    """A page that has its keys goes on behind the last of them."""
    walk = Walk([(slot, b"%d" % slot, True) for slot in range(100)])
    assert page_of(walk.steps(0, None), PageBounds(3, 1000, 50)) == Page([b"0", b"1", b"2"], True)
    assert page_of(walk.steps(0, None), PageBounds(50, 2, 50)) == Page([b"0", b"1"], True)
    assert page_of(walk.steps(98, None), PageBounds(50, 1000, 50)) == Page([b"98", b"99"], False)


entries = st.lists(
    st.tuples(st.integers(0, 12), st.binary(min_size=1, max_size=2), st.booleans()),
    unique_by=lambda entry: entry[:2],
    max_size=80,
)


@given(entries, st.integers(1, 9), st.integers(1, 12), st.integers(1, 9))
def test_pages_give_all(found: list[tuple[int, bytes, bool]], most: int, most_bytes: int, most_steps: int) -> None:
    """Whatever the bounds, the pages together have each visible key once, in order, and each page is bounded."""
    walk = Walk(found)
    got: list[tuple[int, bytes]] = []
    slot, after = 0, None
    for _ in range(1000):
        walk.looked = 0
        page = page_of(walk.steps(slot, after), PageBounds(most, most_bytes, most_steps))
        assert walk.looked <= 2 * most_steps + 1
        assert len(page.keys) <= most
        shown = [entry for entry in walk.entries if entry[2] and (entry[:2] not in got)]
        got += [entry[:2] for entry in shown[: len(page.keys)]]
        assert page.keys == [key for _, key in got[len(got) - len(page.keys) :]]
        if page.more:
            slot, after = got[-1]
        elif page.slot is not None:
            assert (page.slot, page.after or b"") > (slot, after or b"")
            slot, after = page.slot, page.after
        else:
            break
    assert got == [entry[:2] for entry in walk.entries if entry[2]]
