"""Groups of changes that are taken together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyshard.protocol.change_groups import Change, ChangeGroup, merged
from pyshard.protocol.store_ranges import StoreRanges

_CHANGES = st.lists(
    st.builds(
        Change,
        index=st.integers(0, 1),
        slot=st.just(3),
        key=st.sampled_from([b"a", b"b", b"c"]),
        version=st.integers(1, 9),
        expires=st.just(0),
        record=st.sampled_from([None, b"x", b"y"]),
    ),
    max_size=3,
    unique_by=lambda change: (change.index, change.key),
)


def outcome(groups: list[ChangeGroup]) -> dict[tuple[int, bytes], Change]:
    """What records have become."""
    return {(change.index, change.key): change for group in groups for change in group.changes}


@given(st.lists(st.tuples(_CHANGES, st.sampled_from(["", "", "", "ranges", "indexes", "text"])), max_size=8))
def test_merged(given_groups: list[tuple[list[Change], str]]) -> None:
    """They do the same, in order; what changes more than records stays as it is, with all that comes before it."""
    groups = [
        ChangeGroup(
            number,
            0,
            10 * number,
            changes,
            {"pages": 1} if kind == "indexes" else None,
            b"text" if kind == "text" else None,
            2,
            StoreRanges() if kind == "ranges" else None,
        )
        for number, (changes, kind) in enumerate(given_groups, 1)
    ]
    found = merged(groups)
    assert outcome(found) == outcome(groups)
    assert all(len(outcome([group])) == len(group.changes) for group in found)
    special = [group for group, (_, kind) in zip(groups, given_groups, strict=True) if kind]
    assert [group for group in found if group in special] == special
    for group in special:
        before = [each for each in groups if each.sequence <= group.sequence]
        assert outcome(found[: found.index(group) + 1]) == outcome(before)
    assert [group.sequence for group in found] == sorted({group.sequence for group in found})
    assert (found[-1].sequence, found[-1].version) == (len(groups), 10 * len(groups)) if groups else found == []
    plain = [group for group in found if group not in special]
    assert len(plain) <= len(special) + 1 + sum(not group.changes for group in plain)
