"""Takes a backup of a cluster while it serves: a snapshot of every shard, written into files.

Rules:

- all snapshots are open before the first one is read, so their moments are close together;
- all snapshots are of the epoch of the cluster state in the backup, so its indexes and records fit together, and each
  slot is in one of them, also when ranges move meanwhile: a snapshot keeps the ranges that it was opened with;
- snapshots are read page by page in turns, some at the same time; the first one that fails ends the others;
- only these pages are in memory, however many shards there are. A page may be as large as a box, for it may have the
  largest document;
- no shard gives what it can't have: a row that a shard would refuse, or one of another shard's range;
- no shard gives more than the cluster state lets it have, so none can fill the disk;
- each shard gives a least pace on the average, so none can keep a backup going for ever: no more than shards want
  themselves of who reads (`pyshard.shard.snapshot_limits`), beside a bound for the time in which they look for what has
  not expired;
- a snapshot is a primary's; or a member's, if that is asked for and one of them can give it. What that has is
  committed, and at most two leases old (`pyshard.replication.stale_reads`);
- a backup that fails removes its files and closes its snapshots.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from pyshard.backup import manifest
from pyshard.backup.manifest import Manifest
from pyshard.backup.new_backup import NewBackup, RecordsFile
from pyshard.backup.row_check import RowCheck
from pyshard.client import Client
from pyshard.client.backup_client import BackupClient, BackupShard
from pyshard.clocks import wall_seconds
from pyshard.errors import BackupFailed, NotConfigured, Overloaded, PyshardError, ShardBehind, Unavailable
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.protocol import commands
from pyshard.protocol.pages import decode_rows
from pyshard.settings import settings

#: Hears how far a backup or a restore is: documents done, and documents in all.
BackupProgress: TypeAlias = Callable[[int, int], object]

_PAGE_TIMEOUT = 30.0  # seconds that a page may take
_MARGIN = 8  # an eighth of a shard's size is what it may give beyond it
_AT_ONCE = 16  # pages that are on their way: enough for who writes them while each takes 50 ms
_RETRY_DELAY = 0.1  # seconds before snapshots are opened again after the cluster changed


def silent(done: int, total: int) -> None:
    """A `BackupProgress` that does nothing."""


def backup(
    client: Client,
    directory: str | Path,
    progress: BackupProgress = silent,
    *,
    from_replicas: bool = False,
    seconds: Callable[[], float] = wall_seconds,
) -> Deferred[Manifest]:
    """Write a copy of every document of the cluster into a directory.

    The part of each shard is its content at one moment; these moments are as close together as the network allows.
    The cluster accepts writes meanwhile. Files are written in the calling thread, in blocks of about 1 MiB.

    :param client: connected to the cluster; it can be used for other work meanwhile.
    :param directory: a directory that is empty or doesn't exist yet.
    :param progress: called after each block with the documents written so far, and in all.
    :param from_replicas: whether a shard with replicas is read at one that doesn't lead, to spare the primary. Its part
        is then a moment that may lie two leases back (docs/availability.md). Where none can give it, the primary does.
    :param seconds: the time since 1970, for the manifest's date.
    :return: a Deferred of the manifest, fired when everything is on the disk. When it fails, its files are removed.
    :raises BackupFailed: (in the Deferred) the directory can't be used, the disk is full, or a shard gives more
        than it can have, or what it can't have, or gives it too slowly.
    :raises SnapshotEnded: a shard lost its snapshot: its connection broke, or the shard had to end it. Begin again.
    :raises TooManySnapshots: too many backups are being taken.
    :raises Unavailable: a shard or the bootstrap can't be reached.
    """
    return Deferred.fromCoroutine(_backup(client, Path(directory), progress, from_replicas, seconds))


async def _backup(
    client: Client, directory: Path, progress: BackupProgress, from_replicas: bool, seconds: Callable[[], float]
) -> Manifest:
    raw = BackupClient(client)
    new = NewBackup(directory)
    snapshots: list[_ShardSnapshot] = []
    try:
        date = datetime.fromtimestamp(seconds(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        state = await _open_all(raw, snapshots, from_replicas)
        files = [
            new.new_file(manifest.records_name(number, snapshot.shard.name), snapshot.shard.name)
            for number, snapshot in enumerate(snapshots)
        ]
        bounds = {shard.name: SizeBound(shard.name, shard.limit) for shard in state.map.shards}
        checks = {shard.name: RowCheck.of(state, shard.name) for shard in state.map.shards}
        await _SnapshotReader(snapshots, files, bounds, checks, progress, raw.clock.seconds).read_all()
        saved = new.new_file(manifest.STATE)
        saved.write(cluster_state_json.to_json(state))
        # Syncing a large file can block for long. By now every snapshot is closed, so no shard waits for this program.
        entries = tuple(file.finish() for file in files)
        made = Manifest(manifest.FORMAT, date, state.cluster, state.epoch, saved.finish(), entries)
        new.finish(made)
    except BaseException:
        new.abandon()
        _close_all(snapshots)
        raise
    return made


@attrs.frozen
class SizeBound:
    """What a shard may give for a backup, by its size in the cluster state.

    A shard counts for each document more than the document takes in a file. So a file is never larger than the size.

    :param shard: its name.
    :param limit: its size in bytes.
    """

    shard: str
    limit: int

    def check(self, documents: int, size: int) -> None:
        """Make sure that it can have so much.

        :param documents: how many documents it says that it has, or has given.
        :param size: how many bytes of a file they take.
        :raises BackupFailed: it can't.
        """
        most = self.limit + self.limit // _MARGIN
        if size > most or documents * settings.ITEM_OVERHEAD > most:
            raise BackupFailed(
                f"shard {self.shard!r} gives more than it can have: {documents:,} documents, {size:,} bytes, and "
                f"its size is {self.limit:,}; raise the size in the config file if it was lowered below what the shard "
                "holds, otherwise don't trust this shard"
            )


def check_pace(shard: str, given: int, waited: float) -> None:
    """Make sure that a shard gives its snapshot in time. Pure.

    :param shard: its name.
    :param given: bytes that it has given.
    :param waited: seconds for which its answers were awaited.
    :raises BackupFailed: it doesn't.
    """
    allowed = settings.SNAPSHOT_IDLE + settings.SNAPSHOT_LOOKS
    if waited > allowed + given / settings.SNAPSHOT_PACE:
        raise BackupFailed(
            f"shard {shard!r} gives its documents too slowly: {given:,} bytes in {waited:,.0f} s, expected at least "
            f"{settings.SNAPSHOT_PACE:,} a second beside {allowed:,.0f} s; look at its log and its network, and begin "
            "again, otherwise don't trust this shard"
        )


@attrs.frozen
class _ShardSnapshot:
    """A shard's open snapshot."""

    shard: BackupShard
    id: str
    documents: int
    epoch: int

    def close(self) -> None:
        """Ask the shard to close it; a shard that can't be reached closes it by itself."""
        self.shard.keep_connection(False)
        closing = self.shard.call(commands.CloseSnapshot, settings.TIMEOUT, snapshot=self.id)
        closing.addErrback(lambda failure: failure.trap(PyshardError))
        closing.addBoth(lambda _: self.shard.end())


