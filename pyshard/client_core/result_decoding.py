"""What callers are given for the results of a run: hashes, documents, sizes; and the types of these. Pure.

Rules:

- A result that can't be read becomes the error for its own key. The other keys keep their outcomes.
- All keys of a run are decoded together where that is possible: one call in C costs less than a call in Python for
  each key. The plain way, key by key, stands beside it, and tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypedDict, cast

from pyshard.errors import PyshardError
from pyshard.model import document_encoding
from pyshard.model.bulk_document_encoding import decode_many
from pyshard.model.document_encoding import Document
from pyshard.model.key_slots import SLOTS, slot_to_hash
from pyshard.protocol.batch_answers import ITEM, VERSION, Result
from pyshard.protocol.batch_operations import Increment, Pop, Read, ReadItem, Remove, Run, Write


class Record(TypedDict):
    """What `read` and `pop` give: the key's hash, a number in [0, 1), and the document."""

    hash_: float
    record: Document


class Item(TypedDict):
    """What `item` gives: a document and all that is known of it.

    :ivar key: the key's text.
    :ivar hash_: as in `Record`.
    :ivar record: the document.
    :ivar version: rises with every write to the key's shard.
    :ivar expiry: when the document will be gone, in seconds since 1970 by the shard's clock; None: never.
    :ivar ttl: seconds until then; None: for ever.
    :ivar size: what `write` gave.
    """

    key: str
    hash_: float
    record: Document
    version: int
    expiry: float | None
    ttl: float | None
    size: int


#: Makes outcomes of the results of a run, with the parameters of `outcomes_of`.
Decode: TypeAlias = Callable[[Run, Sequence[int], Sequence[int], list[Result]], list[object]]


def outcomes_of(run: Run, slots: Sequence[int], sizes: Sequence[int], results: list[Result]) -> list[object]:
    """What the single verb gives for each key, or a `PyshardError` where the result can't be read.

    :param slots: the slot of each key.
    :param sizes: of a write: what it answers for each key that it stored, a size or True; else empty.
    :param results: what the shard answered for each key.
    """
    if isinstance(run, (Read, Pop)):
        return _records(slots, results)
    if isinstance(run, Write):
        return _stored(sizes, results)
    if isinstance(run, Remove):
        return [_size(result) for result in results]
    if isinstance(run, ReadItem):
        return [_item(key, slot, result) for key, slot, result in zip(run.keys, slots, results, strict=True)]
    if isinstance(run, Increment):
        return [_number(result) for result in results]
    return [bool(result) for result in results]


def _records(slots: Sequence[int], results: list[Result]) -> list[object]:
    if len(results) > 1 and all(results):  # a result is never empty: it begins with the version
        try:
            found = decode_many(cast("list[bytes]", results), VERSION.size)
        except PyshardError:
            pass  # below it turns out which one it is
        else:
            return [{"hash_": slot / SLOTS, "record": one} for slot, one in zip(slots, found, strict=True)]
    return [_record(slot, result) for slot, result in zip(slots, results, strict=True)]


def _record(slot: int, result: Result) -> object:
    try:
        if isinstance(result, bytes):
            return {"hash_": slot / SLOTS, "record": document_encoding.decode(result, VERSION.size)}
    except PyshardError as error:
        return error
    return None


def _stored(sizes: Sequence[int], results: list[Result]) -> list[object]:
    if all(results):
        return list(sizes)
    return [size if result else type(size)(0) for size, result in zip(sizes, results, strict=True)]


def _size(head: Result) -> int | PyshardError:
    try:
        return document_encoding.size_in(head) if isinstance(head, bytes) else 0
    except PyshardError as error:
        return error


def _item(key: bytes, slot: int, result: Result) -> object:
    if not isinstance(result, bytes):
        return None
    version, expires, remaining = ITEM.unpack_from(result)
    try:
        return {
            "key": key.decode(),
            "hash_": slot_to_hash(slot),
            "record": document_encoding.decode(result, ITEM.size),
            "version": version,
            "expiry": expires / 1000 if expires else None,
            "ttl": remaining / 1000 if expires else None,
            "size": document_encoding.size_in(result, ITEM.size),
        }
    except PyshardError as error:
        return error


def _number(record: Result) -> object:
    try:
        return document_encoding.decode(record) if isinstance(record, bytes) else None
    except PyshardError as error:
        return error
