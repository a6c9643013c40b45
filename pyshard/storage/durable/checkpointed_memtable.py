"""A memtable over LMDB whose checkpoints go on with each change: begun when it is time, and flushed some at a time."""

from __future__ import annotations

from pyshard.storage.durable.checkpoint import Checkpoint
from pyshard.storage.durable.flush_steps import ASKS, flush_in_time
from pyshard.storage.durable.lmdb_flush_transaction import WriteTransaction
from pyshard.storage.durable.logged_and_direct_updates import DirectUpdate
from pyshard.storage.durable.memtable_over_lmdb import MemtableOverLmdb
from pyshard.storage.replicated_interface import ReplicaRole


class CheckpointedMemtable(MemtableOverLmdb):
    """See `MemtableOverLmdb`, for the parameters, too."""

    def advance_checkpoint(self) -> None:
        """Begin a checkpoint if it is time, and flush what is due of the one that goes on; mend a broken log."""
        if self.log.broken:
            self.transact([])
        changed, log, is_followed = len(self.memtable.records), self.log, self.retention.places.any
        had: float | None = None
        if self.checkpoints.may_begin(changed, log.size, log.groups_in_segment, is_followed):
            had = self._processor()
            self.retention.make_room_to_rotate(self.lmdb.counters.sequence)
            if self.log.files > self.lmdb.meta.log.files:
                self.transact([])
            if not self.log.must_grow():
                self.log.rotate(self._steady())
                alone = self.replica.role is ReplicaRole.ALONE
                self.checkpoints.begin(self.memtable, self.log.sequence if alone else self.sequence)
        if self.checkpoints.current is not None:
            if checkpoint := self.checkpoints.due(self.committed):
                had = self._processor() if had is None else had
                self._flush(checkpoint)
            used = len(self.memtable.records), log.size, log.groups_in_segment
            self.checkpoints.look(self.committed, *used, is_followed)
        if had is not None:
            self.checkpoints.costs.add(self._processor() - had)

    def _flush(self, checkpoint: Checkpoint) -> None:
        """Flush what is due of a checkpoint, or as much of it as may be."""
        began, several_ask, flushed = self._steady(), self.several_ask(ASKS), 0
        if not self.flushes.may_begin(began, self.several_ask):
            return
        memtable = self.replica.settled(self.memtable, self.lmdb.counters)
        keys, done = checkpoint.next_keys(memtable, self.checkpoints.pages_due)

        def work(transaction: WriteTransaction) -> None:
            nonlocal flushed
            flushed = flush_in_time(keys, transaction.flush, self._steady, several_ask)

        def checkpointed() -> int | None:
            return checkpoint.sequence if flushed == len(keys) and done == len(checkpoint.keys) else None

        self.transact([DirectUpdate(work)], checkpointed)
        now = self._steady()
        self.background += (now - began) * self.checkpoints.of_background
        done = done if flushed == len(keys) else checkpoint.done_with(keys[flushed - 1])
        self.checkpoints.flushed(done, 1 - flushed / max(1, len(keys)))
        seconds = self.flushes.end(began, now, flushed == len(keys), self.several_ask)
        self.checkpoints.allowance.flushed(flushed, seconds)
