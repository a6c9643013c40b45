"""What a shard refuses to store, since it is no record by its head and first bytes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from model.document_samples import trees

from pyshard.model.document_encoding import HEAD, Document, encode
from pyshard.model.record_check import are_records, record_fault

GOOD = encode({"a": 1})[0]
MANY = 20  # enough of them to be looked at together
EXTENSIONS = (*range(0xC7, 0xCA), *range(0xD4, 0xD9))  # first bytes of ints past 64 bits


def unsized(document: object) -> bytes:
    """The record of a document, from a client that writes 0 for its size."""
    return HEAD.pack(1, 0) + msgspec.msgpack.encode(document)


def is_taken(record: bytes) -> bool:
    """Whether it is a record; by itself and among others this is the same."""
    alone = record_fault(record) is None
    for others in ([], [GOOD], [GOOD] * MANY):
        found = are_records([*others, record])
        assert found <= alone  # a record of size 0, or of an int past 64 bits, may be looked at by itself
        assert found == alone or record[1:5] == bytes(4) or record[5] in EXTENSIONS
    return alone


@given(trees)
@example(-(2**63) - 1)
def test_every_document_of_ours(document: Document) -> None:
    """Whatever this client writes is a record, empty lists and dicts of any depth included."""
    assert is_taken(encode(document)[0])


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (b"", "0 bytes, expected 5 of a head and a document"),
        (b"\x01", "1 byte, expected 5 of a head and a document"),
        (GOOD[:5], "5 bytes, expected 5 of a head and a document"),
        (b"\x00" + GOOD[1:], "a head that begins with the byte 0, expected the format 1"),
        (b'{"a": 1}', "a head that begins with the byte 123, expected the format 1"),
        (GOOD[:5] + b"\xc1", "a document that begins with the byte 0xc1, which begins none"),
        (GOOD[:5] + b"\xd6\xff" + bytes(4), "a document that begins with the byte 0xd6, which begins none"),
        (GOOD[:5] + b"\xd7\xff" + bytes(8), "a document that begins with the byte 0xd7, which begins none"),
        (GOOD[:5] + b"\xc7\x0c\xff" + bytes(12), "a document that begins with the byte 0xc7, which begins none"),
        (GOOD[:5] + b"\xc8\x01\x01\x02", "a document that begins with the byte 0xc8, which begins none"),
        (GOOD[:5] + b"\xd4", "a document that begins with the byte 0xd4, which begins none"),
    ],
)
def test_what_is_no_record(record: bytes, expected: str) -> None:
    """It is named: its length, its head, its size or its first byte."""
    assert record_fault(record) == expected
    assert not is_taken(record)


@pytest.mark.parametrize(
    "document",
    [
        *(0, None, "", b"", [1], {"a": 0}, [[], {"a": {}}, None], {"a" * 40: {"b" * 300: [""]}}, [[]] * 20 + [5]),
        *({str(number): {} for number in range(20)} | {"x": 1}, {1: []}),
    ],
)
def test_size_0_of_a_document_that_holds_something(document: object) -> None:
    """It is refused, since `remove` would answer that there was nothing."""
    assert record_fault(unsized(document)) == "a size of 0 for a document that isn't empty, expected its size, or 1"
    assert not is_taken(unsized(document))


@pytest.mark.parametrize(
    "document",
    [
        *([], {}, [[]], {"a": {}}, [{}, [[[{"a": [], "b" * 300: {}}]]]], {str(number): [] for number in range(20)}),
        *([[]] * 70_000, {"a" * 70_000: []}),
    ],
)
def test_size_0(document: Document) -> None:
    """Lists and dicts that hold nothing but such ones have it."""
    assert encode(document)[1] == 0
    assert is_taken(unsized(document))


@pytest.mark.parametrize("body", [b"\x92\x90", b"\xdc\x00", b"\x81\xd9", b"\xdf\xff\xff\xff\xff", b"\x81\xa5ab"])
def test_size_0_of_what_ends_early(body: bytes) -> None:
    """Bytes that end within a document don't fail the look at its elements."""
    assert is_taken(HEAD.pack(1, 0) + body)


@given(st.binary())
def test_any_bytes(body: bytes) -> None:
    """Any bytes are taken or refused, alone as among others."""
    is_taken(body)
    is_taken(HEAD.pack(1, 7) + body)
    is_taken(HEAD.pack(1, 0) + body)
