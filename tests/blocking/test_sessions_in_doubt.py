"""A change whose answer was lost never takes effect after something that the same client does later on its key."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyshard import Pyshard
from pyshard.blocking.shard_pool import ShardPool
from pyshard.errors import IndexNotFound, OutcomeUnknown, PartialFailure
from pyshard.model.key_slots import slot_of
from pyshard.testing import MemoryCluster

LOW, BOOTSTRAP = ("127.0.0.1", 5050), ("localhost", 9192)  # LOW is the shard that has "test"


def pool_of(app: Pyshard, key: str = "test") -> ShardPool:
    """The pool of the shard that owns a key."""
    assert app._made is not None
    return app._made.pool_for(slot_of(key.encode()))


def later(app: Pyshard, cluster: MemoryCluster, where: tuple[str, int], lost: Callable[[Pyshard], object]) -> None:
    """Make a change whose bytes are held back on their way; the connection is given up."""
    cluster.network.strand(*where)
    with pytest.raises((OutcomeUnknown, PartialFailure)):
        lost(app)


@pytest.mark.parametrize(
    "read",
    [
        lambda app: app.read("test"),
        lambda app: app.get("test"),
        lambda app: app.item("test"),
        lambda app: app.has("test") or None,
        lambda app: app.read_many(["test"])[0],
        lambda app: list(app.keys()) or None,
        lambda app: list(app.items()) or None,
        lambda app: app.count() or None,
    ],
)
@pytest.mark.parametrize(
    "lost",
    [lambda app: app.write("test", 1, deadline=1), lambda app: app.write_many([("test", 1)], deadline=1)],
)
def test_reads_of_a_shard(
    app: Pyshard, cluster: MemoryCluster, read: Callable[[Pyshard], object], lost: Callable[[Pyshard], object]
) -> None:
    """What was held back arrives after the read that found nothing, and does nothing any more."""
    app.has("test")
    later(app, cluster, LOW, lost)
    assert read(app) is None
    cluster.network.unstrand(*LOW)
    cluster.advance(1)
    assert app.read("test") is None


def drop(app: Pyshard) -> None:
    """Drop an index that isn't there."""
    with pytest.raises(IndexNotFound):
        app.drop_index("late")


@pytest.mark.parametrize("after", [lambda app: app.indexes(), drop])
def test_indexes(app: Pyshard, cluster: MemoryCluster, after: Callable[[Pyshard], object]) -> None:
    """The same holds for indexes, which are the bootstrap's."""
    app.indexes()
    later(app, cluster, BOOTSTRAP, lambda app: app.create_index("late", deadline=1))
    after(app)
    cluster.network.unstrand(*BOOTSTRAP)
    cluster.advance(1)
    assert app.indexes() == []


def test_a_shard_that_was_out_of_the_map(app: Pyshard) -> None:
    """Its sessions in doubt are kept, and fenced before it is asked anything."""
    app.write("test", 1)
    cluster, pool = app._made, pool_of(app)
    assert cluster is not None
    pool.in_doubt.cut_short(b"x" * 16)
    cluster._pools.pop(pool.own.name)
    again = cluster._pool_of(pool.own, cluster.state, cluster.view.rank)
    assert again is not pool
    assert again.in_doubt is pool.in_doubt
    app.read("test")
    assert not pool.in_doubt


def test_a_connection_that_is_simply_gone(app: Pyshard) -> None:
    """One that vanished with a change under way leaves its session in doubt, as one that was closed does."""
    app.write("test", 1)
    pool = pool_of(app)
    connection = pool.take()
    assert connection is not None
    connection.begin_change()
    assert not pool.in_doubt
    session = connection.session
    del connection
    assert pool.in_doubt.sessions() == [session]
    app.write("test", 2)
    assert not pool.in_doubt
