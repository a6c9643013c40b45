"""Compares a complete copy with its source: digests of all rows on both sides, after the same group.

Buckets of rows that differ are fetched again (`pyshard.shard.bucket_repair`), and the copy is compared once more.

Rules:

- the source says after which group its digest is. The target has all groups up to that one, and none behind, when it
  begins its own. Both go on taking changes while they count;
- where the digest of either side ends before it is done, both begin anew. That says nothing about the copy, but is
  counted, until one comes to its end: a move whose comparisons end again and again is cancelled
  (`pyshard.model.range_moves`);
- where too much differs, the copy is given up (`pyshard.shard.repair_plan`). It isn't equal before it was compared as a
  whole, and nothing differed;
- the target counts in turns, so that its clients don't wait for it, and no more rows than the source has counted by
  then: that one knows whether it has clients, and both may be on one machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.errors import BadRequest, SnapshotEnded
from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.row_digests import BucketDigest, RowDigests
from pyshard.shard.bucket_repair import TakeRows, repair
from pyshard.shard.copy_verdict import CopyDiffers, CopyVerdict, indexes_of_both
from pyshard.shard.digest_slices import digest_slice
from pyshard.shard.followed_shard import FollowedShard
from pyshard.shard.paced_turns import PacedTurns
from pyshard.shard.repair_plan import RepairPortion, repair_portions
from pyshard.shard.store_view import open_view
from pyshard.storage import ICopy, IStore

_log = Logger()


class _RowsAhead:
    """How many rows the source has counted, and who waits for it to be ahead."""

    def __init__(self) -> None:
        self._rows: int | None = 0
        self._waiting: Deferred[None] | None = None

    def note(self, rows: int | None) -> None:
        """Note how many rows it has counted; None: all."""
        self._rows = rows
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def beyond(self, rows: int) -> None:
        """Wait until it has counted more rows than these, or all."""
        while self._rows is not None and self._rows <= rows:
            self._waiting = Deferred()
            await self._waiting


class CopyCheck:
    """The check of a copy over one connection.

    :param store: has the copy.
    :param name: of its staging.
    :param ranges: its slots.
    :param source: is asked.
    :param clock: paces it.
    :param verdict: what is found out.
    :param put_right: takes rows again that differed.
    """

    def __init__(
        self,
        store: IStore,
        name: str,
        ranges: SlotRanges,
        source: FollowedShard,
        clock: IReactorTime,
        verdict: CopyVerdict,
        put_right: TakeRows,
    ) -> None:
        self._store = store
        self._name = name
        self._ranges = ranges
        self._source = source
        self._turns = PacedTurns(clock)
        self._verdict = verdict
        self._put_right = put_right
        self._head: ChangeGroup | None = None  # of the source's digest
        self._comparing: Deferred[None] | None = None
        self._failure: Failure | None = None

    async def go_on(self, position: int) -> None:
        """Begin to compare, or to fetch again, if the copy wasn't found equal, and say what was found out meanwhile.

        :param position: the number of the last group that the copy has.
        :raises CopyDiffers: too much of it isn't equal.
        :raises PyshardError: one of the stores failed, or the other shard refuses.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            if failure.check(SnapshotEnded) is None:
                failure.raiseException()
            self._verdict.ended += 1
        if self._verdict.equal:
            return
        if self._head is None:
            portions = self._verdict.portions
            self._head = await self._source.open_digest(portions[0].ranges if portions else self._ranges)
            if self._head.sequence < position:
                raise BadRequest(
                    f"digest: found one after group {self._head.sequence:,}, expected {position:,} or a later one"
                )
        await self.reached(position)

    def parts(self, groups: Sequence[ChangeGroup]) -> list[Sequence[ChangeGroup]]:
        """Groups that may be taken together: those up to the one after which rows are counted or fetched, and the rest.

        :param groups: in order.
        """
        moment = 0 if self._head is None else self._head.sequence
        before = [group for group in groups if group.sequence <= moment]
        return [part for part in (before, groups[len(before) :]) if part]

    async def reached(self, sequence: int) -> None:
        """The copy has all groups up to a number, and none behind. If that is the digest's, fetch again, or count.

        :raises PyshardError: one of the stores failed, or the other shard refuses.
        """
        if self._head is None or self._comparing is not None or self._verdict.equal or sequence < self._head.sequence:
            return
        if self._verdict.portions:
            await self._repair(self._verdict.portions[0], self._head)
            return
        ours = await open_view(self._store, self._ranges)
        self._comparing = Deferred.fromCoroutine(self._compare(ours, self._head))
        self._comparing.addBoth(self._compared)

    def stop(self) -> None:
        """Compare no more."""
        if self._comparing is not None:
            self._comparing.cancel()

    # ------------------------------------------------------------------ inside

    async def _compare(self, ours: ICopy, head: ChangeGroup) -> None:
        digests = RowDigests(self._ranges, indexes_of_both(ours.head, head))
        ahead = _RowsAhead()
        counting = Deferred.fromCoroutine(self._count(ours, digests, ahead))
        try:
            theirs = await self._source.digests(digests.indexes, ahead.note)
            ahead.note(None)
            await counting
        finally:
            counting.addErrback(lambda _: None)  # if nobody waits for it any more, something else has failed
            counting.cancel()
            ours.close()
        self._verdict.ended = 0
        if why := digests.difference(theirs):
            self._differs(digests, theirs, why)
            return
        self._verdict.equal = True
        _log.info("{move}: {rows} rows are equal to those of the source", move=self._name, rows=digests.rows)

    def _differs(self, digests: RowDigests, theirs: Sequence[BucketDigest], why: str) -> None:
        verdict, portions = self._verdict, repair_portions(digests, theirs)
        verdict.differed += 1
        verdict.compared = 0
        verdict.why = f"the copy isn't equal to what the source has: {why}"
        _log.error(
            "{move}: {why}. {then} (found so {times} times).",
            move=self._name,
            why=verdict.why,
            then="It is given up, and begun anew" if portions is None else "They are fetched again",
            times=verdict.differed,
        )
        if portions is None:
            raise CopyDiffers(verdict.why)
        verdict.portions = portions

    async def _repair(self, portion: RepairPortion, head: ChangeGroup) -> None:
        """Fetch some buckets again."""
        self._head = None  # whatever comes of it, the next time is with another digest
        try:
            done = await repair(self._store, portion.ranges, self._source, head, self._turns, self._put_right)
        except SnapshotEnded:
            self._verdict.ended += 1
            return
        self._verdict.ended = 0
        self._verdict.portions = self._verdict.portions[1:]
        self._verdict.refetched += portion.buckets
        self._verdict.compared = 0
        _log.info(
            "{move}: {buckets} buckets that differed were fetched again: {put} rows put, {removed} removed",
            move=self._name,
            buckets=portion.buckets,
            put=done.put,
            removed=done.removed,
        )

    async def _count(self, copy: ICopy, digests: RowDigests, ahead: _RowsAhead) -> None:
        more = True
        while more:
            await ahead.beyond(digests.rows)
            await self._turns.next()
            more = digest_slice(copy, digests)
            self._verdict.compared = max(self._verdict.compared, digests.rows)

    def _compared(self, outcome: Failure | None) -> None:
        self._comparing = self._head = None
        self._failure = outcome
