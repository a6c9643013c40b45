"""Documents: what is read equals what was written, and a clear error for the rest."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.document_samples import at_most, texts, trees

from pyshard.errors import DocumentTooLarge, InvalidDocument, UnreadableRecord
from pyshard.model.bulk_document_encoding import decode_many
from pyshard.model.document_encoding import HEAD, Document, decode, encode, size_in
from pyshard.model.document_size import measure
from pyshard.settings import settings

#: A timestamp of MessagePack.
STAMP = b"\xd6\xff\x00\x00\x00\x00"


def typed(value: object) -> object:
    """A value that is equal for two documents only when types, order of keys and the sign of zeros are equal too."""
    if isinstance(value, dict):
        return "dict", [(typed(key), typed(inner)) for key, inner in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [typed(inner) for inner in value]
    return type(value).__name__, repr(value)


def nested(depth: int, document: object = None) -> object:
    """`document` within `depth` lists."""
    for _ in range(depth):
        document = [document]
    return document


def record_of(body: bytes) -> bytes:
    """A record of format 1 with the given MessagePack."""
    return HEAD.pack(1, 0) + body


# -- what is read equals what was written --------------------------------------------------------------------------


@given(trees)
def test_round_trip(document: Document) -> None:
    """Whatever can be written is read back equal, types included."""
    record, _ = encode(document)
    assert typed(decode(record)) == typed(document)


@pytest.mark.parametrize("bits", [0, 7, 8, 31, 32, 63, 64, 71, 72, 2040, 20000])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("off", [-1, 0, 1])
def test_ints_of_any_size(bits: int, sign: int, off: int) -> None:
    """Ints are exact on both sides of every boundary of the format, also within lists and dicts."""
    value = sign * 2**bits + off
    assert decode(encode(value)[0]) == value
    assert decode(encode({"a": [value, {"b": value}]})[0]) == {"a": [value, {"b": value}]}


@pytest.mark.parametrize(
    ("written", "expected"),
    [((), []), ((1, (2, "x")), [1, [2, "x"]]), ({"a": (None,)}, {"a": [None]}), ((2**70,), [2**70])],
)
def test_tuple_comes_back_as_a_list(written: object, expected: Document) -> None:
    """A tuple is taken for a list, at any depth."""
    assert typed(decode(encode(written)[0])) == typed(expected)


def test_document_is_left_as_it_was() -> None:
    """Writing doesn't change the caller's document, not even one with ints past 64 bits."""
    document = {"a": [2**70, (1, 2)]}
    encode(document)
    assert document == {"a": [2**70, (1, 2)]}


def test_one_list_may_stand_in_many_places() -> None:
    """A list that stands in a document twice is no cycle."""
    shared = [1]
    assert decode(encode([shared, {"a": shared}])[0]) == [[1], {"a": [1]}]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("hello world", b"\x01\x00\x00\x00\x3c\xabhello world"),
        (None, b"\x01\x00\x00\x00\x10\xc0"),
        ({"hello": "world"}, b"\x01\x00\x00\x00\x36\x81\xa5hello\xa5world"),
        (b"\x00\xff", b"\x01\x00\x00\x00\x23\xc4\x02\x00\xff"),
        (1.5, b"\x01\x00\x00\x00\x18\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"),
        (2**64 - 1, b"\x01\x00\x00\x00\x24\xcf" + b"\xff" * 8),
        (2**64, b"\x01\x00\x00\x00\x24\xc7\x09\x01\x01" + b"\x00" * 8),
        (-(2**63), b"\x01\x00\x00\x00\x24\xd3\x80" + b"\x00" * 7),
        (-(2**63) - 1, b"\x01\x00\x00\x00\x24\xc7\x09\x01\xff\x7f" + b"\xff" * 7),
    ],
)
def test_record(document: object, expected: bytes) -> None:
    """A record is the format byte, the size in four bytes, and MessagePack."""
    assert encode(document)[0] == expected


# -- what can't be stored ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [object(), [1, {"a": {2}}], {1: 2}, {"a": [{b"a": 2}]}])
def test_invalid_document(document: object) -> None:
    """What can't be stored is refused, at any depth, with its place (test_document_faults.py)."""
    for refuse in (encode, measure):
        with pytest.raises(InvalidDocument, match=r"^document(: |\[)"):
            refuse(document)


@pytest.mark.parametrize("document", ["\ud800", ["a\udfffb"], {"a": "\ud800"}, {"\ud800": 1}, [2**70, "\ud800"]])
def test_lone_surrogates(document: object) -> None:
    """Text that UTF-8 can't carry is refused, as a value and as a key."""
    with pytest.raises(InvalidDocument, match=r"^document.*with lone surrogates, which UTF-8 can't carry; "):
        encode(document)


