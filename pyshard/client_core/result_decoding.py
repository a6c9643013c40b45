"""What callers are given for the results of a run: hashes, documents, sizes; and the types of these. Pure.

Rules:

- A result that can't be read becomes the error for its own key, which names key and index, and has the record. The
  other keys keep their outcomes.
- A verb that removed such a record says so: the shard does what it is asked, whatever the record holds.
- All keys of a run are decoded together where that is possible: one call in C costs less than a call in Python for
  each key. The plain way, key by key, stands beside it, and tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypedDict, cast

from pyshard.client_core.operation import shown
from pyshard.compiled import IN_USE, document_leaves
from pyshard.errors import NotANumber, OutcomeUnknown, UnreadableRecord
from pyshard.model import document_encoding
from pyshard.model.bulk_document_encoding import decode_many
from pyshard.model.document_encoding import Document
from pyshard.model.key_slots import SLOTS, slot_to_hash
from pyshard.model.strict_messagepack import quick_document
from pyshard.protocol.answer_size_check import MOST_RECORDS
from pyshard.protocol.batch_answers import ITEM, VERSION, Result
from pyshard.protocol.batch_operations import Increment, Pop, Read, ReadItem, Remove, Run, Write, verb_of
from pyshard.settings import settings


class Record(TypedDict):
    """What `read` and `pop` give.

    :ivar hash_: the key's hash, a number in [0, 1).
    :ivar record: the document.
    """

    hash_: float
    record: Document


class Item(TypedDict):
    """What `item` gives: a document and all that is known of it.

    :ivar key: the key's text.
    :ivar hash_: the key's hash, a number in [0, 1).
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
        return _records(run, slots, results)
    if isinstance(run, Write):
        return _stored(sizes, results)
    if isinstance(run, Remove):
        return [_size(run, key, result) for key, result in zip(run.keys, results, strict=True)]
    if isinstance(run, ReadItem):
        return [_item(run, key, slot, result) for key, slot, result in zip(run.keys, slots, results, strict=True)]
    if isinstance(run, Increment):
        return [_number(run, key, result) for key, result in zip(run.keys, results, strict=True)]
    return [bool(result) for result in results]


def outcomes_in(data: bytes, run: Run, slots: Sequence[int], decode: Decode) -> list[object] | None:
    """What `decode` gives for the results in a shard's answer to a batch of one run, without a list of these between.

    :param data: the answer, in MessagePack.
    :return: None: the answer has to be decoded first, as it has errors, may be past a limit, or isn't one that the verb
        has; or there is no compiled code for it.
    """
    if not IN_USE or decode is not outcomes_of or not isinstance(run, (Read, Pop)) or len(data) > MOST_RECORDS:
        return None
    return document_leaves.answered_records(data, slots, VERSION.size, quick_document, settings.MAX_ELEMENTS)


def operation_name(run: Run, key: bytes) -> str:
    """A verb, its key and its index as messages show them."""
    return f"{verb_of(run)} of key {shown(key)}" + (f" of index {run.index!r}" if run.index else "")


def _unreadable(run: Run, key: bytes, error: UnreadableRecord, record: bytes) -> UnreadableRecord:
    """The error for a key's record, or its head, given what is wrong with it."""
    removed = isinstance(run, (Pop, Remove))
    done = "; it was removed" if removed else ""
    return UnreadableRecord(f"{operation_name(run, key)}: {error}{done}", record, removed)


def _records(run: Read | Pop, slots: Sequence[int], results: list[Result]) -> list[object]:
    if IN_USE:
        compiled = document_leaves.found_records(results, slots, VERSION.size, quick_document, settings.MAX_ELEMENTS)
        if compiled is not None:
            return compiled
    if len(results) == 1:
        return [_record(run, run.keys[0], slots[0], results[0])]
    if results and all(results):  # a result is never empty: it begins with the version
        try:
            found = decode_many(cast("list[bytes]", results), VERSION.size)
        except UnreadableRecord:
            pass  # below it turns out which one it is
        else:
            return [{"hash_": slot / SLOTS, "record": one} for slot, one in zip(slots, found, strict=True)]
    return [_record(run, key, slot, result) for key, slot, result in zip(run.keys, slots, results, strict=True)]


def _record(run: Run, key: bytes, slot: int, result: Result) -> object:
    if not isinstance(result, bytes):
        return None
    try:
        return {"hash_": slot / SLOTS, "record": document_encoding.decode(result, VERSION.size)}
    except UnreadableRecord as error:
        return _unreadable(run, key, error, result[VERSION.size :])


def _stored(sizes: Sequence[int], results: list[Result]) -> list[object]:
    if all(results):
        return list(sizes)
    return [size if result else type(size)(0) for size, result in zip(sizes, results, strict=True)]


def _size(run: Remove, key: bytes, head: Result) -> int | UnreadableRecord:
    if not isinstance(head, bytes):
        return 0
    try:
        return document_encoding.size_in(head)
    except UnreadableRecord as error:
        return _unreadable(run, key, error, head)


def _item(run: ReadItem, key: bytes, slot: int, result: Result) -> object:
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
    except UnreadableRecord as error:
        return _unreadable(run, key, error, result[ITEM.size :])


def _number(run: Increment, key: bytes, record: Result) -> object:
    if not isinstance(record, bytes):
        return None
    try:
        return document_encoding.decode_int(record)
    except (NotANumber, UnreadableRecord) as error:
        return OutcomeUnknown(f"{operation_name(run, key)} was done, but the shard's answer makes no sense: {error}")
