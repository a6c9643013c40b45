"""Write a backup into an empty cluster, which may have other ranges or another number of shards.

Rules kept here: nothing is written before every byte of the backup was checked; a key that somebody else wrote
meanwhile keeps what they wrote, so that a write whose answer was lost can be repeated; what is in flight is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import attrs
from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from pyshard.backup.reading import Contents, check
from pyshard.backup.taking import Progress, silent
from pyshard.batch import Row
from pyshard.client import Client
from pyshard.client.raw import RawClient
from pyshard.cluster import DEFAULT_INDEX
from pyshard.errors import NotEmpty, OutcomeUnknown, PyshardError, RestoreIncomplete, Unavailable
from pyshard.settings import settings
from pyshard.wire import Steps

_DEADLINE = 60.0  # seconds that a write may take
_REPEATS = 3  # times that a write whose answer was lost is repeated
_MOST = 2000  # writes in flight
_MOST_BYTES = 8 * 1024 * 1024  # bytes of keys and records in flight, but for a single one


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
            for row in rows:
                writing.begin(row)
                if writing.full:
                    yield writing.landed(_MOST // 2, _MOST_BYTES // 2)
                    writing.raise_failure()
            progress(writing.done, total)
        yield writing.landed()
        writing.raise_failure()
    except PyshardError as error:
        yield writing.landed()
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
        self._count = 0  # in flight
        self._bytes = 0
        self._enough = (0, 0)
        self._waiter: Deferred[None] | None = None
        self._failure: Failure | None = None
        self.done = 0
        self.expired = 0

    @property
    def full(self) -> bool:
        """Whether no further write is to be begun now."""
        return self._count >= _MOST or self._bytes >= _MOST_BYTES

    def begin(self, row: Row) -> None:
        """Write a record."""
        weight = len(row.key) + len(row.record)
        self._count += 1
        self._bytes += weight
        self._write(row, _REPEATS).addBoth(self._land, weight)

    def landed(self, count: int = 0, size: int = 0) -> Deferred[None]:
        """Wait until no more than so many writes, and bytes, are in flight."""
        if self._count <= count and self._bytes <= size:
            return succeed(None)
        self._enough = (count, size)
        self._waiter = Deferred()
        return self._waiter

    def raise_failure(self) -> None:
        """Raise what the first write that failed did so with."""
        if self._failure is not None:
            self._failure.raiseException()

    def _write(self, row: Row, repeats: int) -> Deferred[bool]:
        ttl = row.expires - int(self._seconds() * 1000) if row.expires else 0
        if ttl < 0 or (ttl == 0 and row.expires):
            self.expired += 1
            return succeed(False)
        written = self._raw.write(self._names[row.index], row.key, row.record, ttl, _DEADLINE)
        return written.addErrback(self._again, row, repeats)

    def _again(self, failure: Failure, row: Row, repeats: int) -> Deferred[bool]:
        if not repeats or not failure.check(OutcomeUnknown):
            return fail(failure)
        return self._write(row, repeats - 1)

    def _land(self, outcome: bool | Failure, weight: int) -> None:
        self._count -= 1
        self._bytes -= weight
        if isinstance(outcome, Failure):
            self._failure = self._failure or outcome
        else:
            self.done += 1
        if self._waiter is not None and self._count <= self._enough[0] and self._bytes <= self._enough[1]:
            waiter, self._waiter = self._waiter, None
            waiter.callback(None)


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
