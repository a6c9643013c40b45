"""Document ⇄ record: how a document is stored. Pure; the only module that knows a record's format.

A *record* is the bytes that a shard stores for a document.

Rules:

- a record is a format byte, the document's size in the original pyshard's measure (unsigned, 4 bytes, big-endian), and
  the document in MessagePack;
- ints past 64 bits are the extension type 1: two's complement, big-endian;
- a shard decodes no record but for `increment`; clients encode and decode.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, TypeAlias, TypeVar, Union

import msgspec

from pyshard.errors import InvalidDocument, NotANumber
from pyshard.model import document_faults
from pyshard.model.document_size import LARGEST_INT, SMALLEST_INT, DocumentWalk, flat_size, too_large
from pyshard.model.plain_values import plain_key, plain_value
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

_BIG_INT = 1  # the extension type
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
    return HEAD.pack(FORMAT, size) + body, size


def decode(record: bytes, begin: int = 0) -> Document:
    """The document of a record.

    :param begin: where in the bytes the record begins.
    :raises InvalidDocument: when the record is of a format that this version doesn't know, or damaged.
    """
    if len(record) <= begin + HEAD.size or record[begin] != FORMAT:
        raise _unknown_format(record[begin:])
    try:
        document: Document = decode_body(memoryview(record)[begin + HEAD.size :])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidDocument(f"a record of {len(record):,} bytes is damaged: {error}") from None
    return document


def decode_int(record: bytes) -> int:
    """The int that a record holds. A record of another type is known by its first byte, without decoding it.

    :raises NotANumber: it holds something else.
    :raises InvalidDocument: as `decode`.
    """
    kind = _TYPES.get(record[HEAD.size]) if len(record) > HEAD.size else None
    value = None if kind else decode(record)
    if type(value) is not int:
        raise NotANumber(f"the document is of type {kind or type(value).__name__}; increment takes an int")
    return value


def size_in(record: bytes, begin: int = 0) -> int:
    """The document's size that a record (or its head) carries.

    :param begin: where in the bytes the record begins.
    :raises InvalidDocument: as `decode`.
    """
    if len(record) < begin + HEAD.size or record[begin] != FORMAT:
        raise _unknown_format(record[begin:])
    size: int = HEAD.unpack_from(record, begin)[1]
    return size


def _unknown_format(record: bytes) -> InvalidDocument:
    return InvalidDocument(f"a record starts with {record[:5]!r}; this version reads format {FORMAT} only")


def _plain(value: object) -> object:
    """A copy of plain values alone, in which ints past 64 bits are MessagePack extensions."""
    value = plain_value(value)
    if isinstance(value, int) and not SMALLEST_INT <= value <= LARGEST_INT:
        length = value.bit_length() // 8 + 1
        return msgspec.msgpack.Ext(_BIG_INT, value.to_bytes(length, "big", signed=True))
    if isinstance(value, dict):
        return {plain_key(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def _extension(code: int, data: memoryview) -> object:
    if code != _BIG_INT:
        raise InvalidDocument(f"a record holds extension type {code}, which this version doesn't know")
    return int.from_bytes(data, "big", signed=True)


#: The MessagePack of a document without ints past 64 bits, and back: the part of a record behind its head.
encode_body: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
decode_body: Callable[[Any], Any] = msgspec.msgpack.Decoder(ext_hook=_extension).decode
