"""Restores a backup into an empty cluster, which may have other ranges or another number of shards.

Rules:

- nothing is written before every byte of the backup was checked;
- a record is written only where its key is absent, so a write whose answer was lost can be repeated;
- so a key that another client wrote meanwhile keeps that client's document;
- only a bounded number of records is in flight;
- a record that has expired is left out; the others keep the rest of their time to live, 100 years at the most;
- what no shard would take, since it is no record, is left out and counted. Where only its size is wrong, as some other
  program wrote it, it is put right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from pyshard.backup.taking import BackupProgress, silent
from pyshard.backup.verified_backup import VerifiedBackup, check
from pyshard.client import Client
from pyshard.client.backup_client import BackupClient
from pyshard.client_core.bulk_input import BulkSlice
from pyshard.client_core.operation import shown
from pyshard.clocks import wall_seconds
from pyshard.errors import (
    NotEmpty,
    OutcomeUnknown,
    PartialFailure,
    PyshardError,
    RestoreIncomplete,
    Unavailable,
    UnreadableRecord,
)
from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.model.document_encoding import with_its_size
from pyshard.model.record_check import are_records, record_fault
from pyshard.protocol.batch_operations import ABSENT, LONGEST_TTL, Write
from pyshard.protocol.pages import Row
from pyshard.settings import settings

_WRITE_DEADLINE = 60.0  # seconds that a write may take
_SHOWN = 10  # records that are no records, of which it is said why
_REPEATS = 3  # how often a write whose answer was lost is repeated


@attrs.frozen
class Restored:
    """What became of a backup's documents.

    :param documents: how many were written.
    :param expired: how many had expired since the backup was taken, and were left out.
    :param unreadable: why each of the others was left out, which are no records; the first 10 of them.
    :param left_out: how many these are.
    """

    documents: int
    expired: int
    unreadable: tuple[str, ...] = ()
    left_out: int = 0


def restore(
    client: Client,
    directory: str | Path,
    progress: BackupProgress = silent,
    *,
    seconds: Callable[[], float] = wall_seconds,
) -> Deferred[Restored]:
    """Write a backup into a cluster that is empty.

    Indexes are created, and documents written with the rest of their time to live; they get new versions. The backup
    is read in the calling thread, in blocks of about 1 MiB.

    :param client: connected to the cluster.
    :param directory: the backup.
    :param progress: called after each block with the documents done so far, and in all; not while it is checked.
    :param seconds: the time since 1970, for times to live.
    :return: a Deferred of a `Restored`, fired when every write is acknowledged.
    :raises BackupDamaged: (in the Deferred) the backup isn't finished, or not as it was written. Nothing was written.
    :raises NotEmpty: the cluster has documents or named indexes. Nothing was written.
    :raises Unavailable: a shard or the bootstrap can't be reached. Nothing was written.
    :raises RestoreIncomplete: the restore stopped halfway; its cause is the error that stopped it.
    """
    return Deferred.fromCoroutine(_restore(client, Path(directory), progress, seconds))


async def _restore(client: Client, directory: Path, progress: BackupProgress, seconds: Callable[[], float]) -> Restored:
    raw = BackupClient(client)
    await _require_empty(raw, client)
    verified = await _verified(raw, directory)
    await _require_empty(raw, client)  # again: to check a large backup takes long
    total = verified.manifest.documents
    writer = _RecordWriter(raw, verified, seconds)
    try:
        for _, name in sorted((number, name) for name, number in verified.state.indexes.items()):
            await client.create_index(name)
        for rows in verified.blocks():
            await writer.write(rows)
            progress(writer.done, total)
    except PyshardError as error:
        raise RestoreIncomplete(
            f"the restore stopped after {writer.done:,} of {total:,} documents: {error}. The cluster may have a part "
            "of the backup; begin again with an empty one"
        ) from error
    progress(total, total)
    written = total - writer.expired - writer.left_out
    return Restored(written, writer.expired, tuple(writer.unreadable), writer.left_out)


class _RecordWriter:
    """Writes the records of a backup.

    :ivar done: how many documents were written, or had expired.
    :ivar expired: how many had expired.
    :ivar unreadable: why some were left out that are no records; the first of them.
    :ivar left_out: how many these are.
    """

    def __init__(self, raw: BackupClient, verified: VerifiedBackup, seconds: Callable[[], float]) -> None:
        self._raw = raw
        self._names = {number: name for name, number in verified.state.indexes.items()} | {DEFAULT_INDEX: ""}
        self._seconds = seconds
        self.done = 0
        self.expired = 0
        self.unreadable: list[str] = []
        self.left_out = 0

    async def write(self, rows: list[Row]) -> None:
        """Write the records of a block; repeat those whose answer was lost.

        :raises PyshardError: the error of the first record that could not be written.
        """
        if not are_records([row.record for row in rows]):
            rows = list(filter(None, map(self._writable, rows)))
        for repeats in range(_REPEATS, -1, -1):
            live = [row for row in rows if not row.expires or self._left(row) > 0]
            self.expired += len(rows) - len(live)
            self.done += len(rows) - len(live)
            try:
                await self._raw.bulk(self._slices(live), _WRITE_DEADLINE)
            except PartialFailure as failure:
                failed = failure.failed
                self.done += len(live) - len(failed)
                refused = [error for _, error in failed if not repeats or not isinstance(error, OutcomeUnknown)]
                if refused:
                    raise refused[0] from None
                rows = [cast("Row", row) for row, _ in failed]
            else:
                self.done += len(live)
                return

    def _writable(self, row: Row) -> Row | None:
        """A row as a shard takes it; None: it holds no record."""
        if record_fault(row.record) is None:
            return row
        try:
            return msgspec.structs.replace(row, record=with_its_size(row.record))
        except UnreadableRecord as error:
            self.done += 1
            self.left_out += 1
            if len(self.unreadable) < _SHOWN:
                name = self._names[row.index]
                of_index = f" of index {name!r}" if name else ""
                self.unreadable.append(f"key {shown(row.key)}{of_index}: {error}")
            return None

    def _slices(self, rows: list[Row]) -> Iterator[BulkSlice]:
        """The slices of a bulk write that writes each record where its key is absent."""
        for index, neighbors in groupby(rows, attrgetter("index")):
            while part := list(islice(neighbors, self._raw.slice_size(True))):
                run = Write(
                    self._names[index],
                    [row.key for row in part],
                    [row.record for row in part],
                    [ABSENT] * len(part),
                    [min(max(1, self._left(row)), LONGEST_TTL) if row.expires else 0 for row in part],
                )
                yield BulkSlice(part, run, range(len(part)), {}, [1] * len(part))

    def _left(self, row: Row) -> int:
        """The milliseconds for which a record that expires has yet to live."""
        return row.expires - int(self._seconds() * 1000)


async def _verified(raw: BackupClient, directory: Path) -> VerifiedBackup:
    """Check a backup, and give the reactor a turn after each block."""
    checking = check(directory)
    while True:
        try:
            next(checking)
        except StopIteration as finished:
            verified: VerifiedBackup = finished.value
            return verified
        await deferLater(raw.clock, 0)


async def _require_empty(raw: BackupClient, client: Client) -> None:
    """Refuse a cluster that isn't empty.

    :raises NotEmpty: it has documents or named indexes.
    :raises Unavailable: a shard or the bootstrap can't be reached.
    """
    state = await raw.state(settings.DEADLINE)
    if state.indexes:
        raise NotEmpty(
            f"the cluster has the index {min(state.indexes)!r}; a backup is restored into a cluster without any"
        )
    stat: dict[str, Any] = await client.stat()
    for shard in stat["shards"]:
        if "error" in shard:
            raise Unavailable(f"shard {shard['name']!r} has to be empty, and can't be asked: {shard['error']}")
        if shard["documents"]:
            raise NotEmpty(
                f"shard {shard['name']!r} has {shard['documents']:,} documents; a backup is restored into empty ones"
            )
