"""Ranges move from shard to shard, in a cluster in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from deferreds import change_state
from moving_quarter import DOCS, MOVING, QUARTER, owned, plan, state_of, until
from twisted.internet.protocol import Factory

from pyshard.errors import WrongShard
from pyshard.model import document_encoding
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.range_moves import Phase
from pyshard.model.slot_ranges import in_ranges
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_answers import decode_answers
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Write
from pyshard.testing import MemoryCluster


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """Two shards with some documents."""
    with MemoryCluster() as made:
        client = made.connect()
        made.run(client.write_many(DOCS))
        made.run(client.write(MOVING[0], 0, ttl=1000))
        yield made


def test_a_range_moves(cluster: MemoryCluster) -> None:
    """All documents are there before, while and after, with versions and expiries; the source has its room again."""
    client = cluster.connect()
    before = {key: cluster.run(client.item(key)) for key in MOVING[:5]}
    used = sum(service.shard.store.used for service in cluster.services.values())
    plan(cluster, "shard0", "shard1")
    while state_of(cluster).moves:
        cluster.advance(0.05)
        found = cluster.run(client.read(MOVING[1]))
        assert found is not None
        assert found["record"] == DOCS[MOVING[1]]
    assert owned(cluster) == {"shard0": ((0, SLOTS // 4),), "shard1": ((SLOTS // 4, SLOTS),)}
    assert cluster.run(client.get_many(list(DOCS))) == [0 if key == MOVING[0] else each for key, each in DOCS.items()]
    assert cluster.run(client.count()) == len(DOCS)
    for key, item in before.items():
        after = cluster.run(client.item(key))
        assert item is not None
        assert after is not None
        assert (after["version"], after["record"]) == (item["version"], item["record"])
    expiring = cluster.run(client.item(MOVING[0]))
    assert expiring is not None
    assert expiring["ttl"] is not None
    stores = {name: service.shard.store for name, service in cluster.services.items()}
    assert stores["shard0"].ranges.left == ()
    assert sum(store.used for store in stores.values()) == used
    assert stores["shard0"].documents == sum(slot_of(key.encode()) < SLOTS // 4 for key in DOCS)


def test_what_is_told_of_it(cluster: MemoryCluster) -> None:
    """How far the copy is, and why it doesn't go on, for as long as it doesn't."""
    service, own = cluster.services["shard1"], state_of(cluster).map.named("shard0")
    assert own is not None
    move = plan(cluster, "shard0", "shard1")
    until(cluster, Phase.COPYING)
    cluster.network.delay(own.host, own.port, 0.3)
    cluster.advance(0.5)
    cluster.network.cut(own.host, own.port)
    cluster.network.settle()
    told = service.moves.reports().taken[move.number]
    assert told.error == "the connection was closed"
    cluster.network.delay(own.host, own.port, 0)
    while not (told := service.moves.reports().taken[move.number]).complete:
        cluster.advance(0.01)
    assert told.error == ""
    assert told.documents == len(MOVING)
    assert told.size * 0.5 < told.expected < told.size * 2
    assert told.rate > 0
    assert told.copies > 1
    until(cluster)


def test_writes_go_on(cluster: MemoryCluster) -> None:
    """No write fails while a range moves to and fro, and none is lost."""
    client = cluster.connect()
    for number in range(6):
        source, target = ("shard0", "shard1") if number % 2 == 0 else ("shard1", "shard0")
        plan(cluster, source, target)
        value = 0
        while state_of(cluster).moves:
            value += 1
            waiting = [client.write(key, value) for key in MOVING[:20]]
            cluster.advance(0.02)
            for written in waiting:
                assert cluster.run(written) > 0
        assert cluster.run(client.get_many(MOVING[:20])) == [value] * 20


def test_cancelled(cluster: MemoryCluster) -> None:
    """A move that is cancelled, at whatever phase, leaves all as it was, and nothing of itself."""
    client, before = cluster.connect(), owned(cluster)
    for phase in (Phase.PLANNED, Phase.COPYING, Phase.SEALING):
        move = plan(cluster, "shard0", "shard1")
        if phase is not Phase.PLANNED:
            until(cluster, phase)
        assert cluster.bootstrap is not None
        state, bootstrap = state_of(cluster), cluster.bootstrap.bootstrap
        (move,) = state.moves
        change_state(bootstrap, state.with_move(move.cancelled("the operator said so")))
        until(cluster)
        assert owned(cluster) == before
        assert cluster.run(client.write(MOVING[1], DOCS[MOVING[1]])) > 0
        for service in cluster.services.values():
            ranges = service.shard.store.ranges
            assert (ranges.staged, ranges.sealed, ranges.left) == ({}, {}, ())
            assert not service.followers.names


@pytest.mark.parametrize("phase", [Phase.COPYING, Phase.SEALING], ids=lambda phase: phase.value)
@pytest.mark.parametrize("lost", ["shard0", "shard1"])
def test_a_store_that_is_lost(cluster: MemoryCluster, lost: str, phase: Phase) -> None:
    """A shard in memory that was restarted has another store: its moves are cancelled, and what others have stays."""
    plan(cluster, "shard0", "shard1")
    until(cluster, phase)
    cluster.kill_shard(lost)
    cluster.start_shard(lost)
    until(cluster)
    assert owned(cluster) == {"shard0": ((0, SLOTS // 2),), "shard1": ((SLOTS // 2, SLOTS),)}
    client = cluster.connect()
    found = cluster.run(client.get_many(list(DOCS)))
    of_lost = ((0, SLOTS // 2),) if lost == "shard0" else ((SLOTS // 2, SLOTS),)
    assert [each is None for each in found] == [in_ranges(slot_of(key.encode()), of_lost) for key in DOCS]


def test_the_next_bootstrap_goes_on(cluster: MemoryCluster) -> None:
    """Whatever the phase in which it stopped."""
    for phase in (Phase.PLANNED, Phase.COPYING, Phase.SEALING, Phase.COMMITTED):
        source, target = ("shard0", "shard1") if owned(cluster)["shard0"][-1][1] == SLOTS // 2 else ("shard1", "shard0")
        plan(cluster, source, target)
        if phase is not Phase.PLANNED:
            until(cluster, phase)
        cluster.stop_bootstrap()
        cluster.advance(20)
        cluster.start_bootstrap()
        until(cluster)
        assert in_ranges(QUARTER[0][0], owned(cluster)[target])
        client = cluster.connect()
        assert cluster.run(client.count()) == len(DOCS)


def test_late_bytes(cluster: MemoryCluster) -> None:
    """A change that was sent before a range moved away arrives when it is back: what was acknowledged since stands."""
    own = state_of(cluster).map.named("shard0")
    assert own is not None
    key = MOVING[1].encode()
    record, _ = document_encoding.encode("late")
    peer: Any = BoundedAMP(cluster.clock)
    cluster.run(cluster.network.dial(own.host, own.port).connect(Factory.forProtocol(lambda: peer)))
    cluster.network.strand(own.host, own.port)
    write = Write("", [key], [record])
    answers: list[Any] = []
    epoch = state_of(cluster).epoch
    peer.call(commands.Apply, 10_000, epoch=epoch, batch=encode_runs([write])).addBoth(answers.append)
    cluster.network.settle()
    plan(cluster, "shard0", "shard1")
    until(cluster)
    client = cluster.connect()
    assert cluster.run(client.write(MOVING[1], "later")) > 0
    plan(cluster, "shard1", "shard0")
    until(cluster)
    cluster.network.unstrand(own.host, own.port)
    cluster.advance(1)
    assert cluster.run(client.get(MOVING[1])) == "later"
    (answer,) = answers
    (outcome,) = decode_answers(answer["answers"], [write])[0].outcomes()
    assert isinstance(outcome, WrongShard)


@pytest.mark.parametrize("complete", [False, True], ids=["while it is copied", "when it was"])
def test_a_target_that_gets_full(cluster: MemoryCluster, complete: bool) -> None:
    """It says so, and the move is cancelled with that reason; nothing is lost, and its clients' limit is theirs."""
    target = cluster.services["shard1"].shard
    if complete:
        move = plan(cluster, "shard0", "shard1")
        until(cluster, Phase.COPYING)
        while not cluster.services["shard1"].moves.reports().taken[move.number].complete:
            cluster.advance(0.001)
    assert target.assignment is not None
    small = attrs.evolve(target.assignment.own, limit=target.store.used + 100)
    assert cluster.bootstrap is not None
    bootstrap = cluster.bootstrap.bootstrap
    limited = attrs.evolve(state_of(cluster).map.shards[1], limit=small.limit)
    change_state(bootstrap, bootstrap.state.with_shards([], [limited], []))
    if not complete:
        move = plan(cluster, "shard0", "shard1")
    client = cluster.connect()
    writing = [client.write(key, "x" * 1000) for key in MOVING[:20]] if complete else []
    until(cluster, Phase.CANCELLED)
    assert "the target has no room: " in state_of(cluster).moves[0].why
    until(cluster)
    for written in writing:
        assert cluster.run(written) > 0
    assert cluster.run(client.count()) == len(DOCS)
    assert target.store.ranges.left == ()
