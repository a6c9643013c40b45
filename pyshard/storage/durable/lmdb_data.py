"""What LMDB has of a durable store: its databases, what is counted and saved there, and how large it may grow.

Rules:

- `counters` and `meta` are those of the last transaction that was committed;
- LMDB's map can't grow while a transaction is open: whoever has one open is told before (`on_growth`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from pyshard.storage.durable.checkpoint import PAGE
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.data_directory import DataDirectory
from pyshard.storage.durable.lmdb_environment import file_use, open_environment
from pyshard.storage.durable.lmdb_file_use import FileUse
from pyshard.storage.durable.saved_meta import Meta


class LmdbData:
    """The environment of a data directory, and what is known of it.

    :param directory: the locked data directory.
    :param first_map: bytes of address space to begin with.
    :param seconds: the time since 1970: new data begin their versions with it.
    :raises ConfigError: the data can't be opened. LMDB's and the system's own errors are raised, too.
    :ivar counters: count what is in LMDB.
    :ivar meta: what is saved in its database `meta`.
    :ivar lock: held by whoever reads.
    :ivar on_growth: called with the lock held before the map grows. It must end all transactions that are open.
    """

    def __init__(self, directory: DataDirectory, first_map: int, seconds: float) -> None:
        self.lock = threading.Lock()
        self.on_growth: Callable[[], None] = lambda: None
        self._flushed = 0  # pages of LMDB that all flushes have changed, more or less
        self.environment, self.databases = open_environment(directory, first_map)
        try:
            with self.environment.begin() as transaction:
                self.meta = Meta.read(transaction, self.databases)
            saved = self.meta.counters
            self.counters = Counters.first(seconds) if saved is None else Counters.unpacked(saved)
        except BaseException:
            self.environment.close()
            raise

    def file_use(self) -> FileUse:
        """How LMDB's file is used."""
        with self.lock:
            return file_use(self.environment, self.databases, self._flushed)

    def committed(self, counters: Counters, meta: Meta, flushed: dict[bytes, bytes]) -> None:
        """A transaction was committed.

        :param counters: count what is in LMDB now.
        :param meta: what is saved now.
        :param flushed: the records that it has flushed.
        """
        self.counters, self.meta = counters, meta
        self._flushed += 2 * len(flushed) + sum(map(len, flushed.values())) // PAGE

    def double_map(self) -> None:
        """Have twice as much address space."""
        with self.lock:
            self.on_growth()
            self.environment.set_mapsize(self.environment.info()["map_size"] * 2)
