"""Document ⇄ record, and a document's size. Pure; the only module that knows the document format.

A *record* is what a shard stores and never looks into: a format byte, the document's size in the seed's
measure (unsigned, 4 bytes, big-endian), then the document in MessagePack. Ints past 64 bits are the extension
type 1: two's complement, big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from operator import add, itemgetter
from typing import TypeAlias, Union, cast

import msgspec

from pyshard.errors import DocumentTooLarge, InvalidDocument, NotANumber
from pyshard.settings import settings

#: What a document can be, nested: as JSON, with bytes, ints of any size, nan and inf.
Document: TypeAlias = Union[bool, int, float, str, bytes, list["Document"], dict[str, "Document"], None]  # noqa: UP007  # it names itself

#: What a type checker is to let through as a document: wider than `Document`, so that a ``dict[str, str]`` or a
#: TypedDict passes; what it holds is checked when it is encoded.
Storable: TypeAlias = bool | int | float | str | bytes | Sequence[object] | Mapping[str, object] | None

#: The format byte of records that this version writes.
FORMAT = 1

#: Format byte and size: the part of a record that `remove` answers with.
HEAD = struct.Struct("!BI")

_BIG_INT = 1
_DIGIT = 2**30  # ints below it have one digit, or none
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
# What a document is by its first byte in MessagePack; an int, or damaged, with any other.
_KINDS = {
    **dict.fromkeys([*range(0x80, 0x90), 0xDE, 0xDF], "dict"),
    **dict.fromkeys([*range(0x90, 0xA0), 0xDC, 0xDD], "list"),
    **dict.fromkeys([*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB], "str"),
    **dict.fromkeys([0xC4, 0xC5, 0xC6], "bytes"),
    **dict.fromkeys([0xC2, 0xC3], "bool"),
    **dict.fromkeys([0xCA, 0xCB], "float"),
    0xC0: "NoneType",
}


def encode(document: object) -> tuple[bytes, int]:
    """The record of a document, and the document's size (see `measure`).

    :param document: see `Document`; a tuple is taken for a list.
    :raises InvalidDocument: it names what can't be stored.
    :raises DocumentTooLarge: past `settings.MAX_DOCUMENT_BYTES`.
    """
    size = _flat_size(document) if type(document) is dict else None
    if size is None:
        walk = _Walk()
        size = walk.size(document, 0)
        walk.check()
        if walk.big_ints:
            document = _with_big_ints(document)
    try:
        body = _encode(document)
    except UnicodeEncodeError:
        raise InvalidDocument(
            "the document has a str with lone surrogates, which UTF-8 can't carry; store bytes"
        ) from None
    if len(body) > settings.MAX_DOCUMENT_BYTES:
        raise _too_large(f"{len(body):,}")
    return HEAD.pack(FORMAT, size) + body, size


def encode_many(documents: Sequence[object], room: int) -> tuple[list[bytes], list[int]]:
    """The records of many documents, and the documents' sizes; see `encode`.

    :param room: bytes of records after which it ends, with documents left over.
    """
    together = _encode_flat(documents, room)
    if together is not None:
        return together
    records: list[bytes] = []
    sizes: list[int] = []
    for document in documents:
        record, size = encode(document)
        records.append(record)
        sizes.append(size)
        room -= len(record)
        if room <= 0:
            break
    return records, sizes


def _encode_flat(documents: Sequence[object], room: int) -> tuple[list[bytes], list[int]] | None:
    """What `encode_many` gives, by calls in C over all documents.

    :return: None when they aren't all flat dicts (see `_flat_size`) that have room together.
    """
    if not _are_all(dict, documents):
        return None
    dicts = cast("Sequence[dict[str, object]]", documents)
    names = list(chain.from_iterable(dicts))
    if not _are_all(str, names):
        return None
    longest = max(map(len, set(names)), default=0)
    together = min(room, settings.MAX_DOCUMENT_BYTES) - len(names) * longest  # what is sure to be left for values
    measured = _sizes_by_columns(dicts, together) or list(map(_values_size, dicts))
    if None in measured:
        return None
    sizes = cast("list[int]", measured)
    if sum(sizes) >= together:
        return None
    heads = {size: HEAD.pack(FORMAT, size) for size in set(sizes)}
    try:
        records = list(map(add, map(heads.__getitem__, sizes), map(_encode, documents)))
    except UnicodeEncodeError:
        return None
    return (records, sizes) if sum(map(len, records)) < room else None


def _are_all(kind: type, values: Sequence[object]) -> bool:
    """Whether values are of one very type."""
    return list(map(type, values)).count(kind) == len(values)


def _sizes_by_columns(documents: Sequence[dict[str, object]], room: int) -> list[int | None] | None:
    """`_values_size` of dicts that are alike, as those of one source are: their first values, then their second ones …

    :param room: characters that a column of texts may have, as they are looked at together.
    :return: None unless in all of them they are of the same types, and those that are to be found here.
    """
    same = 0  # what each of them counts
    others: list[Iterable[int]] = []  # what counts differently from one to the next
    try:
        for column in zip(*map(dict.values, documents), strict=True):
            kind = type(column[0])
            if not _are_all(kind, column):
                return None
            if kind is str:
                lengths = list(map(len, column))
                if sum(lengths) >= room:
                    return None
                if "".join(column).isascii():
                    same += 49
                    others.append(lengths)
                else:
                    others.append([49 + len(text) if text.isascii() else _wide_size(text) for text in column])
            elif kind is float:
                same += 24
            elif kind is int and min(column) > -_DIGIT and max(column) < _DIGIT:
                same += 28
                if not all(column):
                    others.append([0 if value else -4 for value in column])
            else:
                return None
    except ValueError:  # some have more values than others
        return None
    return list(map(sum, zip(repeat(same, len(documents)), *others, strict=True)))


def decode(record: bytes, begin: int = 0) -> Document:
    """The document of a record.

    :param begin: where in the bytes the record begins.
    :raises InvalidDocument: when the record is of a format that this version doesn't know, or damaged.
    """
    if len(record) <= begin + HEAD.size or record[begin] != FORMAT:
        raise _unknown_format(record[begin:])
    try:
        document: Document = _decoder.decode(memoryview(record)[begin + HEAD.size :])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidDocument(f"a record of {len(record):,} bytes is damaged: {error}") from None
    return document


def decode_int(record: bytes) -> int:
    """The int that a record holds. Anything else is told by its first byte, however large it is.

    :raises NotANumber: it holds something else.
    :raises InvalidDocument: as `decode`.
    """
    kind = _KINDS.get(record[HEAD.size]) if len(record) > HEAD.size else None
    value = None if kind else decode(record)
    if type(value) is not int:
        raise NotANumber(f"the document is of type {kind or type(value).__name__}; increment takes an int")
    return value


def decode_many(records: Sequence[bytes], begin: int = 0) -> list[Document]:
    """The documents of many records; see `decode`.

    :raises InvalidDocument: when one of them can't be read.
    """
    body = begin + HEAD.size
    try:
        if list(map(itemgetter(begin), records)).count(FORMAT) == len(records):
            return list(map(_decode, map(itemgetter(slice(body, None)), records)))
    except (IndexError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidDocument):
        pass  # one by one it turns out which one it is
    return [decode(record, begin) for record in records]


def size_in(record: bytes, begin: int = 0) -> int:
    """The size, in the seed's measure, that a record (or its head) carries.

    :param begin: where in the bytes the record begins.
    :raises InvalidDocument: as `decode`.
    """
    if len(record) < begin + HEAD.size or record[begin] != FORMAT:
        raise _unknown_format(record[begin:])
    size: int = HEAD.unpack_from(record, begin)[1]
    return size


def measure(document: object) -> int:
    """A document's size in the seed's measure: the same number on every Python version.

    For a scalar, what ``sys.getsizeof`` gave on CPython 3.6 to 3.11 with 64 bits (0 and False, for which 3.11 alone
    gave 28, count as in the versions before it):

    - None: 16; False: 24; True: 28; float: 24;
    - int: 24 and 4 for each 30-bit digit of its absolute value (0 has none);
    - str: 49 and 1 a character when all are ASCII; 73 and 1 when all are below U+0100; 74 and 2 when all are below
      U+10000; else 76 and 4;
    - bytes: 33 and 1 a byte.

    For a dict or list, the sum over its values (so 0 for an empty one). Keys count nothing.

    :raises InvalidDocument: as `encode`.
    """
    return _Walk().size(document, 0)


def _flat_size(document: dict[object, object]) -> int | None:
    """What `_Walk` says of a flat dict, which holds only strs, small ints, floats, bools and None: of most documents.

    :return: None for any other, and for what may be too large.
    """
    length = 0
    for key in document:
        if type(key) is not str:
            return None
        length += len(key)
    size = _values_size(cast("dict[str, object]", document))
    return size if size is not None and size + length <= settings.MAX_DOCUMENT_BYTES else None


def _values_size(document: Mapping[str, object]) -> int | None:
    """`_flat_size` of a dict with str keys."""
    size = 0
    for value in document.values():
        kind = type(value)
        if kind is str:
            size += 49 + len(value) if value.isascii() else _wide_size(value)  # type: ignore[arg-type, attr-defined]  # a str
        elif kind is int:
            if not -_DIGIT < value < _DIGIT:  # type: ignore[operator]  # an int
                return None
            size += 28 if value else 24
        elif kind is float:
            size += 24
        elif value is None:
            size += 16
        elif kind is bool:
            size += 28 if value else 24
        else:
            return None
    return size


def _wide_size(text: str) -> int:
    """The size of a str that isn't ASCII."""
    count, widest = len(text), max(text)
    return 73 + count if widest < "\u0100" else 74 + 2 * count if widest < "\U00010000" else 76 + 4 * count