def test_deepest_document() -> None:
    """Lists may nest 100 deep, and no deeper."""
    deepest = nested(settings.MAX_NESTING)
    assert decode(encode(deepest)[0]) == deepest
    assert measure(deepest) == 16
    for refuse in (encode, measure):
        with pytest.raises(InvalidDocument, match="a list 101 levels deep; a document nests at most 100 levels"):
            refuse([deepest])


@pytest.mark.parametrize("document", [(nested(100),), {"a": nested(100)}, [[], nested(100)]])
def test_every_container_is_a_level(document: object) -> None:
    """Tuples and dicts count as levels too, wherever they stand."""
    with pytest.raises(InvalidDocument, match="a list 101 levels deep"):
        encode(document)


def test_deepest_document_with_big_ints() -> None:
    """The deepest document may hold ints past 64 bits."""
    deepest = nested(settings.MAX_NESTING, 2**70)
    assert decode(encode(deepest)[0]) == deepest


def test_cycle() -> None:
    """A list or dict that contains itself is refused."""
    around: list[object] = []
    around.append({"a": (around,)})
    for refuse in (encode, measure):
        with pytest.raises(InvalidDocument, match="contains itself"):
            refuse(around)


def test_largest_document() -> None:
    """A document may have 16 MiB as it is stored, and not one byte more."""
    largest = b"x" * (settings.MAX_DOCUMENT_BYTES - 5)  # MessagePack puts five bytes before a long binary
    assert encode(largest)[1] == 33 + len(largest)
    with pytest.raises(DocumentTooLarge) as refused:
        encode(largest + b"x")
    assert str(refused.value) == ("the document has 16,777,217 bytes as stored; a document has at most 16,777,216")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("x" * 101, "101"),
        ("\u20ac" * 101, "101"),
        (b"x" * 101, "101"),
        (2**808, "101"),
        (-(2**808), "101"),
        (["x" * 50] * 2, "102"),
        ([b"x" * 50] * 2, "102"),
        ([2**400] * 2, "102"),
        ({"a": "x" * 99}, "101"),
        ({"k" * 100: 1}, "101"),
        ([None] * 101, "101"),
        (dict.fromkeys(map(str, range(101))), "101"),
    ],
)
def test_too_large_is_known_before_writing_it_out(
    document: object, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that is bound to be too large is refused by what it holds, before it is encoded."""
    at_most(monkeypatch, 100)
    with pytest.raises(DocumentTooLarge) as refused:
        encode(document)
    assert str(refused.value) == f"the document has more than {expected} bytes as stored; a document has at most 100"


@pytest.mark.parametrize(
    "document", ["x" * 98, b"x" * 98, 2**767, ["x" * 48] * 2, {"k" * 40: "x" * 50}, [None] * 97, [[[]] * 9] * 9]
)
def test_up_to_the_limit_nothing_is_refused(document: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a document holds is never counted for more than it takes when stored."""
    record, _ = encode(document)
    at_most(monkeypatch, len(record) - HEAD.size)
    assert encode(document)[0] == record


def test_list_that_multiplies_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of the same lists, which would fill any memory once written out, are refused without doing so."""
    at_most(monkeypatch, 10_000)
    document: list[object] = [1] * 10
    for _ in range(90):
        document = [document] * 10
    with pytest.raises(DocumentTooLarge, match=r"the document has more than 10,0.. bytes"):
        encode(document)


# -- records that this version can't read --------------------------------------------------------------------------


SHORT = "can't be read: it is too short, expected 5 bytes and a document"
OTHER = "the record can't be read: it begins with the byte {}; this version reads format 1 only"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (b"", f"the record of 0 bytes {SHORT}"),
        (b"\x01", f"the record of 1 byte {SHORT}"),
        (b"\x01\x00\x00\x00", f"the record of 4 bytes {SHORT}"),
        (b"\x02\x00\x00\x00\x10\xc0", OTHER.format(2)),
        (b"\x00" * 9, OTHER.format(0)),
        (b"\xff", OTHER.format(255)),
    ],
)
def test_no_record_of_this_format(record: bytes, expected: str) -> None:
    """A record that is too short or of another format is refused, wherever in the bytes it begins."""
    for read in (decode, size_in):
        for before in (b"", b"\x01" * 8):
            with pytest.raises(UnreadableRecord) as refused:
                read(before + record, len(before))
            assert str(refused.value) == expected


def test_head_is_no_record() -> None:
    """The head alone has a size, but no document."""
    head = HEAD.pack(1, 60)
    assert size_in(head) == 60
    with pytest.raises(UnreadableRecord, match=r"^the record of 5 bytes can't be read: it is too short"):
        decode(head)


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",  # a byte that MessagePack doesn't use
        b"\xc0\xc0",  # two documents
        b"\xabhello",  # cut short
        b"\xa1\xff",  # no UTF-8
        b"\xa3\xed\xa0\x80",  # a lone surrogate
        b"\x81\xa1\xff\x01",  # no UTF-8 in a key
    ],
)
def test_damaged_record(body: bytes) -> None:
    """A record that can't be read is an error that says so, with the record's own length, wherever it begins."""
    for before in (b"", b"version."):
        with pytest.raises(
            UnreadableRecord, match=rf"^the record of {5 + len(body):,} bytes can't be read: it is damag"
        ):
            decode(before + record_of(body), len(before))


@pytest.mark.parametrize(
    ("foreign", "place", "expected"),
    [
        (STAMP, "", "a timestamp of MessagePack, which no document holds"),
        (b"\xd7\xff" + bytes(8), "", "a timestamp of MessagePack, which no document holds"),
        (b"\xc7\x0c\xff" + bytes(12), "", "a timestamp of MessagePack, which no document holds"),
        (b"\xd4\x02\x00", "", "the extension type 2 of MessagePack, which no document holds"),
        (b"\xc7\x00\x80", "", "the extension type -128 of MessagePack, which no document holds"),
        (b"\x81\x01\xc0", "", "a map with the key 1, of type int; keys are str"),
        (b"\x81\xc0\xc0", "", "a map with the key None, of type NoneType; keys are str"),
        (b"\x81\xc4\x01a\xc0", "", "a map with the key b'a', of type bytes; keys are str"),
        (b"\x82\xa1a\xc0\x02\xc0", "", "a map with the key 2, of type int; keys are str"),
        (b"\x81\x80\x01", "", "a map with a key that is a list or map; keys are str"),
        (b"\xd7\xff" + b"\xff" * 8, "", "a timestamp of MessagePack"),  # past the range of timestamps
        (b"\x81\xd6\xff\0\0\0\0\xc0", "", "a map with the key datetime.datetime(1970, 1, 1, 0, 0"),
        (b"\x82\xa1a\xc0\xa1b\x91" + STAMP, '["b"][0]', "a timestamp of MessagePack"),
        (b"\x92\xc4\x01x\x81\x05\xc0", "[1]", "a map with the key 5"),
        (b"\x91" * 20 + STAMP, "", ""),
        (b"\x91" * 20 + b"\x81\x01\xc0", "", ""),
        (b"\x91" * 101 + b"\xc0", "", ""),
        pytest.param(b"\x91" * 100_000 + b"\xc0", "", "a list 101 levels deep", id="nested 100,000 deep"),
        (b"\x90" * 0 + b"\x91" * 100 + b"\x80", "", ""),
        (b"\x92" + b"\xc7\x09\x01\x01" + bytes(8) + STAMP, "[1]", "a timestamp of MessagePack"),
    ],
)
def test_what_no_document_holds(foreign: bytes, place: str, expected: str) -> None:
    """What another program wrote into a record and no document holds is refused, alone and among others."""
    good = encode({"a": 1})[0]
    for read in (
        decode,
        lambda record: decode_many([good, record])[1],
        lambda record: decode_many([encode(b"bytes")[0], record])[1],
    ):
        with pytest.raises(UnreadableRecord) as refused:
            read(record_of(foreign))
        message = str(refused.value)
        assert message.startswith(f"the record of {5 + len(foreign):,} bytes can't be read: document{place}")
        assert f": {expected}" in message
        assert message.isprintable()


def test_a_short_float() -> None:
    """A float of 32 bits, as some programs write it, is taken for the float that it is equal to."""
    assert typed(decode(record_of(b"\x92\xca\x3f\xc0\x00\x00\xc4\x00"))) == typed([1.5, b""])
    assert typed(decode(record_of(b"\xca\x3f\xc0\x00\x00"))) == typed(1.5)


@pytest.mark.parametrize("depth", range(1, 12))
@pytest.mark.parametrize("inner", [b"bytes", 2**70, "text", {"a": None}, []])
def test_documents_of_any_depth(depth: int, inner: Document) -> None:
    """The quick way and the careful way read the same documents."""
    document = nested(depth, inner)
    assert typed(decode(encode(document)[0])) == typed(document)
    record = encode({"a": document})[0]
    assert typed(decode_many([record] * 3)) == typed([{"a": document}] * 3)


@given(st.binary() | st.builds(record_of, st.binary()))
def test_garbage_is_an_unreadable_record(record: bytes) -> None:
    """Whatever the bytes are, reading them raises nothing but UnreadableRecord; and what is read can be written."""
    with suppress(UnreadableRecord):
        size_in(record)
    with suppress(UnreadableRecord):
        document = decode(record)
        assert typed(decode(encode(document)[0])) == typed(document)


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | texts | st.binary()
    | st.datetimes(timezones=st.just(UTC)) | st.builds(msgspec.msgpack.Ext, st.integers(-128, 127), st.binary()),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(texts | st.integers(-5, 5) | st.binary(max_size=2), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(anything)
def test_what_is_read_can_be_written(value: object) -> None:
    """Of all that MessagePack has, what is read as a document can be stored again, and nothing is taken for another."""
    with suppress(UnreadableRecord):
        document = decode(record_of(msgspec.msgpack.encode(value)))
        assert typed(decode(encode(document)[0])) == typed(document)
