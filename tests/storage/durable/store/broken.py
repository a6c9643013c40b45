"""An environment and a log that fail when they are told to, under a durable store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EIO, ENOSPC
from typing import Any

import lmdb
import pytest
from stores import Bench

from pyshard.errors import StorageFailed
from pyshard.storage import LmdbStore
from pyshard.storage.durable.write_ahead_log import WriteAheadLog


class Broken:
    """Stands between an engine and its LMDB environment and log, and has some of their calls fail.

    :ivar synced: how often the log was brought to the disk.
    """

    def __init__(self, store: LmdbStore) -> None:
        self._environment = store._engine.environment
        self.commits = self.reads = self.syncs = self.grows = self.appends = True
        self.synced = 0
        self.log = BrokenLog(self, store._engine.log)
        store._engine.environment = store._engine.lmdb.environment = self  # type: ignore[assignment]  # as much as is used
        store._engine.log = self.log  # type: ignore[assignment]  # likewise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)

    @contextmanager
    def begin(self, write: bool = False, **options: Any) -> Iterator[lmdb.Transaction]:
        """A transaction; one that writes may fail when it is committed."""
        if not write and not self.reads:
            raise lmdb.PanicError("MDB_PANIC")
        with self._environment.begin(write=write, **options) as transaction:
            yield transaction
            if write and not self.commits:
                raise lmdb.DiskError("No space left on device")

    def set_mapsize(self, size: int) -> None:
        """Have the map grow."""
        if not self.grows:
            raise lmdb.MemoryError("no room for a map")
        self._environment.set_mapsize(size)


class BrokenLog:
    """The log of `Broken`."""

    def __init__(self, broken: Broken, log: WriteAheadLog) -> None:
        self._broken = broken
        self._whole = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def append(self, text: bytes, sync: bool, ballot: int) -> None:
        """Write a group."""
        if not self._broken.appends:
            raise OSError(ENOSPC, "No space left on device")
        self._broken.synced += sync
        self._whole.append(text, sync, ballot)

    def sync(self) -> None:
        """Bring all groups to the disk."""
        self._broken.synced += 1
        if not self._broken.syncs:
            raise OSError(EIO, "Input/output error")
        self._whole.sync()


def until_refused(bench: Bench, stored: dict[bytes, bytes], why: str) -> None:
    """Store small records until the store refuses one, as it must soon; those that it took are added to `stored`."""
    keys = (b"small%d" % each for each in range(5))

    def fill() -> None:
        for key in keys:
            bench.fill({key: b""})
            stored[key] = b""

    with pytest.raises(StorageFailed, match=why):
        fill()
