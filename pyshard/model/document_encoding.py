"""Document ⇄ record: how a document is stored. Pure; the only module that knows a record's format.

A *record* is the bytes that a shard stores for a document.

Rules:

- a record is a format byte, the document's size in the original pyshard's measure (unsigned, 4 bytes, big-endian), and
  the document in MessagePack;
- a document of too many elements is neither made nor decoded (`pyshard.model.element_limit`);
- ints past 64 bits are the extension type 1: two's complement, big-endian;
- a shard decodes no record but for `increment`; clients encode and decode;
- a reader refuses what is no record, and what no document holds (`pyshard.model.strict_messagepack`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol, TypeAlias, TypeVar, Union

import msgspec

from pyshard.compiled import IN_USE, document_leaves
from pyshard.errors import DocumentTooLarge, InvalidDocument, NotANumber, UnreadableRecord, plain
from pyshard.model import document_faults
from pyshard.model.document_size import LARGEST_INT, SMALLEST_INT, DocumentWalk, flat_size, measure, too_large
from pyshard.model.element_limit import elements_fault
from pyshard.model.messagepack_faults import BIG_INT
from pyshard.model.plain_values import plain_key, plain_value
from pyshard.model.strict_messagepack import DECODE_ERRORS, NEEDS_CARE, careful_document, quick_document
from pyshard.settings import settings

#: What a document can be, nested: as JSON, with bytes, ints of any size, nan and inf.
Document: TypeAlias = Union[bool, int, float, str, bytes, list["Document"], dict[str, "Document"], None]  # noqa: UP007  # it names itself

_KeyOf_co = TypeVar("_KeyOf_co", covariant=True)
_ValueOf_co = TypeVar("_ValueOf_co", covariant=True)


class SupportsItems(Protocol[_KeyOf_co, _ValueOf_co]):
    """A mapping, for type checkers: unlike a `Mapping` by str, one by members of a StrEnum is one by str, too."""

    def items(self) -> AbstractSet[tuple[_KeyOf_co, _ValueOf_co]]:
        """See `Mapping`."""
        ...


#: What a type checker lets through as a document. It is wider than `Document`, so that a ``dict[str, str]`` or a
#: TypedDict passes; what the document holds is checked when it is encoded.
Storable: TypeAlias = bool | int | float | str | bytes | Sequence[object] | SupportsItems[str, object] | None

#: The format byte of records that this version writes.
FORMAT = 1

#: Format byte and size: the part of a record that `remove` answers with.
HEAD = struct.Struct("!BI")

# A document's type by its first byte in MessagePack; with any other byte it is an int, or damaged.
_TYPES = {
    **dict.fromkeys([*range(0x80, 0x90), 0xDE, 0xDF], "dict"),
    **dict.fromkeys([*range(0x90, 0xA0), 0xDC, 0xDD], "list"),
    **dict.fromkeys([*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB], "str"),
    **dict.fromkeys([0xC4, 0xC5, 0xC6], "bytes"),
    **dict.fromkeys([0xC2, 0xC3], "bool"),
    **dict.fromkeys([0xCA, 0xCB], "float"),
    0xC0: "NoneType",
}


def encode(document: object) -> tuple[bytes, int]:
    """The record of a document, and the document's size (see `pyshard.model.document_size.measure`).

    :param document: see `Document`; a tuple is taken for a list, and a value of a subclass for the plain one that it is
        equal to.
    :raises InvalidDocument: it names what can't be stored, and its place.
    :raises DocumentTooLarge: past `settings.MAX_DOCUMENT_BYTES`.
    """
    if IN_USE:
        found = document_leaves.record_of(
            document, encode_body, settings.MAX_DOCUMENT_BYTES, settings.MAX_NESTING, settings.MAX_ELEMENTS
        )
        if found is not None:
            return found
    return encode_plainly(document)


def encode_plainly(document: object) -> tuple[bytes, int]:
    """What `encode` gives, for any document; it says what can't be stored."""
    size = flat_size(document) if type(document) is dict else None
    if size is None:
        walk = DocumentWalk()
        try:
            size = walk.size(document, 0)
            walk.check()
        except InvalidDocument as error:
            raise document_faults.located(document, error) from None
        if walk.special:
            document = _plain(document)
    try:
        body = encode_body(document)
    except UnicodeEncodeError:
        raise document_faults.with_surrogates(document) from None
    if len(body) > settings.MAX_DOCUMENT_BYTES:
        raise document_faults.located(document, too_large(f"{len(body):,}"))
    if len(body) > settings.MAX_ELEMENTS and (fault := elements_fault(body)) is not None:
        raise InvalidDocument(fault)
    return HEAD.pack(FORMAT, size) + body, size


