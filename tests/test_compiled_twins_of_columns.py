"""The compiled twins for columns of runs: each gives what the plain one gives, or leaves it to it."""

from __future__ import annotations

import pytest
from compiled_twins import built
from hypothesis import example, given
from hypothesis import strategies as st
from model.document_samples import trees

from pyshard.client_core import pair_columns
from pyshard.compiled import column_leaves
from pyshard.model import record_check
from pyshard.model.document_encoding import FORMAT, HEAD, encode
from pyshard.protocol import columns

anything = st.none() | st.integers() | st.text(max_size=2)


@built
@given(st.lists(st.none() | st.binary(max_size=9)))
def test_total_size(column: list[bytes | None]) -> None:
    """The bytes of all elements, of which some may be missing, whatever holds them."""
    expected = columns.total_size_plainly(column)
    for some in (column, tuple(column), iter(column), [each and memoryview(each) for each in column]):
        assert column_leaves.total_size(some) == expected


@built
@given(st.lists(st.binary(max_size=9)))
def test_longest(column: list[bytes]) -> None:
    """The longest element's bytes, whatever holds them."""
    expected = columns.longest_plainly(column)
    assert column_leaves.longest(column) == column_leaves.longest(iter(column)) == expected
    assert column_leaves.longest([memoryview(each) for each in column]) == expected


@built
@given(st.lists(anything, min_size=1), st.data())
def test_picked(column: list[object], data: st.DataObject) -> None:
    """Any positions, in any order and often, of a column of any type."""
    positions = data.draw(st.lists(st.integers(0, len(column) - 1)))
    expected = [column[position] for position in positions]
    for some in (column, tuple(column)):
        assert column_leaves.picked(positions, some) == columns.picked_plainly(positions, some) == expected
    assert column_leaves.picked(range(len(column)), column) == column


@built
@pytest.mark.parametrize("position", [1, 2**40])
def test_a_position_outside_of_a_column(position: int) -> None:
    """Is refused, with one position or more."""
    for column in ([1], (1,)):
        for picked in (column_leaves.picked, columns.picked_plainly):
            for positions in ([position], [0, position]):
                with pytest.raises(IndexError):
                    picked(positions, column)


class Pair(tuple[int, int]):
    """A subclass of tuple."""


@built
@given(
    st.lists(st.tuples(st.text(max_size=2), anything)),
    st.lists(st.tuples() | st.tuples(anything) | st.text(), max_size=1),
)
@example([], [Pair((1, 2))])
@example([], [[1, 2]])
def test_pair_columns(pairs: list[tuple[str, object]], others: list[object]) -> None:
    """The columns of pairs that are all tuples of two; nothing where one is another thing."""
    expected = [key for key, _ in pairs], [document for _, document in pairs]
    assert column_leaves.pair_columns(pairs) == pair_columns.pair_columns_plainly(list(pairs)) == expected
    mixed: list[tuple[str, object]] = [*pairs, *others]  # type: ignore[list-item]  # the test's point
    if others:
        assert column_leaves.pair_columns(mixed) is None
        assert pair_columns.pair_columns_plainly(mixed) is None  # type: ignore[arg-type]  # a key is a Key


@built
@given(st.lists(trees.map(encode).map(lambda encoded: encoded[0]) | st.binary(max_size=12)))
@example([HEAD.pack(FORMAT, 0) + b"\x80"])
@example([HEAD.pack(FORMAT, 256) + b"\xc1"])
def test_outlines_of_records(records: list[bytes]) -> None:
    """What they take the plain twin takes, and a record with a size and no extension they take."""
    found = column_leaves.are_outlines(records, FORMAT, record_check._IS_FIRST_BYTE, HEAD.size)
    sized = all(record[1 : HEAD.size] != bytes(HEAD.size - 1) for record in records)
    plain = all(record[HEAD.size] in record_check._FIRST_BYTES for record in records if len(record) > HEAD.size)
    faultless = not any(map(record_check.record_fault, records))
    assert found == (faultless and sized and plain)
