"""Pages on the wire: the keys and the rows that arrive are those that were sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.batch_operations.samples import keys

from pyshard.errors import BadRequest
from pyshard.protocol.pages import Row, decode_keys, decode_rows, encode_keys, encode_rows

rows = st.lists(st.builds(Row, st.integers(0, 2**32 - 1), st.binary(), st.integers(0, 2**63 - 1), st.binary()))


@given(keys)
def test_keys_round_trip(page: list[bytes]) -> None:
    """The keys of a page arrive as they were sent."""
    assert decode_keys(encode_keys(page)) == page


def test_keys_as_bytes() -> None:
    """A page of keys is one array of binaries."""
    assert encode_keys([b"a", b"bc"]) == b"\x92\xc4\x01a\xc4\x02bc"


@given(rows)
def test_rows_round_trip(page: list[Row]) -> None:
    """The rows of a snapshot's page arrive as they were sent."""
    assert decode_rows(encode_rows(page)) == page


def test_rows_as_bytes() -> None:
    """A row is an array of its index's id, its key, its expiry and its record."""
    assert encode_rows([Row(1, b"a", 0, b"r")]) == b"\x91\x94\x01\xc4\x01a\x00\xc4\x01r"


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x91\xc4\x01a", b"\x91\x93\x01\xc4\x01a\x00"])
def test_no_page_of_a_snapshot(data: bytes) -> None:
    """Bytes that are no rows are refused."""
    with pytest.raises(BadRequest, match=r"^the snapshot's page can't be read: ."):
        decode_rows(data)
