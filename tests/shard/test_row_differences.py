"""What makes some rows those of the source, by value."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from pyshard.protocol.change_groups import Change
from pyshard.shard.row_differences import RowDifferences

ROWS = [Change(number % 2, 10 * number, b"key %d" % number, 5, 7, b"record") for number in range(6)]


def differences(ours: list[Change], theirs: list[Change], *indexes: int) -> tuple[list[Change], list[Change]]:
    """What is put, and what is removed."""
    made = RowDifferences(indexes or (0, 1))
    made.add_own(ours[:2])
    made.add_own(ours[2:])
    return made.to_put(theirs[:3]) + made.to_put(theirs[3:]), made.to_remove()


def removal(row: Change) -> Change:
    """The row's removal."""
    return Change(row.index, row.slot, row.key, 0, 0, None)


def test_equal() -> None:
    """Nothing is done, in whatever order the rows come."""
    assert differences(ROWS, Random(1).sample(ROWS, len(ROWS))) == ([], [])
    assert differences([], []) == ([], [])


def test_missing_and_additional() -> None:
    """What is lacking is put, what is too much removed."""
    assert differences(ROWS[1:], ROWS) == (ROWS[:1], [])
    assert differences(ROWS, ROWS[:-1]) == ([], [removal(ROWS[-1])])
    assert differences(ROWS[:3], ROWS[3:]) == (ROWS[3:], [removal(row) for row in ROWS[:3]])


@pytest.mark.parametrize("other", [{"version": 6}, {"expires": 8}, {"record": b"recorD"}, {"record": b""}], ids=str)
def test_other_rows(other: dict[str, object]) -> None:
    """The source's row is put over another one of the key, whichever has the higher version."""
    changed = replace(ROWS[2], **other)
    assert differences([*ROWS[:2], changed, *ROWS[3:]], ROWS) == ([ROWS[2]], [])
    assert differences(ROWS, [*ROWS[:2], changed, *ROWS[3:]]) == ([changed], [])


def test_the_same_key_elsewhere() -> None:
    """A key of another index is another one."""
    changed = replace(ROWS[0], index=1)
    assert differences([changed], [ROWS[0]]) == ([ROWS[0]], [removal(changed)])


def test_indexes_that_do_not_count() -> None:
    """Their rows are neither put nor removed."""
    assert differences(ROWS, [], 1) == ([], [removal(row) for row in ROWS if row.index == 1])
    assert differences([], ROWS, 1) == ([row for row in ROWS if row.index == 1], [])
