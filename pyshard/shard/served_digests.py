"""Digests of what a shard has, for those who have copied it and want to know whether they have the same.

Rules:

- a digest is of all rows of some slots after one group, while the store goes on;
- it is given of ranges alone that the store owns then, all of them;
- a follower has one at a time. It is read over the connection that opened it, and ends with it, or when nobody reads it
  for a while, or when it costs too much (`pyshard.shard.bounded_copies`);
- instead of being counted, its rows may be read, to put right what differs (`pyshard.shard.bucket_repair`). So they are
  given without a place of the follower being moved, as that of a copy would be;
- rows are counted while somebody waits for an answer, in turns, so that the shard's clients don't wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial

import attrs
from msgspec.structs import replace
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.errors import BadRequest, SnapshotEnded, WrongShard, shown_value
from pyshard.model.slot_ranges import SlotRanges, shown, without
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.row_digests import BucketDigest, RowDigests
from pyshard.settings import settings
from pyshard.shard.bounded_copies import BoundedCopy, WatchedCopies
from pyshard.shard.digest_slices import digest_slice
from pyshard.shard.opening_copies import OpeningCopies, OpeningTurns
from pyshard.shard.paced_turns import PacedTurns
from pyshard.storage import ICopy, IStore


@attrs.define(eq=False)
class _DigestInUse:
    """A digest that is being made.

    :ivar digests: what is counted by now; None: nothing was counted yet.
    :ivar gives_rows: whether its rows are read.
    :ivar idle: ends it when nobody has read it for a while; None while an answer is made.
    """

    owner: Hashable
    name: str
    ranges: SlotRanges
    copy: ICopy
    digests: RowDigests | None = None
    gives_rows: bool = False
    idle: IDelayedCall | None = None


@attrs.frozen
class DigestReading:
    """How far a digest is.

    :param rows: how many are counted.
    :param buckets: what they come to; None: there may be more.
    """

    rows: int
    buckets: list[BucketDigest] | None


class ServedDigests:
    """The digests that a shard makes.

    :param store: of what.
    :param clock: times answers, and digests that nobody reads.
    :param turns: the shard's, in which rows are counted.
    :param new_id: gives the ids of digests.
    :param opening: the turns in which copies of the store are opened.
    """

    def __init__(
        self,
        store: IStore,
        clock: IReactorTime,
        turns: PacedTurns,
        new_id: Callable[[], str],
        opening: OpeningTurns,
    ) -> None:
        self._store = store
        self._clock = clock
        self._turns = turns
        self._new_id = new_id
        self._opening = OpeningCopies(store, opening)
        self._open: dict[str, _DigestInUse] = {}
        self._watched = WatchedCopies(clock)

    async def open(self, owner: Hashable, name: str, ranges: SlotRanges) -> tuple[str, ChangeGroup]:
        """Begin a digest of the store as it is now.

        :param owner: the connection.
        :param name: of the follower.
        :return: the digest's id; and the group up to which it has all, with the names of indexes and no more.
        :raises WrongShard: the store doesn't own all of these ranges.
        :raises TooManySnapshots: another one is being opened for this follower.
        :raises StorageFailed: there is no copy of it.
        """
        self.forget(name)
        copy = self._watched.watch(BoundedCopy(await self._opening.copy(name, None, ranges), self._store))
        assert copy.head.ranges is not None
        if lacking := without(ranges, copy.head.ranges.owned):
            copy.close()
            raise WrongShard(f"this shard doesn't own {shown(lacking)}, so it has no digest of it; get the newest map")
        number = self._new_id()
        opened = self._open[number] = _DigestInUse(owner, name, ranges, copy)
        self._await_reader(number, opened)
        return number, replace(copy.head, text=None, ranges=None)

    async def read(self, owner: Hashable, number: str, indexes: frozenset[int]) -> DigestReading:
        """Count rows, until all are counted, or `settings.FOLLOW_WAIT` seconds have passed.

        :param number: the digest's id.
        :param indexes: the ids of the indexes whose rows count.
        :raises SnapshotEnded: the owner has no such digest (any more).
        :raises BadRequest: the question before it isn't answered yet, or had other indexes; or its rows are read.
        """
        opened, idle = self._not_asked(owner, number)
        if opened.gives_rows:
            raise BadRequest("the rows of this digest are read, so they can't be counted any more; open another one")
        if opened.digests is None:
            opened.digests = RowDigests(opened.ranges, indexes)
        elif opened.digests.indexes != indexes:
            raise BadRequest("indexes: found others than those that this digest was begun with; open another one")
        idle.cancel()
        opened.idle = None
        try:
            more = await self._count(owner, number, opened.copy, opened.digests)
        except SnapshotEnded:
            self._end(number)
            raise
        if more:
            self._await_reader(number, opened)
            return DigestReading(opened.digests.rows, None)
        self._end(number)
        return DigestReading(opened.digests.rows, opened.digests.buckets())

    async def rows(self, owner: Hashable, number: str) -> list[Change]:
        """The next rows of a digest; none at the end.

        :param number: the digest's id.
        :raises SnapshotEnded: the owner has no such digest (any more).
        :raises BadRequest: the question before it isn't answered yet, or its rows are counted.
        """
        opened, idle = self._not_asked(owner, number)
        if opened.digests is not None:
            raise BadRequest("the rows of this digest are counted, so they can't be read any more; open another one")
        opened.gives_rows = True
        idle.cancel()
        opened.idle = None
        try:
            page = await self._turns.until_given(partial(self._page, owner, number))
        except SnapshotEnded:
            self._end(number)
            raise
        if page:
            self._await_reader(number, opened)
        else:
            self._end(number)
        return page

    def forget(self, name: str) -> None:
        """End the digest of a follower, if it has one."""
        for number in [number for number, opened in self._open.items() if opened.name == name]:
            self._end(number)

    def close_all(self, owner: Hashable) -> None:
        """End the digests of a connection that is gone."""
        for number in [number for number, opened in self._open.items() if opened.owner == owner]:
            self._end(number)

    def close(self) -> None:
        """End all."""
        self._watched.close()
        for number in list(self._open):
            self._end(number)

    # ------------------------------------------------------------------ inside

    async def _count(self, owner: Hashable, number: str, copy: ICopy, digests: RowDigests) -> bool:
        """Count for a while; whether there may be more."""
        until = self._clock.seconds() + settings.FOLLOW_WAIT
        while more := digest_slice(copy, digests):
            if self._clock.seconds() >= until:
                break
            await self._turns.next()
            self._found(owner, number)
        return more

    def _page(self, owner: Hashable, number: str) -> list[Change] | None:
        """More rows of a digest, which may have ended meanwhile. None: none of those that were looked at count."""
        return self._found(owner, number).copy.page(settings.SNAPSHOT_BYTES)

    def _not_asked(self, owner: Hashable, number: str) -> tuple[_DigestInUse, IDelayedCall]:
        """A digest about which nothing is asked just now, and what ends it when that lasts."""
        opened = self._found(owner, number)
        if opened.idle is None:
            raise BadRequest("the answer to the last question about this digest is still to come; ask one at a time")
        return opened, opened.idle

    def _found(self, owner: Hashable, number: str) -> _DigestInUse:
        opened = self._open.get(number)
        if opened is None or opened.owner != owner:
            raise SnapshotEnded(
                f"the shard has no digest {shown_value(number)} for this connection: it was lost, another one was "
                "opened, or nobody read it for a while; begin anew"
            )
        return opened

    def _await_reader(self, number: str, opened: _DigestInUse) -> None:
        opened.idle = self._clock.callLater(settings.SNAPSHOT_IDLE, self._end, number)

    def _end(self, number: str) -> None:
        """End a digest; it may have ended already."""
        opened = self._open.pop(number, None)
        if opened is not None:
            opened.copy.close()
            if opened.idle is not None and opened.idle.active():
                opened.idle.cancel()
