"""No blocking call outlasts its deadline, whatever the daemons do, and whatever else its thread does meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import TypeAlias

import pytest
from twisted.internet.defer import Deferred

from pyshard import Pyshard
from pyshard.blocking.connector import Connector
from pyshard.blocking.operation_waiting_for_thread import GatheredOperation
from pyshard.blocking.pyshard import over
from pyshard.errors import NotConfigured, OutcomeUnknown, PartialFailure, Unavailable
from pyshard.model.key_slots import slot_of
from pyshard.net.connection_parameters import connection_parameters
from pyshard.testing import MemoryCluster
from pyshard.testing.memory_sockets import MemorySockets

SHARDS = [("127.0.0.1", 5050), ("127.0.0.1", 5051)]
BOOTSTRAP = ("localhost", 9192)
DEADLINE = 1.0
LATEST = 0.001  # seconds
MOST = 40  # looks at the clock
EVERY = 1 if int(os.environ.get("PYSHARD_TEST_EXAMPLES", "0")) > 100 else 5  # one of so many is tried

#: Makes something wrong with a cluster.
Fault: TypeAlias = Callable[[MemoryCluster, pytest.MonkeyPatch], None]

CALLS: dict[str, Callable[[Pyshard], object]] = {
    "read": lambda app: app.read("test", deadline=DEADLINE),
    "write": lambda app: app.write("test", 2, deadline=DEADLINE),
    "update": lambda app: app.update("test", lambda found: found + 1, deadline=DEADLINE),
    "read_many": lambda app: app.read_many(["test"], deadline=DEADLINE),
    "write_many": lambda app: app.write_many({"test": 2}, deadline=DEADLINE),
    "keys": lambda app: next(app.keys(deadline=DEADLINE)),
    "count": lambda app: app.count(deadline=DEADLINE),
    "stat": lambda app: app.stat(deadline=DEADLINE),
    "indexes": lambda app: app.indexes(deadline=DEADLINE),
    "readiness": lambda app: app.readiness(deadline=DEADLINE),
    "create_index": lambda app: app.create_index("a", deadline=DEADLINE),
}

#: How many looks at the clock come before the deadline's beginning is known. Those of bulk verbs begin when a part is
#: issued.
BEFORE = {"read_many": 3, "write_many": 6}


class HeldUpSockets(MemorySockets):
    """Sockets in memory whose thread is held up once, for longer than a deadline, where it asks for the time.

    :ivar after: how many times it asks for the time before that; None: it is never held up.
    :ivar until: when it went on.
    """

    def __init__(self, cluster: MemoryCluster) -> None:
        super().__init__(cluster.network)
        self._cluster = cluster
        self.after: int | None = None
        self.until = 0.0

    def now(self) -> float:
        """See `Network`."""
        if self.after is not None:
            self.after -= 1
            if self.after < 0:
                self.after = None
                self._cluster.advance(DEADLINE * 1.5)
                self.until = super().now()
        return super().now()


def silent(cluster: MemoryCluster, _: pytest.MonkeyPatch) -> None:
    """Nobody answers."""
    for address in (*SHARDS, BOOTSTRAP):
        cluster.network.silence(*address)


def gone(cluster: MemoryCluster, _: pytest.MonkeyPatch) -> None:
    """Nobody is there."""
    cluster.stop_bootstrap()
    for name in ("shard0", "shard1"):
        cluster.kill_shard(name)


def half_gone(cluster: MemoryCluster, _: pytest.MonkeyPatch) -> None:
    """A shard is gone; nobody else answers."""
    cluster.kill_shard("shard0")
    for address in (SHARDS[1], BOOTSTRAP):
        cluster.network.silence(*address)


def refusing(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards refuse for the moment, and the bootstrap, which has the newest map, doesn't answer."""
    for service in cluster.services.values():
        service.shard.assignment = None
        monkeypatch.setattr(service.shard, "configure", lambda *_: Deferred())
    cluster.network.silence(*BOOTSTRAP)


def client_of(sockets: MemorySockets) -> Pyshard:
    """A blocking client; it connects at its first call."""
    return over(Connector(connection_parameters(deadline=10, token_file="", tls=False), lambda: sockets, Random(0)))


def attempted(call: str, app: Pyshard) -> None:
    """Make a call, which may come to nothing."""
    with suppress(Unavailable, OutcomeUnknown, PartialFailure, NotConfigured):
        CALLS[call](app)


def late(call: str, fault: Fault, monkeypatch: pytest.MonkeyPatch, after: int | None) -> tuple[float, bool]:
    """By how many seconds a call ended late.

    :param after: see `HeldUpSockets`.
    :return: those, and whether its thread was held up.
    """
    cluster = MemoryCluster(2)
    sockets = HeldUpSockets(cluster)
    app = client_of(sockets)
    app.write_many({"test": 1, "test1": 1})
    app.indexes()
    fault(cluster, monkeypatch)
    sockets.after, began = after, cluster.clock.seconds()
    attempted(call, app)
    ended = cluster.clock.seconds()
    app.close()
    cluster.close()
    return ended - max(began + DEADLINE, sockets.until), sockets.until > 0


@pytest.mark.parametrize("fault", [silent, gone, half_gone, refusing])
@pytest.mark.parametrize("call", CALLS)
def test_a_call_ends_by_its_deadline(call: str, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with the daemons; and at once, when something else has held its thread up past that."""
    assert late(call, fault, monkeypatch, None)[0] < LATEST
    for after in range(BEFORE.get(call, 1), MOST, EVERY):
        seconds, held_up = late(call, fault, monkeypatch, after)
        assert seconds < LATEST, f"{seconds:g} s late when it was held up after {after} looks at the clock"
        if not held_up:
            break


@pytest.mark.parametrize("call", CALLS)
def test_connecting_is_a_part_of_the_call(cluster: MemoryCluster, call: str) -> None:
    """A call that has to connect first, as in a forked child, has its own deadline for both together."""
    cluster.network.silence(*BOOTSTRAP)
    began = cluster.clock.seconds()
    with client_of(MemorySockets(cluster.network)) as app, pytest.raises(Unavailable):
        CALLS[call](app)
    assert cluster.clock.seconds() == pytest.approx(began + DEADLINE, abs=LATEST)


def test_what_is_left_of_the_deadline_after_connecting(cluster: MemoryCluster) -> None:
    """The time that connecting took is gone."""
    cluster.network.delay(*BOOTSTRAP, 0.2)
    cluster.network.silence(*SHARDS[0])
    began = cluster.clock.seconds()
    with client_of(MemorySockets(cluster.network)) as app, pytest.raises(Unavailable):
        app.read("test", deadline=DEADLINE)
    assert cluster.clock.seconds() == pytest.approx(began + DEADLINE, abs=LATEST)


def test_a_bulk_verb_that_waits_for_a_change_before_it(cluster: MemoryCluster, app: Pyshard) -> None:
    """The wait for what became of a change that its caller has left counts for the deadline."""
    app.write("test", 1)
    assert app._made is not None
    pool = app._made.pool_for(slot_of(b"test"))
    operation = GatheredOperation("write", "", b"test", slot_of(b"test"), 1e9, 4)
    operation.session = b"s" * 16
    pool.left.leave(operation)
    cluster.network.silence(*SHARDS[0])
    began = cluster.clock.seconds()
    with pytest.raises(PartialFailure):
        app.read_many(["test"], deadline=DEADLINE)
    assert cluster.clock.seconds() == pytest.approx(began + DEADLINE, abs=LATEST)
