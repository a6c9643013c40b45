"""A pull: has a store take what another shard has of some slots, and follow what becomes of it.

Rules:

- The records are staged: nobody sees them before the store owns the slots.
- A complete copy goes on from where it is, also after a restart of either side: its position is saved with its records.
- One that isn't complete, or is of another store or another incarnation of it, is given up, and begins anew when what
  it had is removed. So is one whose next groups aren't kept any more.
- A record of an index that this shard wasn't told of yet waits until it is.
- What has reached a seal may be committed. It is left as it is, and the source is asked nothing, while it is *held*:
  until it is known that this seal was taken back (`pyshard.shard.move_duties.is_held`).
- A complete copy is compared with what the source has, while it follows (`pyshard.shard.copy_check`). Rows that differ
  are fetched again. Where too many do, it is given up as a whole, and begins anew.
- The copy has a pace. It is slower by itself where the shard has clients: after each piece of it they have some times
  as long as that took. So the longer it had to wait for their work, the more it leaves them.
- What changes is asked for some times in a second, not each time something does: each answer costs both sides a
  message, and the target a sync of its disk, which may be the source's, too.
- Changes aren't held up: they must be caught up with. The time for which it chases them is without that in which it
  compares, or fetches again.
- It is known for how long it has come no further, though the source answers (`pyshard.shard.pull_stall`).
- Among replicas it takes more when all members have what came before. So what the source needn't keep any more the next
  primary has, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from msgspec import structs
from twisted.internet.defer import succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pyshard.errors import FollowerBehind, Overloaded, ShardBehind, SnapshotEnded
from pyshard.model.range_moves import BYTES_BEHIND
from pyshard.model.slot_ranges import SlotRanges, common, union
from pyshard.protocol.change_groups import Change, ChangeGroup, merged
from pyshard.protocol.store_ranges import Origin
from pyshard.settings import settings
from pyshard.shard.copy_check import CopyCheck
from pyshard.shard.copy_verdict import CopyDiffers, CopyVerdict
from pyshard.shard.followed_shard import FollowedShard
from pyshard.shard.pull_progress import PullProgress
from pyshard.shard.pull_stall import PullStall
from pyshard.storage import IStore

_LOOK = 0.05  # seconds between looks whether what is waited for has come
_PIECE = 500  # records that are taken at a time: a few milliseconds of work
_GROUP_PIECE = 10_000  # changes of a group that are taken at a time: as many as the largest batch has
_TURN = 0.02  # seconds for which groups are taken in one turn of the reactor
_REST = 6  # times as long as a piece took the shard's clients have the time
_LONGEST_REST = 2.0  # seconds
_TOGETHER = 0.1  # seconds between questions for changes, at the least: what changes meanwhile comes together
_TOGETHER_AT_LAST = 0.02  # the same when the copy is found equal: whatever is behind then is what a seal waits for


class RangePull:
    """One pull.

    :param store: takes the records.
    :param name: of the staging.
    :param ranges: the slots.
    :param origin: the other store, and its incarnation.
    :param limit: gives how many bytes the shard may store, with what is copied.
    :param clock: paces the copy.
    :param held: whether what has reached a seal is held, given its attempt.
    :param asked: how many things clients have asked the shard for, ever.
    :param pace: bytes of records that are copied in a second.
    :param settled: gives what fires when the store will never lose what it has now.
    :param check: refuses rows that no shard has.
    :ivar progress: how far it is.
    :ivar stall: for how long it has come no further.
    :ivar verdict: whether the copy was found equal to what the source has.
    """

    def __init__(
        self,
        store: IStore,
        name: str,
        ranges: SlotRanges,
        origin: Origin,
        limit: Callable[[], int],
        clock: IReactorTime,
        held: Callable[[int], bool] = lambda _: False,
        asked: Callable[[], int] = lambda: 0,
        pace: float = settings.COPY_PACE,
        settled: Callable[[], Awaitable[object]] = lambda: succeed(None),
        check: Callable[[Sequence[Change]], object] = lambda _: None,
    ) -> None:
        self._store = store
        self._name = name
        self._ranges = union(ranges)
        self._origin = Origin(origin.identity, origin.incarnation)
        self._limit = limit
        self._clock = clock
        self._held = held
        self._asked = asked
        self._pace = pace
        self._settled = settled
        self._check = check
        self.progress = PullProgress()
        self.stall = PullStall()
        self.verdict = CopyVerdict()
        self._resumed = 0.0  # when it began to take groups in the present turn

    async def run(self, source: FollowedShard) -> None:
        """Pull for as long as the connection lasts, or the caller cancels it; call again with a new connection.

        :raises ShardFull: the shard hasn't the room.
        :raises PyshardError: one of the stores failed, or the other shard refuses.
        :raises ConnectionDone, ConnectionLost: the connection was.
        """
        self.stall.connected(self._clock.seconds())
        try:
            while True:
                try:
                    if not self._complete():
                        await self._begin()
                        await self._copy(source)
                    await self._follow(source)
                except (FollowerBehind, CopyDiffers):
                    self.progress.chasing = None
                    with self._waiting_for_itself():
                        await self._store.unstage(self._name)
        finally:
            self.progress.chasing = None
            self.stall.disconnected(self._clock.seconds())

    # ------------------------------------------------------------------ inside

    def _complete(self) -> bool:
        """Whether there is a complete copy of just this."""
        staging = self._store.ranges.staged.get(self._name)
        if staging is None or staging.ranges != self._ranges or not staging.origin.sequence:
            return False
        return (staging.origin.identity, staging.origin.incarnation) == (
            self._origin.identity,
            self._origin.incarnation,
        )

    async def _begin(self) -> None:
        """Stage the ranges, when nothing is there of an earlier copy."""
        self.progress.sequence, self.progress.even = 0, None
        self.verdict.begin_copy()
        with self._waiting_for_itself():
            await self._store.unstage(self._name)
            while common(self._ranges, self._store.ranges.left):
                await self._pause(_LOOK)
            await self._store.stage(self._name, self._ranges, self._origin)

    async def _copy(self, source: FollowedShard) -> None:
        """Take a whole copy."""
        progress = self.progress
        try:
            head, expected = await source.open_copy()
            began = self._clock.seconds()
            progress.begin(expected, began)
            while page := await source.page():
                await self._take_rows(head, page, 0)
                await self._have_settled()
                await self._pause(began + progress.size / self._pace - self._clock.seconds())
        except SnapshotEnded:
            raise FollowerBehind("the copy ended before it was read") from None
        await self._absorb(ChangeGroup(head.sequence, 0, head.version, []), head.sequence)

    async def _take_rows(self, head: ChangeGroup, rows: Sequence[Change], sequence: int) -> None:
        """Take records as the source had them after a group, and leave the shard's clients time, if there are any.

        :param head: of what has them at the source.
        :param sequence: see `IRangedStore.absorb_staged`.
        """
        for first in range(0, len(rows), _PIECE):
            asked, began = self._asked(), self._clock.seconds()
            piece = ChangeGroup(head.sequence, 0, head.version, list(rows[first : first + _PIECE]))
            await self._absorb(piece, sequence)
            now = self._clock.seconds()
            if not sequence:
                had = self._store.staged_documents(self._name)
                self.progress.add(had, sum([change.size for change in piece.changes]), now)
                self._look()
            if self._asked() != asked:
                await self._pause(min(_LONGEST_REST, _REST * (now - began)))

    async def _put_right(self, head: ChangeGroup, rows: Sequence[Change]) -> None:
        """Take records again that differed. The copy has all groups up to the head's, and none behind."""
        await self._take_rows(head, rows, head.sequence)

    async def _follow(self, source: FollowedShard) -> None:
        """Take the groups after those that are here, and compare meanwhile."""
        check = CopyCheck(self._store, self._name, self._ranges, source, self._clock, self.verdict, self._put_right)
        try:
            await self._follow_and_check(source, check)
        finally:
            check.stop()

    async def _follow_and_check(self, source: FollowedShard, check: CopyCheck) -> None:
        progress = self.progress
        progress.chasing = self._clock.seconds()
        while True:
            staging = self._store.ranges.staged[self._name]
            if self._held(staging.sealed):
                progress.chasing = self._clock.seconds()
                self.stall.brought_on(progress.chasing)
                await self._pause(_LOOK)
                continue
            progress.sequence = staging.origin.sequence
            self._look()
            await self._aside(check.go_on(progress.sequence))
            await self._have_settled()
            asked = self._clock.seconds()
            groups = await source.groups(progress.sequence)
            heard = self._clock.seconds()
            progress.behind = sum([group.size for group in groups if group.changes])
            await self._take(groups, check)
            if not groups or groups[-1].sequence >= source.newest:
                progress.even = progress.chasing = heard  # not before: to take them may have lasted
                if self.verdict.equal and progress.behind <= BYTES_BEHIND:
                    self.stall.brought_on(heard)  # so it may be sealed
                together = _TOGETHER_AT_LAST if self.verdict.equal else _TOGETHER
                await self._pause(asked + together - self._clock.seconds())

    async def _take(self, groups: Sequence[ChangeGroup], check: CopyCheck) -> None:
        """Take the groups of one answer, up to a seal: what comes behind it is asked for again, if it isn't held."""
        for part in check.parts(groups):
            await self._aside(check.reached(part[0].sequence - 1))
            self._resumed = self._clock.seconds()
            for group in merged(part):  # each one is synced, and there may be thousands
                await self._absorb_in_pieces(group)
                if group.ranges is not None and self._name in group.ranges.sealed:
                    return

    async def _absorb_in_pieces(self, group: ChangeGroup) -> None:
        """Take a group. The copy has it with its last piece, so that one that ends before begins with it anew."""
        changes, last = group.changes, max(0, len(group.changes) - 1) // _GROUP_PIECE * _GROUP_PIECE
        for first in range(0, last, _GROUP_PIECE):
            piece = ChangeGroup(group.sequence, 0, group.version, changes[first : first + _GROUP_PIECE])
            await self._absorb(piece, self._store.ranges.staged[self._name].origin.sequence)
            await self._leave_turn()
        await self._absorb(structs.replace(group, changes=changes[last:]) if last else group, group.sequence)
        await self._leave_turn()

    async def _leave_turn(self) -> None:
        """Let others have their turn, if this one has lasted for a while."""
        if self._clock.seconds() - self._resumed >= _TURN:
            await deferLater(self._clock, 0)
            self._resumed = self._clock.seconds()

    async def _aside(self, work: Awaitable[None]) -> None:
        """Do what is no part of the chase. Its time doesn't count meanwhile, nor later."""
        progress, began = self.progress, self._clock.seconds()
        since, progress.chasing = progress.chasing, None
        await work
        if since is not None:
            progress.chasing = since + self._clock.seconds() - began

    async def _absorb(self, group: ChangeGroup, sequence: int) -> None:
        while True:
            try:
                self._check(group.changes)
                await self._store.absorb_staged(self._name, group, sequence, self._limit())
                return
            except ShardBehind:  # which ends when it knows the index, if there is such a one
                await self._pause(_LOOK)
            except Overloaded:  # which ends when members have more
                with self._waiting_for_itself():
                    await self._pause(_LOOK)

    async def _have_settled(self) -> None:
        with self._waiting_for_itself():
            await self._settled()

    def _look(self) -> None:
        """Note how far it is. How many groups it has says nothing: a source can give some for ever."""
        progress = self.progress
        documents = 0 if progress.sequence else progress.rows
        place = (progress.copies, int(progress.sequence > 0), documents, *self.verdict.place)
        self.stall.reached(place, self._clock.seconds())

    @contextmanager
    def _waiting_for_itself(self) -> Iterator[None]:
        """Wait for what isn't the source's."""
        self.stall.hold(self._clock.seconds())
        try:
            yield
        finally:
            self.stall.go_on(self._clock.seconds())

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await deferLater(self._clock, seconds)
