"""Acknowledged means there after a SIGKILL, and a shard with many documents is back at once."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from functional.cluster import NewCluster
from functional.crash import crash

from pyshard import Pyshard
from pyshard.model import document_encoding
from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_operations import Write
from pyshard.storage import DataDirectory, LmdbStore, Task

pytestmark = pytest.mark.functional

_MANY = int(os.environ.get("PYSHARD_TEST_DOCUMENTS", "200000"))


def test_nothing_acknowledged_is_lost(new_cluster: NewCluster) -> None:
    """Through SIGKILLs under a load of writes, removes and pops, each acknowledged one is there, and no half one."""
    seed = int(os.environ.get("PYSHARD_TEST_SEED", random.randrange(10**6)))
    cluster = new_cluster(2, durable=True)
    cluster.start()
    tally = crash(cluster, int(os.environ.get("PYSHARD_TEST_KILLS", "8")), seed)
    print(f"seed {seed}: {tally}")  # noqa: T201  # the figures, for whoever runs it by hand
    assert tally.acknowledged > 0


def _fill(path: Path, count: int) -> None:
    """Make a data directory with many documents, as a shard leaves it."""
    store = LmdbStore(DataDirectory(path), time.time)
    record, _ = document_encoding.encode({"name": "a document", "text": "x" * 60})
    for begin in range(0, count, 10_000):
        keys = [b"key%d" % number for number in range(begin, min(begin + 10_000, count))]
        run = Write("", keys, [record] * len(keys))
        store.apply([Task(run, 0, [slot_of(key) for key in keys])], 1 << 40, 1 << 20)
    store.close()


@pytest.mark.long
def test_start_with_many_documents(new_cluster: NewCluster) -> None:
    """A shard reads no documents when it starts: it is ready at once, however many it has."""
    cluster = new_cluster(1, durable=True)
    _fill(cluster.folder / "data-a", _MANY)
    cluster.bootstrap.start()
    began = time.monotonic()
    cluster.shards[0].start()
    cluster.wait_ready()
    print(f"ready with {_MANY} documents after {time.monotonic() - began:.2f} s")  # noqa: T201  # as above
    with Pyshard(cluster.server) as app:
        shards = app.stat()["shards"]
        assert isinstance(shards, list)
        assert shards[0]["documents"] == _MANY
        assert app.has(f"key{_MANY - 1}")
