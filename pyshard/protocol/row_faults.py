"""What rows from another daemon no client could have stored: their keys, their slots, and their records. Pure.

Whoever takes rows of a shard looks at them before it stores them, for a move or in a backup. Such a row would be there
for good: nobody could name its key, or would ask for it in its slot. And each walk over the keys, each backup and each
further move would come to it, and fail.

Many are looked at together, by calls in C, which mostly settles it.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyshard.errors import shortened
from pyshard.model.document_encoding import HEAD
from pyshard.model.key_slots import slots_of
from pyshard.model.record_check import are_records, record_fault
from pyshard.protocol.argument_types import shown_bytes
from pyshard.settings import settings

_LONGEST = settings.MAX_DOCUMENT_BYTES + HEAD.size  # bytes of a record


def key_fault(keys: Sequence[bytes]) -> str | None:
    """What is wrong with one of some keys; None: nothing."""
    if b"".join(keys).isascii() and max(map(len, keys), default=0) <= settings.MAX_KEY_BYTES:
        return None
    for key in keys:
        if len(key) > settings.MAX_KEY_BYTES:
            return f"a key of {len(key):,} bytes, expected {settings.MAX_KEY_BYTES:,} at the most"
        try:
            key.decode()
        except UnicodeDecodeError as error:
            return f"a key that is not UTF-8, at byte {error.start}: {shown_bytes(key)}"
    return None


def slot_fault(keys: Sequence[bytes], slots: Sequence[int], index: bytes) -> str | None:
    """Which of some keys of an index isn't of the slot that is said; None: none.

    :param keys: in UTF-8.
    :param slots: a list, of as many.
    :param index: its name; empty: the default index.
    """
    wanted = slots_of(keys, index)
    if wanted == slots:
        return None
    key, found, slot = next(each for each in zip(keys, slots, wanted, strict=True) if each[1] != each[2])
    return f"for key {shortened(key.decode())!r}{_of(index)} slot {found:,}, expected {slot:,}"


def length_fault(records: Sequence[bytes]) -> str | None:
    """Which of some records is longer than one can be; None: none."""
    longest = max(map(len, records), default=0)
    return None if longest <= _LONGEST else f"a record of {longest:,} bytes, expected {_LONGEST:,} at the most"


def record_faults(records: Sequence[bytes]) -> str | None:
    """Which of some records is none; None: none is so."""
    if (fault := length_fault(records)) is not None:
        return fault
    if are_records(records):
        return None
    return next((f"no record, but {fault}" for fault in map(record_fault, records) if fault), None)


def _of(index: bytes) -> str:
    return f" of index {index.decode()!r}" if index else ""