async def _open_all(raw: BackupClient, snapshots: list[_ShardSnapshot], from_replicas: bool) -> ClusterState:
    """Open a snapshot of every shard, all at one epoch.

    :param snapshots: empty; the snapshots are added to it, in slot order, also when this fails.
    :return: the cluster state of that epoch.
    """
    end = raw.clock.seconds() + settings.DEADLINE
    while True:
        why = await _open_each(raw, snapshots, from_replicas)
        if not why:
            state = await raw.state(settings.DEADLINE)  # asked for last, so that no shard has a newer one
            epochs = {snapshot.shard.name: snapshot.epoch for snapshot in snapshots}
            if epochs == dict.fromkeys((shard.name for shard in state.map.shards), state.epoch):
                return state
            why = f"the cluster has epoch {state.epoch} by now, and the shards have {epochs}"
        _close_all(snapshots)
        snapshots.clear()
        if raw.clock.seconds() >= end:
            raise Unavailable(f"no snapshot of the whole cluster could be had: {why}")
        await deferLater(raw.clock, _RETRY_DELAY)


async def _open_each(raw: BackupClient, snapshots: list[_ShardSnapshot], from_replicas: bool) -> str:
    """Open a snapshot of each shard.

    :param snapshots: the snapshots are added to it, in slot order.
    :return: why it must be tried again, or an empty string.
    """
    opening = [Deferred.fromCoroutine(_opened(shard, from_replicas)) for shard in raw.shards]
    outcomes: list[tuple[bool, Any]] = await DeferredList(opening, consumeErrors=True)
    failures = [outcome for succeeded, outcome in outcomes if not succeeded]
    snapshots += [outcome for succeeded, outcome in outcomes if succeeded]
    for failure in failures:
        if not failure.check(NotConfigured, Overloaded, ShardBehind):
            failure.raiseException()
    return failures[0].getErrorMessage() if failures else ""


