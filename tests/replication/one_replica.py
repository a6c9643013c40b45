"""One replica over the model store, with a disk and a clock of the test's, and a primary that never answers."""

from __future__ import annotations

from replication.group_samples import A
from replication.model_store import Disk, ModelStore
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pyshard.errors import StorageFailed
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.replication.pulls import Pull, Pulled
from pyshard.replication.replica import Replica
from pyshard.replication.wishes import ReplicaReport, Wish


class One:
    """A replica with a disk and a clock of the test's."""

    def __init__(self, me: str = A, disk: Disk | None = None) -> None:
        self.me = me
        self.clock = Clock()
        self.held: list[Deferred[None]] | None = None  # syncs that wait
        self.disk = disk or Disk(f"store {me[-1]}")
        self.unreadable = False
        self.asked: list[tuple[str, Pull]] = []
        self.begin()

    def begin(self) -> None:
        """Start the process, perhaps anew."""
        self.store = ModelStore(self.disk, False, self._sync)
        self.replica = Replica(self.me, self.store, self, self.clock, lambda address: _Asked(self, address), bytes)
        self.replica.start()
        self.clock.advance(0)

    def _sync(self) -> Deferred[None]:
        if self.held is None:
            return succeed(None)
        self.held.append(Deferred())
        return self.held[-1]

    def release(self) -> None:
        """Have the disk sync all that waits."""
        held, self.held = self.held, None
        for each in held or []:
            each.callback(None)

    def break_disk(self) -> None:
        """The same, but the disk fails."""
        held, self.held = self.held, None
        for each in held or []:
            each.errback(StorageFailed("the disk fails"))

    async def groups(self, follower: str, after: int, log_format: int) -> list[ChangeGroup]:
        """See `GroupSource`."""
        if self.unreadable:
            raise StorageFailed("the log can't be read")
        return self.store.groups_behind(after)

    def wish(self) -> Wish | None:
        """What it tells a bootstrap that it wants."""
        reports: list[ReplicaReport] = []

        def note(report: ReplicaReport) -> None:
            reports.append(report)

        Deferred.fromCoroutine(self.replica.answer_bootstrap()).addCallback(note)
        return reports[0].wish if reports else None


class _Asked:
    """A primary that never answers."""

    def __init__(self, one: One, address: str) -> None:
        self._one, self._address = one, address

    def pull(self, question: Pull) -> Deferred[Pulled]:
        """See `Primary`."""
        self._one.asked.append((self._address, question))
        return Deferred()

    def open_copy(self) -> Deferred[ChangeGroup]:
        """See `Primary`."""
        raise AssertionError

    def copied_rows(self) -> Deferred[list[Change]]:
        """See `Primary`."""
        raise AssertionError


def errors_of(waiting: Deferred[None] | Deferred[Pulled]) -> list[type]:
    """With what it has failed."""
    errors: list[type] = []

    def note(failure: Failure) -> None:
        errors.append(type(failure.value))

    waiting.addErrback(note)
    return errors
