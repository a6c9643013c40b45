"""Take a backup while the cluster serves.

Rules kept here: a snapshot of every shard is open before the first is read; all of them are of the epoch of the
cluster state in the backup, so that indexes and records fit; what is in memory is a page of each shard at the most.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import attrs
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from pyshard.backup import manifest
from pyshard.backup.file_writer import NewBackup, RecordsFile
from pyshard.backup.manifest import Manifest
from pyshard.client import Client
from pyshard.client.raw_client import RawClient, RawShard
from pyshard.errors import BackupFailed, NotConfigured, PyshardError, Unavailable
from pyshard.model import cluster_state
from pyshard.model.cluster_state import ClusterState
from pyshard.protocol import commands
from pyshard.protocol.pages import decode_rows
from pyshard.settings import settings
from pyshard.steps import Steps

#: What is told how far it is: documents done, and documents in all.
Progress: TypeAlias = Callable[[int, int], object]

_PAGE = 30.0  # seconds that a page may take
_PAUSE = 0.1  # seconds before snapshots are opened again after the cluster changed


def silent(done: int, total: int) -> None:
    """The `Progress` of who doesn't want to know."""


@inlineCallbacks
def backup(
    client: Client,
    directory: str | Path,
    progress: Progress = silent,
    *,
    seconds: Callable[[], float] = time.time,
) -> Steps[Manifest]:
    """Write a copy of every document of the cluster into a directory.

    Each shard's part is the shard as it was at one moment; those moments are as close together as the network allows,
    and what is written meanwhile goes on. Files are written where this is called, in blocks of about 1 MiB.

    :param client: connected to the cluster; it can be used for other work meanwhile.
    :param directory: a directory that is empty or doesn't exist yet.
    :param progress: called after each block with the documents written so far, and in all.
    :param seconds: the time since 1970, for the manifest's date.
    :return: a Deferred of the manifest, fired when all is on the disk. When it fails, what was written is removed.
    :raises BackupFailed: (in the Deferred) the directory can't be used, or the disk is full.
    :raises SnapshotEnded: a shard lost its snapshot: its connection broke, or it had to let go of it. Begin again.
    :raises TooManySnapshots: too many backups are being taken.
    :raises Unavailable: a shard or the bootstrap can't be reached.
    """
    raw = RawClient(client)
    new = NewBackup(Path(directory))
    sources: list[_Source] = []
    try:
        date = datetime.fromtimestamp(seconds(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        state = yield _open_all(raw, sources)
        files = [
            new.new_file(manifest.records_name(number, one.shard.name), one.shard.name)
            for number, one in enumerate(sources)
        ]
        yield _Reading(sources, files, progress).all()
        saved = new.new_file(manifest.STATE)
        saved.write(cluster_state.to_json(state))
        # Bringing a large file to the disk takes its time, so nobody must be waiting for this program by now.
        entries = tuple(file.finish() for file in files)
        made = Manifest(manifest.FORMAT, date, state.cluster, state.epoch, saved.finish(), entries)
        new.finish(made)
    except BaseException:
        new.abandon()
        _close_all(sources)
        raise
    return made


@attrs.frozen
class _Source:
    """A shard's open snapshot."""

    shard: RawShard
    id: str
    documents: int
    epoch: int

    def close(self) -> None:
        """Let the shard forget it; if that can't be said, the shard will find out."""
        closing = self.shard.ask(commands.CloseSnapshot, settings.TIMEOUT, snapshot=self.id)
        closing.addErrback(lambda failure: failure.trap(PyshardError))


@inlineCallbacks
def _open_all(raw: RawClient, sources: list[_Source]) -> Steps[ClusterState]:
    """Open a snapshot of every shard, all at one epoch.

    :param sources: filled with them, in slot order.
    :return: the cluster state of that epoch.
    """
    end = raw.clock.seconds() + settings.DEADLINE
    while True:
        why = yield _open_each(raw, sources)
        if not why:
            state: ClusterState = yield raw.state(settings.DEADLINE)  # last: no shard has heard of a newer one
            epochs = {one.shard.name: one.epoch for one in sources}
            if epochs == dict.fromkeys((one.name for one in state.map.ranges), state.epoch):
                return state
            why = f"the cluster has epoch {state.epoch} by now, and the shards have {epochs}"
        _close_all(sources)
        sources.clear()
        if raw.clock.seconds() >= end:
            raise Unavailable(f"no snapshot of the whole cluster could be had: {why}")
        yield deferLater(raw.clock, _PAUSE)


@inlineCallbacks
def _open_each(raw: RawClient, sources: list[_Source]) -> Steps[str]:
    """Open a snapshot of each shard; why it is to be tried again, or an empty string."""
    shards = raw.shards
    asked = [one.ask(commands.OpenSnapshot, settings.DEADLINE) for one in shards]
    outcomes: list[tuple[bool, Any]] = yield DeferredList(asked, consumeErrors=True)
    failures = [outcome for succeeded, outcome in outcomes if not succeeded]
    for shard, (succeeded, answer) in zip(shards, outcomes, strict=True):
        if succeeded:
            sources.append(_Source(shard, answer["snapshot"], answer["documents"], answer["epoch"]))
    for failure in failures:
        if not failure.check(NotConfigured):
            failure.raiseException()
    return failures[0].getErrorMessage() if failures else ""


def _close_all(sources: list[_Source]) -> None:
    for one in sources:
        one.close()


class _Reading:
    """Reads all snapshots at the same time, each into its file; the first that fails ends the others.

    :param sources: those that are still open; one that was read is closed and taken out.
    """

    def __init__(self, sources: list[_Source], files: list[RecordsFile], progress: Progress) -> None:
        self._sources = sources
        self._files = files
        self._progress = progress
        self._total = sum(one.documents for one in sources)
        self._failed: Failure | None = None

    def all(self) -> Deferred[None]:
        """Read them.

        :return: a Deferred that fires when no question is out any more; it fails with the first failure.
        """
        pairs = list(zip(self._sources, self._files, strict=True))
        reading = [self._one(*pair) for pair in pairs]
        for one in reading:
            one.addErrback(self._end)
        return DeferredList(reading).addCallback(lambda _: self._failed)  # a Failure makes it fail

    def _end(self, failure: Failure) -> None:
        self._failed = self._failed or failure

    @inlineCallbacks
    def _one(self, source: _Source, file: RecordsFile) -> Steps[None]:
        while self._failed is None:
            answer = yield source.shard.ask(commands.ReadSnapshot, _PAGE, snapshot=source.id)
            rows = decode_rows(answer["rows"])
            if not rows:
                break
            file.write_block(answer["rows"], len(rows))
            self._progress(sum(one.documents for one in self._files), self._total)
        if self._failed is not None:
            return
        if file.documents != source.documents:
            raise BackupFailed(
                f"shard {source.shard.name!r} said that it has {source.documents:,} documents and gave "
                f"{file.documents:,}; its log may say why"
            )
        source.close()
        self._sources.remove(source)
