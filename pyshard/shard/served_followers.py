"""Who follows a shard over connections: the copies that they read, and the groups of changes that they are given.

A follower has a name, such as that of a move. It reads a copy, then the groups after it
(`pyshard.storage.following_interface`).

Rules:

- A copy is given of ranges alone that the store owns, all of them; or of everything, to a replica.
- A copy is read in turns that leave clients most of the time, however fast it is asked for; fewer if it would be late.
- A copy is read over the connection that opened it, and ends with it, or when nobody reads it for a while, or when it
  costs too much (`pyshard.shard.bounded_copies`).
- What a follower is to be given is kept when its connection is lost, within the store's bound. It goes on where it was.
- A follower has one connection. Whoever comes later takes its place, since the older one may be lost without a word.
- There are few followers at a time; another one is refused. A follower has one copy, the newest, and has one opened at
  a time.
- Names outlive connections, and restarts. So whoever knows which there may be is asked a while after each new one.
- A question about changes is answered when there are some, or after a little while with none. Large ones are given in
  parts, since a batch may change more than a box holds, and a group isn't divided: it takes effect as a whole. Parts
  that nobody asks for go after a while.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Hashable, Iterable
from functools import partial

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.errors import BadRequest, SnapshotEnded, TooManySnapshots, WrongShard, shown_value
from pyshard.model.slot_ranges import SlotRanges, shown, without
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.change_pages import encode_groups
from pyshard.settings import settings
from pyshard.shard.bounded_copies import WHOLE_COPY_PINS, BoundedCopy, WatchedCopies
from pyshard.shard.copy_ticket import CopyTicket, expected_size
from pyshard.shard.followers_in_use import CopyInUse, Following
from pyshard.shard.late_followers import Chaser, CopyUnderWay, LateFollowers
from pyshard.shard.opening_copies import OpeningCopies, OpeningTurns
from pyshard.shard.paced_turns import PacedTurns
from pyshard.shard.parted_answer import PartedAnswer, unheld
from pyshard.shard.served_digests import DigestReading, ServedDigests
from pyshard.shard.served_replicas import is_replica, refuse_replica
from pyshard.shard.slowed_writers import SlowedWriters
from pyshard.storage import IStore


class ServedFollowers:
    """The followers of one shard.

    :param store: what they follow.
    :param clock: times questions, and copies that nobody reads.
    :param new_id: gives the ids of copies.
    :param asked: see `PacedTurns`.
    :ivar late: for whose sake writers are slowed down.
    :ivar writers: those whose changes a follower may be unable to catch up with.
    :ivar is_of_a_move: whether a name is that of a move which goes on. Such ones always have a place.
    :ivar learners: gives the replicas that are given groups, and aren't members yet.
    :ivar on_names: called a while after a new name came, to `forget` those that nobody may have.
    """

    def __init__(
        self,
        store: IStore,
        clock: IReactorTime,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        asked: Callable[[], int] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        opening = OpeningTurns(clock)
        self._opening = OpeningCopies(store, opening)
        self._copies: dict[str, CopyInUse] = {}
        self._watched = WatchedCopies(clock)
        self._following: dict[str, Following] = {}
        self._names = {name for name in store.followers if not is_replica(name)}  # for which something may be kept
        self._look: IDelayedCall | None = None
        self.late = LateFollowers(store.followers, self._read_copies, self._chasers, clock)
        self.writers = SlowedWriters(store.followers, self.late.allowed, clock, lambda: store.writable)
        self.is_of_a_move: Callable[[str], bool] = lambda _: False
        self.learners: Callable[[], Iterable[Chaser]] = tuple
        self.on_names: Callable[[], None] = lambda: None
        self._turns = PacedTurns(clock, asked, lambda: any(one.copy.is_late for one in self._copies.values()))
        self._digests = ServedDigests(store, clock, self._turns, new_id, opening)

    @property
    def names(self) -> Collection[str]:
        """The names of followers for which something may be kept."""
        return self._names

    async def open_copy(self, owner: Hashable, name: str, ranges: SlotRanges) -> CopyTicket:
        """Make a copy, and keep what changes from there on.

        :param owner: the connection.
        :param name: of the follower.
        :raises BadRequest: the name is empty, or there is no range.
        :raises TooManySnapshots: there are as many followers as there may be.
        :raises WrongShard: the store doesn't own all of these ranges.
        :raises StorageFailed: there is no copy.
        """
        self._check_owned(ranges)
        self._admit(name, ranges)
        self._stop(name)
        copy = BoundedCopy(await self._opening.copy(name, name, ranges), self._store, name)
        copy.expected = expected_size(self._store, ranges)
        try:
            self._check_owned(ranges)  # it may have gone meanwhile
        except WrongShard:
            copy.close()
            raise
        return CopyTicket(self._opened(owner, name, copy), copy.head, copy.expected)

    async def open_whole_copy(self, owner: Hashable, name: str) -> tuple[str, ChangeGroup]:
        """Make a copy of everything, for a replica, and keep what changes from there on.

        :return: its id for `read_copy`, and its head.
        :raises StorageFailed: there is no copy.
        """
        expected = expected_size(self._store, self._store.ranges.owned)
        copy = BoundedCopy(await self._opening.copy(name, name), self._store, name, WHOLE_COPY_PINS, expected)
        return self._opened(owner, name, copy), copy.head

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
            page = await self._turns.until_given(partial(self._page, owner, number))
        except SnapshotEnded:
            if number in self._copies:  # it is its store that has ended it
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

    async def groups(
        self,
        owner: Hashable,
        name: str,
        after: int,
        ranges: SlotRanges,
        offset: int = 0,
        hold: Callable[[int], object] = unheld,
    ) -> tuple[bytes, bool]:
        """What has changed after a group, when there is something; nothing after `settings.FOLLOW_WAIT` seconds.

        :param after: the number of the last group that the follower has, and needs no more.
        :param offset: bytes that it has of the groups behind that; 0: it wants them from the front on.
        :param hold: see `PartedAnswer`.
        :return: groups as MessagePack, or a part of that, and whether bytes are lacking behind it.
        :raises FollowerBehind: what comes after that number isn't kept, or was never there: it needs a new copy.
        :raises TooManySnapshots: there are as many followers as there may be.
        :raises BadRequest: the question before it isn't answered yet, or nothing was given up to that offset.
        :raises StorageFailed: the disk failed, or another connection has taken the follower's place.
        """
        following = self._following.get(name)
        if following is not None and following.owner is owner and following.asked is not None:
            raise BadRequest(f"follower {shown_value(name)} asks for changes twice at once; ask one at a time")
        known = following is not None and (following.owner, following.ranges) == (owner, ranges)
        if offset:
            parted = None if following is None or following.after != after or not known else following.parted
            if following is None or parted is None or not parted.data or parted.given != offset:
                raise BadRequest(f"offset: found {offset}, expected 0, or the bytes of the parts that were given")
            return self._given(following, *parted.next_part())
        if following is None or not known or following.after != after or following.parted is not None:
            self._admit(name, ranges)
            self._stop(name)
            following = Following(owner, ranges, self._store.follow(name, after, ranges), after)
            following.even_at = self._clock.seconds()
            self._following[name] = following
        following.asked_at = self._clock.seconds()
        following.follower.confirm(after)
        groups = await self._wait_for_groups(following)
        following.newest = groups[-1].sequence if groups else after
        following.is_even = not groups or following.newest >= self._store.committed
        if following.is_even:
            following.even_at = self._clock.seconds()
        following.parted = parted = PartedAnswer(self._clock, hold)
        return self._given(following, *parted.begin(encode_groups(groups)))

    async def _wait_for_groups(self, following: Following) -> list[ChangeGroup]:
        following.asked = following.follower.groups(settings.FOLLOW_BYTES)
        waited = self._clock.callLater(settings.FOLLOW_WAIT, following.asked.cancel)
        try:
            return await following.asked
        except CancelledError:
            return []
        finally:
            following.asked = None
            if waited.active():
                waited.cancel()

    def _given(self, following: Following, part: bytes, more: bool) -> tuple[bytes, bool]:
        """Note what is given of groups: their next bytes, and whether there are more."""
        if not more:
            following.parted, following.after = None, following.newest
        return part, more

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

    async def read_digest_rows(self, owner: Hashable, number: str) -> list[Change]:
        """The next rows of a digest; see `ServedDigests.rows`."""
        return await self._digests.rows(owner, number)

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
        self._watched.close()
        if self._look is not None:
            self._look.cancel()
            self._look = None
        for number in list(self._copies):
            self._end_copy(number)
        for name in list(self._following):
            self._stop(name)

    # ------------------------------------------------------------------ inside

    def _opened(self, owner: Hashable, name: str, copy: BoundedCopy) -> str:
        """Have a copy read; one that the follower had before is given up."""
        for earlier in [number for number, opened in self._copies.items() if opened.name == name]:
            self._end_copy(earlier)
        number = self._new_id()
        opened = self._copies[number] = CopyInUse(name, owner, self._watched.watch(copy))
        if self._slows(name):
            self.late.begin_copy(name)
        self._await_reader(number, opened)
        return number

    def _admit(self, name: str, ranges: SlotRanges) -> None:
        if not name or not ranges:
            raise BadRequest("follower: found no name, or no range, expected both")
        refuse_replica(name)
        others = sum(not self.is_of_a_move(each) for each in self._names)
        if name not in self._names and others >= settings.MAX_FOLLOWERS and not self.is_of_a_move(name):
            raise TooManySnapshots(
                f"{others} others follow this shard, the most it may have; try again when one has ended"
            )
        if name not in self._names:
            self._names.add(name)
            if self._look is None:
                self._look = self._clock.callLater(settings.SNAPSHOT_IDLE, self._look_at_names)

    def _look_at_names(self) -> None:
        self._look = None
        self.on_names()

    def _slows(self, name: str) -> bool:
        """Whether writers may be slowed for a follower. Anybody may follow, and be behind."""
        return is_replica(name) or self.is_of_a_move(name)

    def _read_copies(self) -> Iterable[CopyUnderWay]:
        now = self._clock.seconds()
        for opened in self._copies.values():
            if self._slows(opened.name):
                copy, at = opened.copy, now if opened.idle is None else opened.asked_at
                yield CopyUnderWay(opened.name, copy.given, copy.expected, at)

    def _chasers(self) -> Iterable[Chaser]:
        now, committed = self._clock.seconds(), self._store.committed
        for name, one in self._following.items():
            if self._slows(name):
                at, lacks = now if one.asked is not None else one.asked_at, committed - max(one.after, one.newest)
                yield Chaser(name, one.ranges, max(0, lacks), at, one.even_at, one.is_even)
        yield from self.learners()

    def _check_owned(self, ranges: SlotRanges) -> None:
        """Refuse to give a copy of what isn't here (any more): it would be empty, and seem to be complete."""
        if lacking := without(ranges, self._store.ranges.owned):
            raise WrongShard(f"this shard doesn't own {shown(lacking)}, so it gives no copy of it; get the newest map")

    def _stop(self, name: str) -> None:
        following = self._following.pop(name, None)
        if following is not None:
            following.follower.close()
            if following.parted is not None:
                following.parted.end()

    def _page(self, owner: Hashable, number: str) -> list[Change] | None:
        """More records of a copy, which may have ended meanwhile. None: none of those that were looked at count."""
        return self._found(owner, number).copy.page(settings.SNAPSHOT_BYTES)

    def _found(self, owner: Hashable, number: str) -> CopyInUse:
        opened = self._copies.get(number)
        if opened is None or opened.owner != owner:
            raise SnapshotEnded(
                f"the shard has no copy {shown_value(number)} for this connection: it was lost, or nobody read it "
                "for a while; begin anew"
            )
        return opened

    def _await_reader(self, number: str, opened: CopyInUse) -> None:
        opened.asked_at = self._clock.seconds()
        opened.idle = self._clock.callLater(settings.SNAPSHOT_IDLE, self._end_copy, number)

    def _end_copy(self, number: str) -> None:
        opened = self._copies.pop(number)
        opened.copy.close()
        if opened.idle is not None and opened.idle.active():
            opened.idle.cancel()
