"""Digests of rows, by which two stores find out whether they have the same ones. Pure.

Rules:

- the slots of some ranges are divided, in order, into buckets of equally many slots; the last one may have fewer;
- a bucket's digest is the sum of those of its rows, so rows may come in any order, and twice is not once;
- a row's digest is of all that makes it: index, slot, key, version, expiry and record. The time has no part in it, so
  what has expired counts like any other row until it is removed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from itertools import accumulate
from struct import Struct
from typing import Annotated

import msgspec

from pyshard.errors import BadRequest, plain
from pyshard.model.slot_ranges import SlotRanges, shown, union
from pyshard.protocol.change_groups import Change
from pyshard.settings import settings

#: Buckets of a set of ranges, at the most.
MOST_BUCKETS = 1024

_BYTES = 16  # of a digest
_MODULUS = 1 << 8 * _BYTES
_HEAD = Struct(">IIQQI")  # index, slot, version, expiry, bytes of the key; key and record follow


class BucketDigest(msgspec.Struct, array_like=True, frozen=True):
    """What a bucket has.

    :param rows: how many.
    :param digest: 16 bytes.
    """

    rows: Annotated[int, msgspec.Meta(ge=0)]
    digest: Annotated[bytes, msgspec.Meta(min_length=_BYTES, max_length=_BYTES)]


def row_digest(row: Change) -> bytes:
    """The digest of a row, with its record."""
    key = row.key
    encoded = _HEAD.pack(row.index, row.slot, row.version, row.expires, len(key)) + key + (row.record or b"")
    return blake2b(encoded, digest_size=_BYTES).digest()


class RowDigests:
    """Digests of rows of some slots and indexes.

    :param ranges: the slots; no row of another one may be added.
    :param indexes: the ids of the indexes whose rows count.
    :ivar indexes: these.
    :ivar rows: how many rows were counted.
    """

    def __init__(self, ranges: SlotRanges, indexes: Collection[int]) -> None:
        self.indexes = frozenset(indexes)
        self.rows = 0
        self._ranges = union(ranges)
        sizes = [end - start for start, end in self._ranges]
        self._starts = [start for start, _ in self._ranges]
        self._before = list(accumulate(sizes, initial=0))  # slots of the ranges before each
        self._width = max(1, -(-self._before[-1] // MOST_BUCKETS))
        buckets = -(-self._before[-1] // self._width)
        self._counts = [0] * buckets
        self._sums = [0] * buckets

    def add(self, rows: Iterable[Change]) -> None:
        """Count rows, each with its record."""
        counts, sums, starts, before, width = self._counts, self._sums, self._starts, self._before, self._width
        for row in rows:
            if row.index not in self.indexes:
                continue
            place = bisect_right(starts, row.slot) - 1
            bucket = (before[place] + row.slot - starts[place]) // width
            counts[bucket] += 1
            sums[bucket] += int.from_bytes(row_digest(row), "big")
            self.rows += 1

    def buckets(self) -> list[BucketDigest]:
        """The digests, in the order of slots."""
        return [
            BucketDigest(count, (total % _MODULUS).to_bytes(_BYTES, "big"))
            for count, total in zip(self._counts, self._sums, strict=True)
        ]

    def differing(self, others: Sequence[BucketDigest]) -> list[int]:
        """The numbers of the buckets whose rows differ from another store's, in order.

        :param others: its digests of the same slots and indexes.
        :raises BadRequest: they aren't of as many buckets.
        """
        mine = self.buckets()
        if len(others) != len(mine):
            raise BadRequest(f"digests: found {len(others):,} buckets, expected {len(mine):,}")
        return [number for number, bucket in enumerate(mine) if bucket != others[number]]

    def difference(self, others: Sequence[BucketDigest]) -> str:
        """How another store's rows differ, in words; empty: they don't. For the rest see `differing`."""
        differing = self.differing(others)
        if not differing:
            return ""
        first = differing[0]
        return (
            f"{len(differing):,} of {len(others):,} buckets differ, the first one of {shown(self.slots_of(first))}: "
            f"it has {self._counts[first]:,} rows here, {others[first].rows:,} there"
        )

    def slots_of(self, bucket: int) -> SlotRanges:
        """The slots of a bucket."""
        first, behind = bucket * self._width, (bucket + 1) * self._width
        parts = zip(self._ranges, self._before, strict=False)
        return union(tuple((start + max(0, first - at), min(end, start + behind - at)) for (start, end), at in parts))


_IndexId = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
_buckets: msgspec.msgpack.Decoder[list[BucketDigest]] = msgspec.msgpack.Decoder(
    Annotated[list[BucketDigest], msgspec.Meta(max_length=MOST_BUCKETS)]
)
_indexes: msgspec.msgpack.Decoder[list[int]] = msgspec.msgpack.Decoder(
    Annotated[list[_IndexId], msgspec.Meta(max_length=settings.MAX_INDEXES + 1)]
)


def encode_buckets(buckets: Sequence[BucketDigest]) -> bytes:
    """Digests as MessagePack."""
    return msgspec.msgpack.encode(buckets)


def decode_buckets(data: bytes) -> list[BucketDigest]:
    """Digests.

    :param data: MessagePack.
    :raises BadRequest: these are none.
    """
    try:
        return _buckets.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"buckets: found what can't be read, {plain(str(error))}") from None


def encode_indexes(indexes: Collection[int]) -> bytes:
    """Ids of indexes as MessagePack."""
    return msgspec.msgpack.encode(sorted(indexes))


def decode_indexes(data: bytes) -> frozenset[int]:
    """Ids of indexes.

    :param data: MessagePack.
    :raises BadRequest: these are none.
    """
    try:
        return frozenset(_indexes.decode(data))
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"indexes: found what can't be read, {plain(str(error))}") from None
