"""The pool of one shard: turns, and which connections a pool that waits may open."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

import attrs
import pytest

from pyshard import Pyshard
from pyshard.blocking import shard_pool
from pyshard.blocking.connection_pool import NotSent
from pyshard.blocking.operation_waiting_for_thread import GatheredOperation, Turn
from pyshard.blocking.sent_batch import SentBatch
from pyshard.blocking.shard_pool import ShardPool
from pyshard.model.key_slots import slot_of
from pyshard.testing import MemoryCluster


def operation_of(key: str = "test") -> GatheredOperation:
    """An increment that waits for long."""
    return GatheredOperation("increment", "", key.encode(), slot_of(key.encode()), 1e9, 4, b"\x01\0\0\0\x1c\x01")


def pool_of(app: Pyshard, key: str = "test") -> ShardPool:
    """The pool of the shard that owns a key."""
    assert app._made is not None
    return app._made.pool_for(slot_of(key.encode()))


def test_a_turn_is_claimed_once() -> None:
    """Whoever comes second has nothing."""
    turn = Turn(operation_of())
    assert [turn.claim(), turn.claim()] == [True, False]


def wait_in_vain(
    cluster: MemoryCluster, pool: ShardPool, operation: GatheredOperation, until: Callable[[], bool]
) -> None:
    """Have a thread wait for a lead that never ends, until something holds."""
    held = pool.take() or pool.new()
    pool._main = weakref.ref(held)  # somebody leads
    thread = threading.Thread(target=lambda: pool.apply(operation, nested=False), daemon=True)
    thread.start()
    for _ in range(200):
        cluster.advance(0.03)
        thread.join(0.02)
        if until():
            break
    assert until()
    operation.expires = 0.0
    thread.join(10)
    assert not thread.is_alive()


def test_what_is_left_of_an_attempt_is_nobodys(app: Pyshard, cluster: MemoryCluster) -> None:
    """An operation that lost its patience leaves its turn in the queue. When it is tried again, nobody takes it there.

    Else it would be sent by its own thread and by another one: done twice.
    """
    app.has("test")
    pool, operation = pool_of(app), operation_of()
    cluster.kill_shard(pool.own.name)
    wait_in_vain(cluster, pool, operation, lambda: operation.done)
    left = operation.turn
    assert operation.attempt is not None
    assert left is not None
    operation.begin()
    pool._waiting.append(left)
    pool.put_back(pool.new())
    pool._promote()
    assert left.claim() is False
    assert operation.turn is None


def test_impatience_has_a_bound(app: Pyshard, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too many connections to a shard a thread goes on waiting, and ends by its deadline."""
    app.has("test")
    monkeypatch.setattr(shard_pool, "_MOST", 1)
    pool, operation = pool_of(app), operation_of()
    began = cluster.clock.seconds()
    sizes: list[int] = []

    def over() -> bool:
        sizes.append(pool.size)
        return cluster.clock.seconds() > began + 1

    wait_in_vain(cluster, pool, operation, over)
    assert (set(sizes), operation.sent) == ({1}, False)


def test_an_older_map_never_replaces_a_newer_one(app: Pyshard) -> None:
    """Nor does it change what the pools of the newer one go by."""
    app.has("test")
    cluster = app._made
    assert cluster is not None
    newer, older = (attrs.evolve(cluster.state, epoch=cluster.state.epoch + more) for more in (2, 1))
    cluster.adopt(newer)
    cluster.adopt(older)
    assert cluster.state is newer
    assert {pool.epoch for pool in cluster.view.pools} == {newer.epoch}
    assert list(cluster._views) == [(0, newer.epoch, True)]


def test_the_bootstraps_map_replaces_a_newer_one_of_a_shard(app: Pyshard) -> None:
    """The pools go by it, too: a shard would refuse a caller with a higher epoch than its own."""
    app.has("test")
    cluster = app._made
    assert cluster is not None
    own = cluster.state
    cluster.adopt(attrs.evolve(own, epoch=2**62), by_bootstrap=False)
    assert {pool.epoch for pool in cluster.view.pools} == {2**62}
    cluster.adopt(own)
    assert cluster.state is own
    assert {pool.epoch for pool in cluster.view.pools} == {own.epoch}
    assert list(cluster._views) == [(1, own.epoch, True)]


def test_what_its_thread_has_left_is_not_sent(app: Pyshard) -> None:
    """An operation that was taken along and given up before the box went out isn't in it."""
    app.has("test")
    pool, own, left = pool_of(app), operation_of(), operation_of("test")
    pool.left.leave(left)
    batch = SentBatch(pool.take() or pool.new(), [own])
    batch.operations.append(left)
    pool._send(batch, own)
    assert batch.operations == [own]
    assert (own.sent, left.sent) == (True, False)
    pool._drop(batch, NotSent("the test is over"))


@pytest.mark.parametrize(("verb", "key"), [("read", "test"), ("read", "nothing at all"), ("has", "test")])
def test_an_answer_ends_what_failed_before(app: Pyshard, verb: str, key: str) -> None:
    """The first failure after an answer is the first one again, however the answer is read."""
    app.write("test", {"n": 1})
    pool = pool_of(app, key)
    pool._put_off.failed()
    pool._backoff.failed()
    getattr(app, verb)(key)
    assert (pool._put_off.failures, pool._backoff.failures) == (0, 0)
