"""Replay: a start does again what the log has and LMDB may not have.

A group says what has become of each record, not how. So a record that LMDB has already is replayed without harm.
"""

from __future__ import annotations

from pyshard.storage.batch_executor import cost, growth
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.index_records import DurableIndex
from pyshard.storage.durable.memtable import Memtable
from pyshard.storage.durable.merged_view import MergedView


def replay(view: MergedView, counters: Counters, memtable: Memtable, logged: dict[bytes, bytes]) -> None:
    """Put the records of one group into the memtable, and count them.

    :param view: the records before it.
    :param memtable: a layer of the view.
    :param logged: the group's records; see `Memtable.records`.
    """
    for db_key, value in logged.items():
        before = view.get(db_key)
        stored = memoryview(value) if value else before
        if stored is None:
            continue  # the record was made and removed within the group
        key = lmdb_encoding.whole_key(memoryview(db_key), stored)
        number, slot = lmdb_encoding.PREFIX.unpack_from(db_key)
        old = None if before is None else lmdb_encoding.unpack(key, before)
        new = lmdb_encoding.unpack(key, memoryview(value)) if value else None
        index = DurableIndex(view, number, counters, memtable)
        if new is not None:
            index.put(key, slot, new, old, growth(key, new, old))
        elif old is not None:
            index.delete(key, slot, old, cost(key, old))
