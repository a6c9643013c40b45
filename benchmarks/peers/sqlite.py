"""sqlite3 of the standard library, in the program that measures: one table, in WAL mode.

Rules:

- a commit is on the disk when it returns, as with durable shards: ``synchronous=FULL``, which is its default;
- there is no server, so no process but the client's uses CPU time.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from shapes import Pair

from peers.interface import Blocking, Side
from peers.messagepack import decode, encode
from pyshard import Document

_WRITE = "INSERT OR REPLACE INTO documents VALUES (?, ?)"


class SqliteBlocking(Blocking):
    """A connection."""

    title = "sqlite3, WAL, synchronous=FULL"

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS documents (key TEXT PRIMARY KEY, record BLOB NOT NULL)")

    def write(self, key: str, doc: Document) -> None:
        """See `Blocking`."""
        with self._connection as transaction:
            transaction.execute(_WRITE, (key, encode(doc)))

    def read(self, key: str) -> Document | None:
        """See `Blocking`."""
        row = self._connection.execute("SELECT record FROM documents WHERE key = ?", (key,)).fetchone()
        return None if row is None else decode(row[0])

    def write_many(self, pairs: list[Pair]) -> None:
        """See `Blocking`; one transaction."""
        with self._connection as transaction:
            transaction.executemany(_WRITE, [(key, encode(doc)) for key, doc in pairs])

    def read_many(self, keys: list[str]) -> list[Document | None]:
        """See `Blocking`; one SELECT."""
        places = ",".join("?" * len(keys))
        rows = self._connection.execute(f"SELECT key, record FROM documents WHERE key IN ({places})", keys)
        found: dict[str, bytes] = dict(rows)
        return [decode(found[key]) if key in found else None for key in keys]

    def close(self) -> None:
        """See `Blocking`."""
        self._connection.close()


class SqliteSide(Side):
    """A database file."""

    pids: list[int] = []

    def __init__(self, folder: Path) -> None:
        self._path = folder / "documents.sqlite"

    def blocking(self) -> Blocking:
        """See `Side`."""
        return SqliteBlocking(self._path)

    def close(self) -> None:
        """See `Side`; the file goes with its folder."""
