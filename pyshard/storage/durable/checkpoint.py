"""A checkpoint: all records that the memtable has at one moment, on their way into LMDB.

Rules:

- records are flushed in the order of their database keys, so that a page of LMDB takes many of them;
- a flush has as many records as may change a given number of pages at the worst;
- a record that LMDB got in another way meanwhile (by a sweep, say) is left out;
- when all records are flushed, LMDB has the whole log up to the checkpoint's `sequence`. One of several replicas waits
  with the first of them until all of that is committed;
- a checkpoint begins when the memtable has many records or the log is long: the more records, the fewer pages of LMDB
  are written for each of them;
- so it does when the log's active file has many groups, since a follower goes by all of them to find its place;
- while somebody follows the log, it begins earlier: what is kept for followers is kept and counted by whole segments;
- each later group flushes about twice as much as the group before it brought, and no longer than it may take
  (`pyshard.storage.durable.flush_steps`), so no update waits for long.
"""

from __future__ import annotations

from bisect import bisect_right
from math import inf

import attrs

from pyshard.storage.durable.checkpoint_allowance import CheckpointAllowance
from pyshard.storage.durable.flush_costs import FlushCosts
from pyshard.storage.durable.memtable import FlushableMemtable, Memtable

#: Bytes of a page of LMDB.
PAGE = 4096

#: Bytes of the log's active file from which on a checkpoint begins, too; the same while somebody follows the log.
_MOST_LOG_BYTES, _MOST_FOLLOWED_BYTES = 64 * 1024 * 1024, 16 * 1024 * 1024

#: Groups of the log's active file from which on it does, too: a reader goes by so many in some 0.03 s.
MOST_GROUPS = 100_000

_FLUSHES = 25  # how many flushes a checkpoint of many records takes: enough that none takes long


@attrs.define
class Checkpoint:
    """The records of a checkpoint, and how far it is.

    :param keys: database keys of all its records, in order.
    :param sequence: the last group of the log that LMDB has completely when the checkpoint is done.
    :param done: how many of the keys are flushed.
    """

    keys: list[bytes]
    sequence: int
    done: int = 0

    def next_keys(self, memtable: FlushableMemtable, pages: int) -> tuple[list[bytes], int]:
        """What is to be flushed next. Changes nothing.

        :param pages: how many pages of LMDB the flush may change, at the worst.
        :return: the keys, and what `done` is when they are flushed.
        """
        keys: list[bytes] = []
        value_of = memtable.records.get
        for done in range(self.done, len(self.keys)):
            if pages <= 0:
                return keys, done
            db_key = self.keys[done]
            value = value_of(db_key)
            if value is not None:
                keys.append(db_key)
                pages -= 1 + len(value) // PAGE
        return keys, len(self.keys)

    def done_with(self, db_key: bytes) -> int:
        """What `done` is when all up to one of the keys are flushed."""
        return bisect_right(self.keys, db_key)


class CheckpointSchedule:
    """When a checkpoint begins, and when it goes on.

    :param most_changed: records that the memtable may have before a checkpoint begins.
    :ivar current: the checkpoint that goes on, if any.
    :ivar is_behind: whether the last flush could not take all that was due.
    :ivar allowance: what writers may write beside it.
    :ivar pages_due: pages that must be flushed to keep up with the groups; each group adds twice what it brings.
    :ivar background_due: how many of these background work has brought, as often as its time is counted.
    :ivar costs: what checkpoints took, and what groups have borne of it.
    """

    def __init__(self, most_changed: int) -> None:
        self._most_changed = most_changed
        self._pages_per_flush = max(1, most_changed // _FLUSHES)
        self.pages_due, self.background_due = 0, 0.0
        self.current: Checkpoint | None = None
        self.is_behind, self.allowance = False, CheckpointAllowance()
        self.costs = FlushCosts()

    def add(self, records: int, size: int, background: float) -> None:
        """Note what a group brings.

        :param records: how many records it changes.
        :param size: bytes of its payload.
        :param background: how many of the records background work changes, as often as its time is counted.
        """
        pages = records + size // PAGE
        self.pages_due += 2 * pages
        self.costs.bear(pages)
        self.background_due += 2 * background

    @property
    def of_background(self) -> float:
        """Which part of what is due background work has brought, as often as its time is counted."""
        return self.background_due / self.pages_due if self.pages_due else 0.0

    def may_begin(self, changed: int, log_bytes: int, log_groups: int, is_followed: bool) -> bool:
        """Whether a checkpoint is to begin now.

        :param changed: records that the memtable has.
        :param log_bytes: of the log's active file.
        :param log_groups: how many groups that has.
        :param is_followed: whether somebody follows the log.
        """
        return self.current is None and self._used(changed, log_bytes, log_groups, is_followed) >= 1

    def look(self, committed: int, changed: int, log_bytes: int, log_groups: int, is_followed: bool) -> None:
        """Behind a flush: see whether more is due, and what writers may write then; for the parameters see `may_begin`.

        :param committed: see `due`.
        """
        self.is_behind = self.due(committed) is not None
        if self.current is None or not self.is_behind:
            self.allowance.rate = inf
        else:
            done, left = self.current.done, len(self.current.keys) - self.current.done
            used = self._used(max(0, changed - left), log_bytes, log_groups, is_followed)
            self.allowance.look(used, log_bytes, done, left)

    def _used(self, changed: int, log_bytes: int, log_groups: int, is_followed: bool) -> float:
        """Which part is used of what there may be before a checkpoint begins."""
        most = _MOST_FOLLOWED_BYTES if is_followed else _MOST_LOG_BYTES
        return max(changed / self._most_changed, log_bytes / most, log_groups / MOST_GROUPS)

    def begin(self, memtable: Memtable, sequence: int) -> None:
        """Begin a checkpoint of all that the memtable has.

        :param sequence: of the last group that is in it.
        """
        self.current, self.pages_due, self.background_due = Checkpoint(sorted(memtable.records), sequence), 0, 0.0

    def due(self, committed: int) -> Checkpoint | None:
        """The checkpoint, if some of it is to be flushed now; None: nothing is.

        :param committed: the number of the last committed group: nothing of a later one comes into LMDB.
        """
        current = self.current
        if current is None or self.pages_due < self._pages_per_flush or current.sequence > committed:
            return None
        return current

    def end(self, sequence: int) -> None:
        """LMDB has all groups up to a number: a checkpoint of no more than these is done."""
        if self.current is not None and self.current.sequence <= sequence:
            self.stop()

    def stop(self) -> None:
        """None goes on any more: so nobody waits for it."""
        self.current, self.is_behind, self.allowance.rate = None, False, inf

    def flushed(self, done: int, left: float = 0.0) -> None:
        """Go on behind what was flushed; a checkpoint of which that was the last part is done.

        :param left: which part of what was due is left; it is due yet.
        """
        self.pages_due, self.background_due = int(self.pages_due * left), self.background_due * left
        if self.current is not None:
            self.current.done = done
            if done == len(self.current.keys):
                self.stop()
