"""Many documents ⇄ their records at once, as bulk verbs want them. Pure.

One by one, most of the time would be spent in Python around each document. Most documents are flat dicts, and those of
one source are alike: all have the same types of values in the same order. Such ones are taken column by column, the
first values of all of them, then their second ones, with calls in C over each column.

Rules:

- each function agrees with its plain twin, ``…_plainly``, which is used for all other documents;
- what is refused, and the error for it, is always the plain twin's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from operator import add, itemgetter
from typing import cast

from pyshard.compiled import IN_USE, document_leaves
from pyshard.errors import UnreadableRecord
from pyshard.model.document_encoding import FORMAT, HEAD, Document, decode, encode, encode_body
from pyshard.model.document_size import DIGIT, values_size, wide_size
from pyshard.model.strict_messagepack import DECODE_ERRORS, careful_document, quick_document
from pyshard.settings import settings


def encode_many(documents: Sequence[object], room: int) -> tuple[list[bytes], list[int]]:
    """The records of many documents, and the documents' sizes; see `pyshard.model.document_encoding.encode`.

    :param room: bytes of records after which it ends, with documents left over.
    """
    found = _encode_compiled(documents, room) if IN_USE else _encode_flat(documents, room)
    return found or encode_many_plainly(documents, room)


def encode_many_plainly(documents: Sequence[object], room: int) -> tuple[list[bytes], list[int]]:
    """What `encode_many` gives, one by one."""
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


def decode_many(records: Sequence[bytes], begin: int = 0) -> list[Document]:
    """The documents of many records; see `pyshard.model.document_encoding.decode`.

    :raises UnreadableRecord: when one of them can't be read.
    """
    few = len(b"".join(records)) <= settings.MAX_ELEMENTS  # to join them costs a fifth of looking at each length
    if not few and max(map(len, records)) > settings.MAX_ELEMENTS:  # one of them may have too many elements
        return decode_many_plainly(records, begin)
    bodies = _bodies(records, begin)
    if bodies is not None:
        try:
            return list(map(quick_document, bodies))
        except DECODE_ERRORS:
            pass  # there is one that only the careful way takes, or none does
        try:
            return list(map(careful_document, bodies))
        except (*DECODE_ERRORS, UnreadableRecord):
            pass  # one by one it is found which record it is
    return decode_many_plainly(records, begin)


def _bodies(records: Sequence[bytes], begin: int) -> list[bytes] | None:
    """What is behind the heads of records; None: one has no head."""
    try:
        if list(map(itemgetter(begin), records)).count(FORMAT) < len(records):
            return None
    except IndexError:
        return None
    return list(map(itemgetter(slice(begin + HEAD.size, None)), records))


def decode_many_plainly(records: Sequence[bytes], begin: int = 0) -> list[Document]:
    """What `decode_many` gives, one by one."""
    return [decode(record, begin) for record in records]


def _encode_compiled(documents: Sequence[object], room: int) -> tuple[list[bytes], list[int]] | None:
    """What `encode_many` gives; None: one of the documents isn't of plain values, or can't be stored."""
    most = settings.MAX_DOCUMENT_BYTES
    return document_leaves.records_of(documents, room, encode_body, most, settings.MAX_NESTING, settings.MAX_ELEMENTS)


def _encode_flat(documents: Sequence[object], room: int) -> tuple[list[bytes], list[int]] | None:
    """What `encode_many` gives, by calls in C over all documents.

    :return: None when they aren't all flat dicts (see `flat_size`), or don't all have room.
    """
    if not _are_all(dict, documents):
        return None
    dicts = cast("Sequence[dict[str, object]]", documents)
    names = list(chain.from_iterable(dicts))
    if not _are_all(str, names) or 2 * len(names) > settings.MAX_ELEMENTS:
        return None
    longest = max(map(len, set(names)), default=0)
    most = min(room, settings.MAX_DOCUMENT_BYTES)
    left = most - len(names) * longest  # for values, at the least
    measured = sizes_by_columns(dicts, left) or list(map(values_size, dicts))
    if None in measured:
        return None
    sizes = cast("list[int]", measured)
    if sum(sizes) >= left:
        return None
    heads = {size: HEAD.pack(FORMAT, size) for size in set(sizes)}
    try:
        records = list(map(add, map(heads.__getitem__, sizes), map(encode_body, documents)))
    except UnicodeEncodeError:
        return None
    return (records, sizes) if sum(map(len, records)) < most else None


def sizes_by_columns(documents: Sequence[dict[str, object]], room: int) -> list[int | None] | None:
    """What `values_size` gives for each of many dicts that are alike.

    :param room: characters that a column of texts may have, as they are looked at together.
    :return: None unless each column has values of one type: str, float, bool, or int with one digit at the most.
    """
    same = 0  # what each document counts
    others: list[Iterable[int]] = []  # for some columns, what each document counts beside it
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
                    others.append([49 + len(text) if text.isascii() else wide_size(text) for text in column])
            elif kind is float:
                same += 24
            elif kind is bool or (kind is int and min(column) > -DIGIT and max(column) < DIGIT):
                same += 28
                if not all(column):
                    others.append([0 if value else -4 for value in column])
            else:
                return None
    except ValueError:  # some have more values than others
        return None
    return list(map(sum, zip(repeat(same, len(documents)), *others, strict=True)))


def _are_all(kind: type, values: Sequence[object]) -> bool:
    """Whether values are of one very type."""
    return list(map(type, values)).count(kind) == len(values)
