"""The snapshots and copies of a durable store that are open.

Rules:

- each keeps a transaction of LMDB open, and a copy of the memtable;
- all are ended, with the reason, before LMDB's map grows, and when the store is closed.
"""

from __future__ import annotations

from typing import Any

from pyshard.protocol.pages import Row
from pyshard.storage.durable.engine import StorageEngine
from pyshard.storage.durable.snapshot_rows import expired_records, live_rows
from pyshard.storage.snapshot import Snapshot


class LmdbSnapshots:
    """Those that are open. The engine's lock is held while any is added, dropped or ended.

    :param engine: the store's engine, which has them ended when its map grows.
    """

    def __init__(self, engine: StorageEngine) -> None:
        self._engine = engine
        self._open: set[Snapshot[Any]] = set()
        engine.lmdb.on_growth = self._end_for_growth

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def open(self, now: int) -> Snapshot[Row]:
        """See `IStore.snapshot`.

        :param now: milliseconds since 1970.
        """
        engine, databases, use = self._engine, self._engine.databases, self._engine.lmdb.file_use()
        with engine.frozen() as (transaction, counters, memtable):
            indexes, owned = sorted(counters.documents), counters.hidden.ranges.owned
            expired = expired_records(transaction.cursor(db=databases.expiries), memtable, indexes, now, owned)
            cursor = transaction.cursor(db=databases.records)
            rows = live_rows(cursor, memtable, indexes, now, owned, databases.values_of)

            def release() -> None:
                self.discard(opened)
                transaction.abort()

            memtable_bytes = memtable.bytes_in_memory()

            def pinned() -> int:
                return memtable_bytes + engine.lmdb.file_use().kept_since(use)

            records = sum(counters.documents.values()) - counters.hidden.documents()
            opened = Snapshot(records, expired, rows, engine.lock, release, pinned)
            self.add(opened)
        return opened

    def add(self, snapshot: Snapshot[Any]) -> None:
        """One was opened."""
        self._open.add(snapshot)

    def discard(self, snapshot: Snapshot[Any]) -> None:
        """One has given back what it kept."""
        self._open.discard(snapshot)

    def end(self, why: str) -> None:
        """End all."""
        for snapshot in list(self._open):
            snapshot.end(why)

    def _end_for_growth(self) -> None:
        self.end("the shard's data outgrew its map, which can't grow under a snapshot")
