"""The LMDB environment of a data directory: how it is opened, and how its file is used.

Rules:

- its address space is twice as large as its data at the least, so that it seldom has to grow;
- its files are their owner's alone;
- it must not be used in another process than the one that opened it.
"""

from __future__ import annotations

import lmdb

from pyshard.storage.durable.checkpoint import PAGE
from pyshard.storage.durable.cursor_values import values_of
from pyshard.storage.durable.data_directory import DataDirectory
from pyshard.storage.durable.lmdb_file_use import FileUse
from pyshard.storage.durable.merged_view import Databases


def open_environment(directory: DataDirectory, first_map: int) -> tuple[lmdb.Environment, Databases]:
    """Open the environment of a data directory, and its databases.

    :param directory: the locked data directory.
    :param first_map: bytes of address space to begin with.
    :raises ConfigError: somebody else may have put its files there. LMDB's and the system's own errors are raised, too.
    """
    directory.refuse_planted()  # whoever has daemonized since it was made has waited meanwhile
    environment = lmdb.open(
        str(directory.records),
        map_size=max(first_map, directory.record_bytes * 2),
        max_dbs=3,
        mode=0o700,  # of the directory; its files get 0600 by it
        readahead=False,
    )
    try:
        records, expiries, meta = map(environment.open_db, (b"records", b"expiries", b"meta"))
        return environment, Databases(records, expiries, meta, values_of(environment))
    except BaseException:
        environment.close()
        raise


def file_use(environment: lmdb.Environment, databases: Databases, flushed: int) -> FileUse:
    """How the file of an environment is used.

    :param flushed: pages that all flushes have changed since the start, more or less.
    """
    with environment.begin() as transaction:
        named = databases.records, databases.expiries, databases.meta
        stats = [transaction.stat(db=database) for database in named]
        live = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
        return FileUse((environment.info()["last_pgno"] + 1) * PAGE, live * PAGE, flushed * PAGE)
