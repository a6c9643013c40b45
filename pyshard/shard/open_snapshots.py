"""The snapshots that a shard has open: whose they are, how many there may be, and when one is closed.

Rules:

- A snapshot is read over the connection that opened it, and ends with it.
- One that nobody has read from for a while is closed.
- An id is never given twice, so that nobody reads on in another snapshot.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Hashable

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.errors import SnapshotEnded, TooManySnapshots, shown_value
from pyshard.protocol.pages import Row
from pyshard.settings import settings
from pyshard.shard.shard import Shard
from pyshard.storage import ISnapshot


@attrs.define
class _SnapshotInUse:
    owner: Hashable
    snapshot: ISnapshot
    idle: IDelayedCall


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
    :param clock: times idle ones.
    :param most: how many there may be.
    :param idle: seconds after which one that nobody reads from is closed.
    :param new_id: gives the ids.
    """

    def __init__(
        self,
        shard: Shard,
        clock: IReactorTime,
        most: int = settings.MAX_SNAPSHOTS,
        idle: float = settings.SNAPSHOT_IDLE,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._shard = shard
        self._clock = clock
        self._most = most
        self._idle = idle
        self._new_id = new_id
        self._open: dict[str, _SnapshotInUse] = {}

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def open(self, owner: Hashable) -> SnapshotTicket:
        """Take a snapshot of the store.

        :param owner: the connection.
        :raises NotConfigured, TooManySnapshots:
        """
        assignment = self._shard.configured()
        if len(self._open) >= self._most:
            raise TooManySnapshots(
                f"shard {assignment.name!r} has {len(self._open)} snapshots open, the most it may have; "
                "try again when another backup has ended"
            )
        snapshot = self._shard.store.snapshot()
        number = self._new_id()
        self._open[number] = _SnapshotInUse(owner, snapshot, self._clock.callLater(self._idle, self._end, number))
        return SnapshotTicket(number, snapshot.documents, assignment.state.epoch)

    def read(self, owner: Hashable, number: str) -> list[Row]:
        """The next page of a snapshot; see `pyshard.storage.interface.ISnapshot.page`.

        :param number: its id.
        :raises SnapshotEnded: the owner has no such snapshot (any more).
        """
        found = self._open.get(number)
        if found is None or found.owner != owner:
            raise SnapshotEnded(
                f"the shard has no snapshot {shown_value(number)} for this connection: the connection was lost, the "
                f"shard was restarted, or nothing was read for {self._idle:g} s; start the backup again"
            )
        try:
            page = found.snapshot.page(settings.SNAPSHOT_BYTES)
        except SnapshotEnded:
            self._end(number)
            raise
        found.idle.reset(self._idle)
        return page

    def close(self, owner: Hashable, number: str) -> None:
        """Close a snapshot; one that there isn't (any more) is closed."""
        if number in self._open and self._open[number].owner == owner:
            self._end(number)

    def close_all(self, owner: Hashable) -> None:
        """Close the snapshots of a connection that is gone."""
        for number, found in list(self._open.items()):
            if found.owner == owner:
                self._end(number)

    def _end(self, number: str) -> None:
        found = self._open.pop(number)
        if found.idle.active():
            found.idle.cancel()
        found.snapshot.close()