async def _opened(shard: BackupShard, from_replicas: bool) -> _ShardSnapshot:
    """Open a shard's snapshot: at the first of its members that can, if that is asked for; else at its primary."""
    for member in shard.members() if from_replicas else ():
        try:
            answer = await member.call(commands.OpenSnapshot, settings.TIMEOUT, stale=True)
        except PyshardError:
            member.end()
        else:
            return _snapshot(member, answer)
    return _snapshot(shard, await shard.call(commands.OpenSnapshot, settings.DEADLINE))


def _snapshot(shard: BackupShard, answer: Mapping[str, Any]) -> _ShardSnapshot:
    """The snapshot that a shard has opened, which ends with the connection."""
    shard.keep_connection(True)
    return _ShardSnapshot(shard, answer["snapshot"], answer["documents"], answer["epoch"])


def _close_all(snapshots: list[_ShardSnapshot]) -> None:
    for snapshot in snapshots:
        snapshot.close()


@attrs.define(eq=False)
class _Reading:
    """A snapshot that is being read.

    :param waited: seconds for which its shard's answers were awaited.
    """

    snapshot: _ShardSnapshot
    file: RecordsFile
    waited: float = 0.0


class _SnapshotReader:
    """Reads all snapshots in turns, each into its file; the first one that fails ends the others.

    :param snapshots: the open ones, in slot order; each is closed and removed from the list when it was read.
    :param files: one for each snapshot.
    :param bounds: for each shard's name how much it may give.
    :param checks: for each shard's name what it may give.
    :param seconds: times their answers.
    """

    def __init__(
        self,
        snapshots: list[_ShardSnapshot],
        files: list[RecordsFile],
        bounds: Mapping[str, SizeBound],
        checks: Mapping[str, RowCheck],
        progress: BackupProgress,
        seconds: Callable[[], float],
    ) -> None:
        self._snapshots = snapshots
        self._files = files
        self._bounds = bounds
        self._checks = checks
        self._progress = progress
        self._seconds = seconds
        self._total = sum(snapshot.documents for snapshot in snapshots)
        self._failed: Failure | None = None

    async def read_all(self) -> None:
        """Read them, and return when no request is in flight any more.

        :raises PyshardError: the first failure.
        """
        turns = deque(map(_Reading, self._snapshots, self._files))
        for reading in turns:
            self._bounds[reading.snapshot.shard.name].check(reading.snapshot.documents, 0)
        at_once = min(_AT_ONCE, len(turns))
        await DeferredList(
            [Deferred.fromCoroutine(self._read_in_turns(turns)).addErrback(self._end) for _ in range(at_once)]
        )
        if self._failed is not None:
            self._failed.raiseException()

    def _end(self, failure: Failure) -> None:
        self._failed = self._failed or failure

    async def _read_in_turns(self, turns: deque[_Reading]) -> None:
        """Read the next page of each snapshot that nobody reads just now, until there is none."""
        while turns and self._failed is None:
            reading = turns.popleft()
            if await self._read_page(reading):
                turns.append(reading)
            elif self._failed is None:
                self._ended(reading.snapshot, reading.file)

    async def _read_page(self, reading: _Reading) -> bool:
        """Read a snapshot's next page; whether there may be another one."""
        snapshot, file = reading.snapshot, reading.file
        asked = self._seconds()
        answer = await snapshot.shard.call(commands.ReadSnapshot, _PAGE_TIMEOUT, snapshot=snapshot.id)
        reading.waited += self._seconds() - asked
        rows = decode_rows(answer["rows"])
        if not rows:
            return False
        fault = self._checks[snapshot.shard.name].fault(rows)
        if fault is not None:
            raise BackupFailed(
                f"shard {snapshot.shard.name!r} gives what no shard can have: {fault}; don't trust this shard"
            )
        bound = self._bounds[snapshot.shard.name]
        bound.check(file.documents + len(rows), file.size + len(answer["rows"]))
        file.write_block(answer["rows"], len(rows))
        check_pace(snapshot.shard.name, file.size, reading.waited)
        self._progress(sum(written.documents for written in self._files), self._total)
        return file.documents <= snapshot.documents

    def _ended(self, snapshot: _ShardSnapshot, file: RecordsFile) -> None:
        """A snapshot has no further page."""
        if file.documents != snapshot.documents:
            raise BackupFailed(
                f"shard {snapshot.shard.name!r} said that it has {snapshot.documents:,} documents and gave "
                f"{file.documents:,}; its log may say why"
            )
        snapshot.close()
        self._snapshots.remove(snapshot)
