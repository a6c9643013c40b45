"""Groups of changes: those that are taken together come to the same."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pyshard.protocol.change_groups import Change, ChangeGroup, joined
from pyshard.protocol.store_ranges import StoreRanges

RANGES = StoreRanges(owned=((0, 100),))


@st.composite
def some_groups(draw: st.DrawFn) -> list[ChangeGroup]:
    """Groups with rising numbers, which may have gaps, of few keys, some with ranges."""
    found: list[ChangeGroup] = []
    sequence = 0
    for keys in draw(st.lists(st.lists(st.sampled_from(b"abcdef"), unique=True), max_size=12)):
        sequence += draw(st.integers(1, 3))
        changes = [Change(0, 1, bytes([key]), sequence, 0, b"x" * draw(st.integers(0, 30))) for key in keys]
        ranges = RANGES if draw(st.integers(0, 4)) == 0 else None
        found.append(ChangeGroup(sequence, 1, 100 + sequence, changes, ranges=ranges))
    return found


@given(some_groups(), st.integers(0, 600), st.integers(0, 40))
def test_joined(groups: list[ChangeGroup], most: int, stop: int) -> None:
    """Each record is as all groups leave it, nothing is joined over ranges, over `stop`, or to more than `most`."""
    found = joined(groups, most, stop)
    records: dict[bytes, Change] = {}
    for group in groups:
        records |= {change.key: change for change in group.changes}
    taken: dict[bytes, Change] = {}
    sizes = {group.sequence: group.size for group in groups}
    for after, group in found:
        taken |= {change.key: change for change in group.changes}
        parts = [sequence for sequence in sizes if after < sequence <= group.sequence]
        assert len(parts) == 1 or sum(sizes[sequence] for sequence in parts) <= most
        assert all(sequence <= stop for sequence in parts) or all(sequence > stop for sequence in parts)
        assert all(change.version > after for change in group.changes)
    assert taken == records
    ends = [group.sequence for _, group in found]
    assert set(ends) >= {group.sequence for group in groups if group.ranges is not None}
    assert [group.ranges for _, group in found] == [by.ranges for by in groups if by.sequence in ends]
    assert ends[-1:] == [group.sequence for group in groups[-1:]]
    assert all(end <= after for end, (after, _) in zip(ends, found[1:], strict=False))
    assert all(earlier < later for earlier, later in pairwise(ends))


def test_few_groups() -> None:
    """Without a bound all become one, with the last number and version."""
    groups = [ChangeGroup(number, 1, 10 * number, [Change(0, 1, b"k", number, 0, b"")]) for number in (2, 3, 5)]
    assert joined(groups, 10**6) == [(1, ChangeGroup(5, 1, 50, [Change(0, 1, b"k", 5, 0, b"")]))]
    assert [(after, group.sequence) for after, group in joined(groups, 10**6, stop=4)] == [(1, 3), (4, 5)]
    assert [(after, group.sequence) for after, group in joined(groups, 10**6, stop=3)] == [(1, 3), (4, 5)]
    assert [(after, group.sequence) for after, group in joined(groups, 0)] == [(1, 2), (2, 3), (4, 5)]
    assert joined([], 10) == []