class _Walk:
    """One pass over a document: measures it and refuses what can't be stored.

    `floor` counts bytes that the encoded document has at the least, so that one that holds a huge list many
    times over is refused before it is written out.
    """

    __slots__ = ("big_ints", "floor")

    def __init__(self) -> None:
        self.big_ints = False
        self.floor = 0

    def size(self, value: object, depth: int) -> int:
        kind = type(value)
        if kind is str:
            assert isinstance(value, str)
            count = len(value)
            self.floor += count
            return 49 + count if value.isascii() else _wide_size(value)
        if kind is int:
            assert isinstance(value, int)
            if not _SMALLEST <= value <= _LARGEST:
                self.big_ints = True
                self.floor += value.bit_length() // 8
            return 24 + 4 * ((value.bit_length() + 29) // 30)
        if kind is float:
            return 24
        if value is None:
            return 16
        if kind is bool:
            return 28 if value else 24
        if kind is dict or kind is list or kind is tuple:
            assert isinstance(value, (dict, list, tuple))
            return self._container(value, depth + 1)
        if kind is bytes:
            assert isinstance(value, bytes)
            self.floor += len(value)
            return 33 + len(value)
        raise InvalidDocument(
            f"the document holds a value of type {kind.__module__}.{kind.__qualname__}; "
            "it can hold None, bool, int, float, str, bytes, list and dict with str keys"
        )

    def _container(self, value: dict[object, object] | list[object] | tuple[object, ...], depth: int) -> int:
        if depth > settings.MAX_NESTING:
            raise InvalidDocument(
                f"the document nests deeper than {settings.MAX_NESTING} levels, or a list or dict in it contains itself"
            )
        self.floor += len(value)
        self.check()
        values: object = value
        if isinstance(value, dict):
            for key in value:
                if type(key) is not str:
                    raise InvalidDocument(
                        f"the document holds a dict with a key of type {type(key).__name__}; keys of a dict are str"
                    )
                self.floor += len(key)
            values = value.values()
        size, total = self.size, 0
        for one in values:  # type: ignore[attr-defined]  # a list, a tuple or a dict's values
            total += size(one, depth)
        return total

    def check(self) -> None:
        if self.floor > settings.MAX_DOCUMENT_BYTES:
            raise _too_large(f"more than {self.floor:,}")


def _unknown_format(record: bytes) -> InvalidDocument:
    return InvalidDocument(f"a record starts with {record[:5]!r}; this version reads format {FORMAT} only")


def _too_large(found: str) -> DocumentTooLarge:
    return DocumentTooLarge(
        f"the document has {found} bytes as stored; a document has at most {settings.MAX_DOCUMENT_BYTES:,}"
    )


def _with_big_ints(value: object) -> object:
    """A copy in which ints past 64 bits are MessagePack extensions."""
    if type(value) is int and not _SMALLEST <= value <= _LARGEST:
        length = value.bit_length() // 8 + 1
        return msgspec.msgpack.Ext(_BIG_INT, value.to_bytes(length, "big", signed=True))
    if isinstance(value, dict):
        return {key: _with_big_ints(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_big_ints(one) for one in value]
    return value


def _extension(code: int, data: memoryview) -> object:
    if code != _BIG_INT:
        raise InvalidDocument(f"a record holds extension type {code}, which this version doesn't know")
    return int.from_bytes(data, "big", signed=True)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ext_hook=_extension)
_encode, _decode = _encoder.encode, _decoder.decode
