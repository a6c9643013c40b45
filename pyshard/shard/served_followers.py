"""Who follows a shard over connections: the copies that they read, and the groups of changes that they are given.

A follower has a name, such as that of a move. It reads a copy, then the groups after it
(`pyshard.storage.following_interface`).

Rules:

- A copy is given of ranges alone that the store owns, all of them.
- A copy is read over the connection that opened it, and ends with it, or when nobody reads it for a while.
- What a follower is to be given is kept when its connection is lost, within the store's bound. It goes on where it was.
- A follower has one connection. Whoever comes later takes its place, since the older one may be lost without a word.
- There are few followers at a time; another one is refused.
- A question about changes is answered when there are some, or after a little while with none.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Hashable

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.errors import BadRequest, SnapshotEnded, TooManySnapshots, WrongShard, shown_value
from pyshard.model.slot_ranges import SlotRanges, shown, without
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.settings import settings
from pyshard.shard.paced_turns import PacedTurns
from pyshard.shard.served_digests import DigestReading, ServedDigests
from pyshard.storage import ICopy, IFollower, IStore


@attrs.define(eq=False)
class _CopyInUse:
    """A copy that is being read.

    :ivar idle: ends it when nobody has read it for a while; None while an answer is made.
    """

    owner: Hashable
    copy: ICopy
    idle: IDelayedCall | None = None


@attrs.define(eq=False)
class _Following:
    """A follower that is given groups.

    :ivar after: the number of the last group that it was given.
    :ivar asked: the question that waits for an answer.
    """

    owner: Hashable
    ranges: SlotRanges
    follower: IFollower
    after: int
    asked: Deferred[list[ChangeGroup]] | None = None


class ServedFollowers:
    """The followers of one shard.

    :param store: what they follow.
    :param clock: times questions, and copies that nobody reads.
    :param new_id: gives the ids of copies.
    """

    def __init__(
        self, store: IStore, clock: IReactorTime, new_id: Callable[[], str] = lambda: uuid.uuid4().hex
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._copies: dict[str, _CopyInUse] = {}
        self._following: dict[str, _Following] = {}
        self._names: set[str] = set()  # for which something may be kept
        self._turns = PacedTurns(clock)
        self._digests = ServedDigests(store, clock, self._turns, new_id)

    @property
    def names(self) -> Collection[str]:
        """The names of followers for which something may be kept."""
        return self._names

    async def open_copy(self, owner: Hashable, name: str, ranges: SlotRanges) -> tuple[str, ChangeGroup]:
        """Make a copy, and keep what changes from there on.

        :param owner: the connection.
        :param name: of the follower.
        :return: the copy's id, and its head.
        :raises BadRequest: the name is empty, or there is no range.
        :raises TooManySnapshots: there are as many followers as there may be.
        :raises WrongShard: the store doesn't own all of these ranges.
        :raises StorageFailed: there is no copy.
        """
        self._admit(name, ranges)
        self._stop(name)
        self._check_owned(ranges)
        copy = await self._store.copy(name, ranges)
        try:
            self._check_owned(ranges)  # it may have gone meanwhile
        except WrongShard:
            copy.close()
            raise
        number = self._new_id()
        opened = self._copies[number] = _CopyInUse(owner, copy)
        self._await_reader(number, opened)
        return number, copy.head

    async def read_copy(self, owner: Hashable, number: str) -> list[Change]:
        """The next records of a copy; none at the end.

        :param number: the copy's id.
        :raises SnapshotEnded: the owner has no such copy (any more).
        :raises BadRequest: the question before it isn't answered yet.
        """
        opened = self._found(owner, number)
        if opened.idle is None:
            raise BadRequest("the answer to the last question about this copy is still to come; ask one at a time")
        opened.idle.cancel()
        opened.idle = None
        try:
            while (page := opened.copy.page(settings.SNAPSHOT_BYTES)) is None:
                await self._turns.next()
                self._found(owner, number)
        except SnapshotEnded:
            self._end_copy(number)
            raise
        if page:
            self._await_reader(number, opened)
        else:
            self._end_copy(number)
        return page

    def close_copy(self, owner: Hashable, number: str) -> None:
        """End a copy; one that there isn't (any more) has ended."""
        if number in self._copies and self._copies[number].owner == owner:
            self._end_copy(number)

    async def groups(self, owner: Hashable, name: str, after: int, ranges: SlotRanges) -> list[ChangeGroup]:
        """What has changed after a group, when there is something; nothing after `settings.FOLLOW_WAIT` seconds.

        :param after: the number of the last group that the follower has, and needs no more.
        :raises FollowerBehind: what comes after that number isn't kept, or was never there: it needs a new copy.
        :raises TooManySnapshots: there are as many followers as there may be.
        :raises BadRequest: the question before it isn't answered yet.
        :raises StorageFailed: the disk failed, or another connection has taken the follower's place.
        """
        following = self._following.get(name)
        if following is not None and following.owner is owner and following.asked is not None:
            raise BadRequest(f"follower {shown_value(name)} asks for changes twice at once; ask one at a time")
        if following is None or (following.owner, following.ranges, following.after) != (owner, ranges, after):
            self._admit(name, ranges)
            self._stop(name)
            following = _Following(owner, ranges, self._store.follow(name, after, ranges), after)
            self._following[name] = following
        following.follower.confirm(after)
        following.asked = following.follower.groups(settings.FOLLOW_BYTES)
        waited = self._clock.callLater(settings.FOLLOW_WAIT, following.asked.cancel)
        try:
            groups = await following.asked
        except CancelledError:
            return []
        finally:
            following.asked = None
            if waited.active():
                waited.cancel()
        if groups:
            following.after = groups[-1].sequence
        return groups

    async def open_digest(self, owner: Hashable, name: str, ranges: SlotRanges) -> tuple[str, ChangeGroup]:
        """Begin a digest of what the store has; see `ServedDigests.open`.

        :raises BadRequest: the name is empty, or there is no range.
        :raises TooManySnapshots: there are as many followers as there may be.
        """
        self._admit(name, ranges)
        return await self._digests.open(owner, name, ranges)

    async def read_digest(self, owner: Hashable, number: str, indexes: frozenset[int]) -> DigestReading:
        """Count rows of a digest for a while; see `ServedDigests.read`."""
        return await self._digests.read(owner, number, indexes)

    def forget(self, name: str) -> None:
        """Keep nothing for a follower any more."""
        self._stop(name)
        self._digests.forget(name)
        self._store.forget(name)
        self._names.discard(name)

    def close_all(self, owner: Hashable) -> None:
        """End copies and digests of a connection that is gone, and what it is given; what is kept for it stays."""
        self._digests.close_all(owner)
        for number in [number for number, opened in self._copies.items() if opened.owner == owner]:
            self._end_copy(number)
        for name in [name for name, following in self._following.items() if following.owner == owner]:
            self._stop(name)

    def close(self) -> None:
        """End all."""
        self._digests.close()
        for number in list(self._copies):
            self._end_copy(number)
        for name in list(self._following):
            self._stop(name)

    # ------------------------------------------------------------------ inside

    def _admit(self, name: str, ranges: SlotRanges) -> None:
        if not name or not ranges:
            raise BadRequest("follower: found no name, or no range, expected both")
        if name not in self._names and len(self._names) >= settings.MAX_FOLLOWERS:
            raise TooManySnapshots(
                f"{len(self._names)} others follow this shard, the most it may have; try again when one has ended"
            )
        self._names.add(name)

    def _check_owned(self, ranges: SlotRanges) -> None:
        """Refuse to give a copy of what isn't here (any more): it would be empty, and seem to be complete."""
        if lacking := without(ranges, self._store.ranges.owned):
            raise WrongShard(f"this shard doesn't own {shown(lacking)}, so it gives no copy of it; get the newest map")

    def _stop(self, name: str) -> None:
        following = self._following.pop(name, None)
        if following is not None:
            following.follower.close()

    def _found(self, owner: Hashable, number: str) -> _CopyInUse:
        opened = self._copies.get(number)
        if opened is None or opened.owner != owner:
            raise SnapshotEnded(
                f"the shard has no copy {shown_value(number)} for this connection: it was lost, or nobody read it "
                "for a while; begin anew"
            )
        return opened

    def _await_reader(self, number: str, opened: _CopyInUse) -> None:
        opened.idle = self._clock.callLater(settings.SNAPSHOT_IDLE, self._end_copy, number)

    def _end_copy(self, number: str) -> None:
        opened = self._copies.pop(number)
        opened.copy.close()
        if opened.idle is not None and opened.idle.active():
            opened.idle.cancel()
