"""Since which epoch a slot is where it is."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.model import moved_ranges
from pyshard.model.key_slots import SLOTS
from pyshard.model.moved_ranges import moved_after, moved_since, newest_move
from pyshard.model.slot_ranges import SlotRanges, union
from pyshard.settings import settings

WIDTH = 20
pieces = st.lists(
    st.tuples(st.integers(0, WIDTH), st.integers(0, WIDTH)).filter(lambda one: one[0] < one[1]), max_size=3
)


@given(st.lists(pieces, max_size=6))
def test_each_slot_has_its_last_move(moves: list[list[tuple[int, int]]]) -> None:
    """Compared with a list of all slots; ranges stand in order, and as few of them as can be."""
    plain = [0] * WIDTH
    moved: tuple[tuple[int, int, int], ...] = ()
    for epoch, ranges in enumerate(moves, 1):
        moved = moved_since(moved, tuple(ranges), epoch)
        for slot in range(WIDTH):
            if any(start <= slot < end for start, end in ranges):
                plain[slot] = epoch
    assert list(moved) == sorted(moved)
    for slot in range(WIDTH):
        assert newest_move(moved, ((slot, slot + 1),)) == plain[slot]
    for epoch in range(len(moves) + 1):
        after: SlotRanges = union(tuple((slot, slot + 1) for slot in range(WIDTH) if plain[slot] > epoch))
        assert moved_after(moved, epoch) == after
    assert newest_move(moved, ((0, WIDTH),)) == max(plain)


def test_as_few_ranges_as_can_be() -> None:
    """What touches and moved together is one."""
    moved = moved_since(((0, 5, 1), (5, 10, 2)), ((3, 5), (5, 7)), 3)
    assert moved == ((0, 3, 1), (3, 7, 3), (7, 10, 2))


@given(st.lists(pieces, min_size=1, max_size=30))
def test_no_more_ranges_than_a_state_has_room_for(moves: list[list[tuple[int, int]]]) -> None:
    """Of old moves less is known than there was: a slot may count as moved later, and never as moved earlier."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(moved_ranges, "settings", attrs.evolve(settings, MAX_RANGES=8))
        plain = [0] * WIDTH
        moved: tuple[tuple[int, int, int], ...] = ()
        for epoch, ranges in enumerate(moves, 1):
            moved = moved_since(moved, tuple(ranges), epoch)
            assert len(moved) <= 8
            assert all(earlier[1] <= later[0] for earlier, later in pairwise(moved))
            for slot in range(WIDTH):
                if any(start <= slot < end for start, end in ranges):
                    plain[slot] = epoch
                assert plain[slot] <= newest_move(moved, ((slot, slot + 1),)) <= epoch
                if plain[slot] == epoch:
                    assert newest_move(moved, ((slot, slot + 1),)) == epoch


def test_a_state_after_many_moves() -> None:
    """It can be read: else the next move could never be committed, and its slots would stay sealed."""
    most = settings.MAX_RANGES
    moved = tuple((2 * number, 2 * number + 1, number + 1) for number in range(most))
    after = moved_since(moved, ((2 * most, 2 * most + 1),), most + 1)
    assert len(after) <= most
    assert after[-2:] == ((2 * most, 2 * most + 1, most + 1), (2 * most + 1, SLOTS, most + 1 - most // 4))
    assert newest_move(after, ((1, 2),)) == most + 1 - most // 4
    assert newest_move(after, ((2 * most - 2, 2 * most - 1),)) == most
