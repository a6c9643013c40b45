"""One index of a store, as a batch reads and writes it, and what its records count. Each store has its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from pyshard.protocol.batch_answers import Result
from pyshard.settings import settings


class StoredRecord(msgspec.Struct, frozen=True, gc=False):  # as its `__init__` is in C
    """A record, with what a store keeps beside it.

    :param version: rises with every write to the store.
    :param expires: milliseconds since 1970 from which the record is out of sight; 0: never.
    :param record: the record's bytes; a view of them where a store finds a long one.
    """

    version: int
    expires: int
    record: bytes | memoryview


class StoreIndex(Protocol):
    """One index of a store, as a batch reads and writes it.

    `find` also gives records that have expired; its caller compares their expiry with the time.
    """

    def find(self, key: bytes, slot: int) -> StoredRecord | None:
        """The record of a key."""
        ...

    def put(self, key: bytes, slot: int, new: StoredRecord, old: StoredRecord | None, grows: int) -> None:
        """Store a record.

        :param new: with the version of `old` it has the record of `old`, too, and at the most another expiry.
        :param old: what `find` gives for the key.
        :param grows: what `growth` gives for these.
        """
        ...

    def delete(self, key: bytes, slot: int, old: StoredRecord, size: int) -> None:
        """Remove a key.

        :param old: what `find` gives for the key.
        :param size: its `cost`.
        """
        ...

    def write(
        self, keys: Sequence[bytes], slots: Sequence[int], records: Sequence[bytes], versions: Sequence[int]
    ) -> int:
        """Store a record without expiry for each key, in place of what is there.

        :param keys: no key twice.
        :return: by how many bytes `used` has grown.
        """
        ...

    def has(self, keys: Sequence[bytes], slots: Sequence[int], now: int) -> list[Result]:
        """For each key whether it is there and hasn't expired.

        Once the batch's `LookBudget` is spent, keys at the end may be left out.
        """
        ...

    def read(self, keys: Sequence[bytes], slots: Sequence[int], now: int, room: int) -> list[Result]:
        """For each key its version and record (`VERSION`, record); None if it isn't there or has expired.

        :param room: bytes of results; once they are reached, or the batch's `LookBudget` is spent, keys at the end may
            be left out.
        """
        ...


def cost(key: bytes, stored: StoredRecord) -> int:
    """Bytes that a document counts against the limit."""
    return len(key) + len(stored.record) + settings.ITEM_OVERHEAD + (settings.EXPIRY_OVERHEAD if stored.expires else 0)


def growth(key: bytes, new: StoredRecord, old: StoredRecord | None) -> int:
    """By how many bytes `used` grows when a record takes the place of another, or of none."""
    if old is None:
        return cost(key, new)
    grows = len(new.record) - len(old.record)
    if new.expires:
        return grows if old.expires else grows + settings.EXPIRY_OVERHEAD
    return grows - settings.EXPIRY_OVERHEAD if old.expires else grows
