"""Write a backup into an empty cluster, which may have other ranges or another number of shards.

Rules kept here: nothing is written before every byte of the backup was checked; a key that somebody else wrote
meanwhile keeps what they wrote, so that a write whose answer was lost can be repeated; what is in flight is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import cast

import attrs
from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import deferLater

from pyshard.backup.file_reader import Contents, check
from pyshard.backup.taking import Progress, silent
from pyshard.client import Client
from pyshard.client.bulk_input import Step
from pyshard.client.raw_client import RawClient
from pyshard.errors import NotEmpty, OutcomeUnknown, PartialFailure, PyshardError, RestoreIncomplete, Unavailable
from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.protocol.batches import ABSENT, Write
from pyshard.protocol.pages import Row
from pyshard.settings import settings
from pyshard.steps import Steps

_DEADLINE = 60.0  # seconds that a write may take
_REPEATS = 3  # times that a write whose answer was lost is repeated


@attrs.frozen
class Restored:
    """What became of a backup's documents.

    :param documents: how many the cluster has now.
    :param expired: how many had expired since, and were left out.
    """

    documents: int
    expired: int


@inlineCallbacks
def restore(
    client: Client,
    directory: str | Path,
    progress: Progress = silent,
    *,
    seconds: Callable[[], float] = time.time,
) -> Steps[Restored]:
    """Write a backup into a cluster that is empty.

    Indexes are created and documents written as they were, with what is left of their time to live; versions are new
    ones. The backup is read where this is called, in blocks of about 1 MiB.

    :param client: connected to the cluster.
    :param directory: the backup.
    :param progress: called after each block with the documents done so far, and in all; not while it is checked.
    :param seconds: the time since 1970, for times to live.
    :return: a Deferred of what was done, fired when every write is acknowledged.
    :raises BackupDamaged: (in the Deferred) the backup isn't finished, or not as it was written. Nothing was written.
    :raises NotEmpty: the cluster has documents or named indexes. Nothing was written.
    :raises Unavailable: a shard or the bootstrap can't be reached. Nothing was written.
    :raises RestoreIncomplete: it stopped on the way; its cause is the error that stopped it.
    """
    raw = RawClient(client)
    yield _require_empty(raw, client)
    contents = yield _checked(raw, Path(directory))
    yield _require_empty(raw, client)  # to check a large backup takes its time
    total = contents.manifest.documents
    writing = _Writing(raw, contents, seconds)
    try:
        for _, name in sorted((number, name) for name, number in contents.state.indexes.items()):
            yield client.create_index(name)
        for rows in contents.blocks():
            yield writing.write(rows)
            progress(writing.done, total)
    except PyshardError as error:
        raise RestoreIncomplete(
            f"the restore stopped after {writing.done:,} of {total:,} documents: {error}. The cluster may have a part "
            "of the backup; begin again with an empty one"
        ) from error
    progress(total, total)
    return Restored(total - writing.expired, writing.expired)


class _Writing:
    """The writes of a restore.

    :ivar done: how many documents were written, or had expired.
    :ivar expired: how many had expired.
    """

    def __init__(self, raw: RawClient, contents: Contents, seconds: Callable[[], float]) -> None:
        self._raw = raw
        self._names = {number: name for name, number in contents.state.indexes.items()} | {DEFAULT_INDEX: ""}
        self._seconds = seconds
        self.done = 0
        self.expired = 0

    @inlineCallbacks
    def write(self, rows: list[Row]) -> Steps[None]:
        """Write the records of a block; again those whose answer was lost.

        :raises PyshardError: what the first record that could not be written failed with.
        """
        for repeats in range(_REPEATS, -1, -1):
            live = [row for row in rows if not row.expires or self._left(row) > 0]
            self.expired += len(rows) - len(live)
            self.done += len(rows) - len(live)
            try:
                yield self._raw.bulk(self._steps(live), _DEADLINE)
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

    def _steps(self, rows: list[Row]) -> Iterator[Step]:
        """Steps that write each record where there is none."""
        for index, neighbors in groupby(rows, attrgetter("index")):
            while some := list(islice(neighbors, self._raw.bulk_step(True))):
                run = Write(
                    self._names[index],
                    [row.key for row in some],
                    [row.record for row in some],
                    [ABSENT] * len(some),
                    [max(1, self._left(row)) if row.expires else 0 for row in some],
                )
                yield Step(some, run, range(len(some)), {}, [1] * len(some))

    def _left(self, row: Row) -> int:
        """The milliseconds for which a record that expires has yet to live."""
        return row.expires - int(self._seconds() * 1000)


@inlineCallbacks
def _checked(raw: RawClient, directory: Path) -> Steps[Contents]:
    """Check a backup, with time for others between the steps."""
    checking = check(directory)
    while True:
        try:
            next(checking)
        except StopIteration as finished:
            contents: Contents = finished.value
            return contents
        yield deferLater(raw.clock, 0)


@inlineCallbacks
def _require_empty(raw: RawClient, client: Client) -> Steps[None]:
    """Refuse a cluster that holds something.

    :raises NotEmpty, Unavailable:
    """
    state = yield raw.state(settings.DEADLINE)
    if state.indexes:
        raise NotEmpty(
            f"the cluster has the index {min(state.indexes)!r}; a backup is restored into a cluster without any"
        )
    stat = yield client.stat()
    for shard in stat["shards"]:
        if "error" in shard:
            raise Unavailable(f"shard {shard['name']!r} has to be empty, and can't be asked: {shard['error']}")
        if shard["documents"]:
            raise NotEmpty(
                f"shard {shard['name']!r} has {shard['documents']:,} documents; a backup is restored into empty ones"
            )
