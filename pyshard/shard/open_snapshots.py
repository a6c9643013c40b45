"""The snapshots that a shard has open: whose they are, and when one is closed.

Rules:

- A snapshot is read over the connection that opened it, and ends with it.
- How many there may be, how fast they must be read, and how much may be kept for them, says
  `pyshard.shard.snapshot_limits`.
- One that was read to its end ends.
- It has exactly the ranges that its epoch gives the shard; while these change, none is opened.
- An id is never given twice, so that nobody reads on in another snapshot.
- Who goes on reading in a snapshot that has ended is told why it has.
- Where many records must be looked at for an answer, such as a million that have expired, others are served meanwhile
  (`pyshard.shard.paced_turns`). So there is one question about a snapshot at a time. That time isn't the reader's.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Hashable
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.errors import BadRequest, ShardBehind, SnapshotEnded, TooManySnapshots, shown_value
from pyshard.protocol.pages import Row
from pyshard.settings import settings
from pyshard.shard.paced_turns import PacedTurns
from pyshard.shard.shard import Shard
from pyshard.shard.snapshot_limits import SnapshotLimits, SnapshotPeer, SnapshotRests, heaviest, overdue, refusal
from pyshard.storage import ISnapshot

_T = TypeVar("_T")

_LOOK_EVERY = 0.25  # seconds between looks at what is kept for open snapshots
_MOST_ENDED = 16  # snapshots that have ended of which the reason is remembered


@attrs.define
class _SnapshotInUse:
    owner: Hashable
    peer: SnapshotPeer
    snapshot: ISnapshot
    began: float
    opened: float  # later than that, by how long the shard looked for what has not expired
    last_read: float
    given: int = 0
    busy: bool = False  # with an answer


@attrs.frozen
class SnapshotTicket:
    """What the caller is told of a snapshot that was opened.

    :param id: what `OpenSnapshots.read` wants.
    :param documents: how many documents it has.
    :param epoch: the shard's epoch.
    """

    id: str
    documents: int
    epoch: int


class OpenSnapshots:
    """The open snapshots of one shard.

    :param shard: whose store they are taken of.
    :param clock: times them.
    :param limits: what they may cost.
    :param new_id: gives the ids.
    """

    def __init__(
        self,
        shard: Shard,
        clock: IReactorTime,
        limits: SnapshotLimits | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._shard = shard
        self._clock = clock
        self._limits = limits or SnapshotLimits()
        self._new_id = new_id
        self._open: dict[str, _SnapshotInUse] = {}
        self._ended: dict[str, tuple[Hashable, str]] = {}  # id → whose it was, and why it has ended
        self._next_look: IDelayedCall | None = None
        self._turns = PacedTurns(clock)
        self._rests = SnapshotRests(self._limits)

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def open(self, owner: Hashable, peer: SnapshotPeer) -> Deferred[SnapshotTicket]:
        """Take a snapshot of the store.

        :param owner: the connection.
        :param peer: who is at its other end.
        :return: a Deferred of what the caller is told, when the documents are counted.
        :raises NotConfigured, ShardBehind, TooManySnapshots: (in the Deferred)
        :raises SnapshotEnded: (in the Deferred) it had to end meanwhile.
        """
        return Deferred.fromCoroutine(self._open_and_count(owner, peer))

    def read(self, owner: Hashable, number: str) -> Deferred[list[Row]]:
        """The next page of a snapshot: at least one row, or none at the end.

        :param number: its id.
        :raises SnapshotEnded: (in the Deferred) the owner has no such snapshot (any more).
        :raises BadRequest: (in the Deferred) the page before it isn't answered yet.
        """
        return Deferred.fromCoroutine(self._read(owner, number))

    async def _open_and_count(self, owner: Hashable, peer: SnapshotPeer) -> SnapshotTicket:
        assignment = self._shard.taken_on()  # or the snapshot would have other ranges than its epoch says
        why = refusal([found.peer for found in self._open.values()], peer, self._limits)
        if why:
            raise TooManySnapshots(f"shard {assignment.name!r} has {why}; try again when another backup has ended")
        if why := self._rests.refusal(peer, self._clock.seconds()):
            raise TooManySnapshots(f"shard {assignment.name!r} has {why}, or at once by a token of role admin")
        if not self._shard.store.all_counted:  # or the snapshot would say that it has more documents than it gives
            raise ShardBehind(f"shard {assignment.name!r} still counts what it has given up; ask again soon")
        snapshot, now = self._shard.store.snapshot(), self._clock.seconds()
        number = self._new_id()
        self._open[number] = _SnapshotInUse(owner, peer, snapshot, now, now, now)
        if self._next_look is None:
            self._next_look = self._clock.callLater(_LOOK_EVERY, self._look)
        documents = await self._in_turns(owner, number, snapshot.count)
        return SnapshotTicket(number, documents, assignment.state.epoch)

    async def _read(self, owner: Hashable, number: str) -> list[Row]:
        snapshot = self._found(owner, number).snapshot
        page = await self._in_turns(owner, number, lambda: snapshot.page(settings.SNAPSHOT_BYTES))
        self._found(owner, number).given += sum([row.size for row in page])
        if not page:
            self._end(number, "all of it was read")
        return page

    async def _in_turns(self, owner: Hashable, number: str, step: Callable[[], _T | None]) -> _T:
        """What a step gives, which is taken until it gives something: at once, then in turns."""
        found, began = self._found(owner, number), self._clock.seconds()
        if found.busy:
            raise BadRequest("the answer to the last question about this snapshot is still to come; ask one at a time")
        found.busy = True
        try:
            while (outcome := step()) is None:
                await self._turns.next()
                self._found(owner, number)
        except SnapshotEnded:
            if number in self._open:  # it is its store that has ended it
                self._end(number, "")
            raise
        finally:
            found.busy = False
        found.last_read = self._clock.seconds()
        found.opened += found.last_read - began
        return outcome

    def _found(self, owner: Hashable, number: str) -> _SnapshotInUse:
        """An owner's snapshot.

        :raises SnapshotEnded: there is none (any more).
        """
        found = self._open.get(number)
        if found is not None and found.owner == owner:
            return found
        whose, why = self._ended.get(number, (None, ""))
        if whose is owner:
            raise SnapshotEnded(f"the snapshot has ended: {why}; start the backup again")
        raise SnapshotEnded(
            f"the shard has no snapshot {shown_value(number)} for this connection: the connection was lost, or the "
            "shard was restarted; start the backup again"
        )

    def close(self, owner: Hashable, number: str) -> None:
        """Close a snapshot; one that there isn't (any more) is closed."""
        if number in self._open and self._open[number].owner == owner:
            self._end(number, "it was closed")

    def close_all(self, owner: Hashable) -> None:
        """Close the snapshots of a connection that is gone."""
        for number in [number for number, found in self._open.items() if found.owner == owner]:
            self._end(number, "")
        self._ended = {number: ended for number, ended in self._ended.items() if ended[0] != owner}

    def _look(self) -> None:
        """End those that take too long, or for which too much is kept."""
        self._next_look = None
        for number, found in list(self._open.items()):
            left, why = overdue(found.opened, found.last_read, found.given, self._clock.seconds(), self._limits)
            if left <= 0 and not found.busy:
                self._end(number, why)
        while True:
            pinned = {number: (found.peer, found.snapshot.pinned) for number, found in self._open.items()}
            heavy = heaviest(pinned, self._shard.store.used, self._limits)
            if heavy is None:
                break
            self._end(*heavy)
        if self._open:
            self._next_look = self._clock.callLater(_LOOK_EVERY, self._look)

    def _end(self, number: str, why: str) -> None:
        """End a snapshot.

        :param why: for who goes on reading; empty: nobody will, or the snapshot says it itself.
        """
        found = self._open.pop(number)
        self._rests.ended(found.peer, found.snapshot.kept, found.began, self._clock.seconds())
        found.snapshot.close()
        if why:
            self._ended[number] = (found.owner, why)
            if len(self._ended) > _MOST_ENDED:
                del self._ended[next(iter(self._ended))]
        if not self._open and self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
