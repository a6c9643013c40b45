"""The sweep of a durable store: it removes what has expired, as a part of a group of the log.

Rules:

- a sweep looks at a bounded number of entries;
- hidden records (`pyshard.protocol.store_ranges`) are passed over: what has expired among those of a copy is for the
  store that it was taken of to remove;
- LMDB lists what has expired until the removal is flushed, so each sweep goes on where the one before it ended;
- a store that follows another one leaves it to that to say what is removed;
- records of dropped indexes aren't its business: they go in transactions of LMDB
  (`pyshard.storage.durable.lmdb_flush_transaction`).
"""

from __future__ import annotations

from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.index_records import DurableIndex
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.store_index import cost


def sweep_expired(
    view: MergedView, counters: Counters, changes: GroupChanges, place: bytes, now: int, most: int
) -> bool:
    """Remove records that have expired.

    :param place: where in LMDB's expiries to begin; see `MergedView.expired`.
    :return: whether there may be more.
    """
    if counters.follows:
        return False
    expired = view.expired(changes.swept or place, now, most, counters.hidden.ranges.hidden)
    for db_key, value in expired.records.items():
        number, slot = lmdb_encoding.PREFIX.unpack_from(db_key)
        if number in counters.documents:
            key = lmdb_encoding.whole_key(memoryview(db_key), value)
            old = lmdb_encoding.unpack(key, value)
            assert old is not None  # the key is the value's own
            DurableIndex(view, number, counters, changes).remove(db_key, key, slot, cost(key, old))
            counters.expired += 1
    changes.swept = expired.place
    return expired.more
