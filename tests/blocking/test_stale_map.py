"""Calls to shards that are another store than the client's map says: a newer map leads to them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyshard import Pyshard
from pyshard.testing import MemoryCluster


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda app: [shard.get("error") for shard in app.stat()["shards"]], [None, None]),
        (lambda app: list(app.keys()), ["test"]),
        (lambda app: app.count(), 1),
        (lambda app: app.has("test1"), False),
        (lambda app: app.read_many(["test1"]), [None]),
    ],
    ids=["stat", "keys", "count", "has", "read_many"],
)
def test_a_shard_that_lost_its_store(
    cluster: MemoryCluster, app: Pyshard, call: Callable[[Pyshard], object], found: object
) -> None:
    """A shard in memory that starts anew is another store; no call waits for its deadline to find that out."""
    app.write_many({"test": 1, "test1": 2})
    cluster.kill_shard("shard1")
    cluster.start_shard("shard1")
    cluster.advance(5)
    began = cluster.clock.seconds()
    assert call(app) == found
    assert cluster.clock.seconds() - began < 3
