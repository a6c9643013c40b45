"""Since which epoch a slot is where it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyshard.model.moved_ranges import moved_after, moved_since, newest_move
from pyshard.model.slot_ranges import SlotRanges, union

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
