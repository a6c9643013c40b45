"""diskcache, in the program that measures: a cache in a directory, which stands on SQLite.

Rules:

- a commit is on the disk when it returns, as with durable shards: ``sqlite_synchronous`` is 2, FULL. Its default, 1,
  loses what was acknowledged last when the machine fails;
- there is no server, so no process but the client's uses CPU time.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import diskcache
from shapes import Pair

from peers.interface import Blocking, Side
from peers.messagepack import decode, encode
from pyshard import Document

_FULL = 2


class DiskcacheBlocking(Blocking):
    """A `Cache`."""

    title = "diskcache, synchronous=FULL"

    def __init__(self, folder: Path) -> None:
        self._cache = diskcache.Cache(str(folder), sqlite_synchronous=_FULL)

    def write(self, key: str, doc: Document) -> None:
        """See `Blocking`."""
        self._cache.set(key, encode(doc))

    def read(self, key: str) -> Document | None:
        """See `Blocking`."""
        record = cast("bytes | None", self._cache.get(key))
        return None if record is None else decode(record)

    def write_many(self, pairs: list[Pair]) -> None:
        """See `Blocking`; one transaction."""
        with self._cache.transact():
            for key, doc in pairs:
                self._cache.set(key, encode(doc))

    def read_many(self, keys: list[str]) -> list[Document | None]:
        """See `Blocking`; one transaction, in which it reads faster than without."""
        with self._cache.transact():
            return [self.read(key) for key in keys]

    def close(self) -> None:
        """See `Blocking`."""
        self._cache.close()


class DiskcacheSide(Side):
    """A directory."""

    pids: list[int] = []

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "cache"

    def blocking(self) -> Blocking:
        """See `Side`."""
        return DiskcacheBlocking(self._folder)

    def close(self) -> None:
        """See `Side`; the files go with their folder."""
