"""Pages of an index's keys and of a snapshot's records, and a shard's ranges, as MessagePack. Pure.

Rule: a page with far more keys or records than a shard gives is refused before it is decoded; so are more ranges than
a shard may have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from pyshard.errors import BadRequest, plain
from pyshard.model.key_slots import SLOTS
from pyshard.model.slot_ranges import SlotRanges, union
from pyshard.settings import settings

#: Keys and records that a page may have: ten and four times those of this version's shards.
MOST_KEYS = 10 * settings.PAGE_KEYS
MOST_ROWS = settings.SNAPSHOT_BYTES // 8

_ROW_OVERHEAD = 32  # bytes of a row beside its key and its record, in MessagePack, at the most


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One record of a snapshot.

    :param index: the id of its index; 0 is the default index.
    :param key: the key's text in UTF-8.
    :param expires: milliseconds since 1970 from which it is gone; 0: never.
    :param record: the record.
    """

    index: int
    key: bytes
    expires: int
    record: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes in a page, at the most."""
        return len(self.key) + len(self.record) + _ROW_OVERHEAD


_encode = msgspec.msgpack.Encoder().encode
_keys = msgspec.msgpack.Decoder(Annotated[list[bytes], msgspec.Meta(max_length=MOST_KEYS)])
_Slot = Annotated[int, msgspec.Meta(ge=0, le=SLOTS)]
_Ranges = Annotated[list[tuple[_Slot, _Slot]], msgspec.Meta(max_length=settings.MAX_SHARD_RANGES)]
_ranges = msgspec.msgpack.Decoder(_Ranges)
_rows = msgspec.msgpack.Decoder(Annotated[list[Row], msgspec.Meta(max_length=MOST_ROWS)])

#: A page of keys as MessagePack.
encode_keys: Callable[[list[bytes]], bytes] = _encode

#: Ranges of slots as MessagePack: an array of arrays of start and end.
encode_ranges: Callable[[SlotRanges], bytes] = _encode

#: A snapshot's page as MessagePack.
encode_rows: Callable[[list[Row]], bytes] = _encode


def decode_keys(data: bytes) -> list[bytes]:
    """The keys of a page.

    :param data: MessagePack.
    :raises BadRequest: it is no page of keys.
    """
    try:
        keys: list[bytes] = _keys.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"the keys can't be read: {plain(str(error))}") from None
    return keys


def decode_ranges(data: bytes) -> SlotRanges:
    """Ranges of slots, in order, those that touch as one.

    :param data: MessagePack.
    :raises BadRequest: these are no ranges.
    """
    try:
        return union(tuple(_ranges.decode(data)))
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"the ranges can't be read: {plain(str(error))}") from None


def decode_rows(data: bytes) -> list[Row]:
    """The rows of a snapshot's page.

    :param data: MessagePack.
    :raises BadRequest: it is no page of a snapshot.
    """
    try:
        rows: list[Row] = _rows.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"the snapshot's page can't be read: {plain(str(error))}") from None
    return rows