def decode(record: bytes, begin: int = 0) -> Document:
    """The document of a record.

    :param begin: where in the bytes the record begins.
    :raises UnreadableRecord: the record is of a format that this version doesn't know, damaged, or holds what no
        document holds, or more elements than a document may have.
    """
    if len(record) <= begin + HEAD.size or record[begin] != FORMAT:
        raise _no_head(record[begin:])
    body = memoryview(record)[begin + HEAD.size :]
    large = len(body) > settings.MAX_ELEMENTS
    if large and (fault := elements_fault(body)) is not None:
        raise UnreadableRecord(fault)
    try:
        # A large one is looked at first: that takes a hundredth of decoding it in vain, up to a fault near its end.
        if body[0] in NEEDS_CARE or (large and IN_USE):
            document: Document = careful_document(body)
        else:
            try:
                document = quick_document(body)
            except msgspec.ValidationError:
                document = careful_document(body)
    except UnreadableRecord as error:
        raise _unreadable(len(record) - begin, str(error)) from None
    except DECODE_ERRORS as error:
        raise _unreadable(len(record) - begin, f"it is damaged: {plain(str(error))}") from None
    return document


def decode_int(record: bytes | memoryview, most_bytes: int | None = None) -> int:
    """The int that a record holds. A record of another type is known by its first byte, without copying or decoding it.

    :param most_bytes: that the record of an int may have; None: as many as any document.
    :raises NotANumber: it holds something else.
    :raises DocumentTooLarge: it has more bytes.
    :raises UnreadableRecord: as `decode`.
    """
    kind = _TYPES.get(record[HEAD.size]) if len(record) > HEAD.size and record[0] == FORMAT else None
    if kind is None and most_bytes is not None:
        check_int_size(len(record), most_bytes)
    value = None if kind else decode(bytes(record))
    if type(value) is not int:
        raise NotANumber(f"the document is of type {kind or type(value).__name__}; increment takes an int")
    return value


def check_int_size(size: int, most_bytes: int) -> None:
    """Refuse an int that is too large to count with.

    :param size: bytes of its record.
    :raises DocumentTooLarge: it has more bytes.
    """
    if size > most_bytes:
        raise DocumentTooLarge(f"the int has {size:,} bytes as stored; increment takes at most {most_bytes:,}")


def size_in(record: bytes, begin: int = 0) -> int:
    """The document's size that a record (or its head) carries.

    :param begin: where in the bytes the record begins.
    :raises UnreadableRecord: the head is none that this version knows.
    """
    if len(record) < begin + HEAD.size or record[begin] != FORMAT:
        raise _no_head(record[begin:])
    size: int = HEAD.unpack_from(record, begin)[1]
    return size


def with_its_size(record: bytes) -> bytes:
    """A record, with the size that its document has in place of the one that its writer put into the head.

    :raises UnreadableRecord: as `decode`.
    """
    return HEAD.pack(FORMAT, measure(decode(record))) + record[HEAD.size :]


def _no_head(record: bytes) -> UnreadableRecord:
    if len(record) > HEAD.size or (record and record[0] != FORMAT):
        return UnreadableRecord(
            f"the record can't be read: it begins with the byte {record[0]}; this version reads format {FORMAT} only"
        )
    return _unreadable(len(record), f"it is too short, expected {HEAD.size} bytes and a document")


def _unreadable(size: int, why: str) -> UnreadableRecord:
    return UnreadableRecord(f"the record of {size:,} byte{'' if size == 1 else 's'} can't be read: {why}")


def _plain(value: object) -> object:
    """A copy of plain values alone, in which ints past 64 bits are MessagePack extensions."""
    value = plain_value(value)
    if isinstance(value, int) and not SMALLEST_INT <= value <= LARGEST_INT:
        length = value.bit_length() // 8 + 1
        return msgspec.msgpack.Ext(BIG_INT, value.to_bytes(length, "big", signed=True))
    if isinstance(value, dict):
        return {plain_key(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


#: The MessagePack of a document without ints past 64 bits: the part of a record behind its head.
encode_body: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
