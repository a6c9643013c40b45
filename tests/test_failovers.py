"""Replicas in a cluster in memory: whoever is lost, another one leads, and clients find it soon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from moving import DurableStores
from stores import folder
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater

from pyshard.client.silent_primary import SILENT
from pyshard.errors import OutcomeUnknown, PartialFailure, StorageFailed
from pyshard.model.replica_group import ReplicaGroup
from pyshard.net.backoff import longest_between_looks
from pyshard.replication.group_times import of_lease
from pyshard.settings import settings
from pyshard.testing import MemoryCluster

LEASE = 1.0

#: Seconds from the loss of a primary to the first write: the grace, a look of the bootstrap's, and one of the client's.
SOON = of_lease(LEASE).grace + 0.5

#: As much where the machine is frozen: the bootstrap waits for its answer, and a client until it was silent for long.
FOUND = max(SILENT * LEASE, of_lease(LEASE).grace + 0.6) + longest_between_looks(LEASE) + 0.3


def group_of(cluster: MemoryCluster) -> ReplicaGroup:
    """The group of the only shard."""
    (shard,) = cluster.state.map.shards
    assert shard.group is not None
    return shard.group


def primary(cluster: MemoryCluster) -> str:
    """The name of the process that leads."""
    return name_of(cluster, group_of(cluster).primary)


def name_of(cluster: MemoryCluster, address: str) -> str:
    """The name of the process at an address."""
    return next(name for name, (host, port) in cluster.processes.items() if f"{host}:{port}" == address)


def wait_whole(cluster: MemoryCluster, within: float = 10.0) -> None:
    """Let time pass until all replicas are members."""
    for _ in range(round(10 * within)):
        if not group_of(cluster).learners:
            return
        cluster.advance(0.1)
    raise AssertionError(f"these are no members after {within} s: {group_of(cluster).learners}")


@pytest.fixture(params=[2, 3])
def replicated(request: pytest.FixtureRequest) -> Iterator[MemoryCluster]:
    """A shard with two replicas, or three, all of which are members."""
    with MemoryCluster(1, replicas=request.param, lease=LEASE) as made:
        wait_whole(made)
        yield made


def test_deferred_client_finds_the_next_primary(replicated: MemoryCluster) -> None:
    """A write after the primary was killed is done soon after another one leads, time after time."""
    client = replicated.connect()
    for round_ in range(5):
        replicated.run(client.write("key", round_))
        killed = primary(replicated)
        replicated.kill_shard(killed)
        began = replicated.clock.seconds()
        replicated.run(client.write("key", -round_, deadline=20))
        assert replicated.clock.seconds() - began < SOON
        assert primary(replicated) != killed
        replicated.start_shard(killed)
        wait_whole(replicated)


def test_blocking_client_finds_the_next_primary(replicated: MemoryCluster) -> None:
    """The same of the blocking client."""
    app = replicated.blocking()
    for round_ in range(5):
        app.write("key", round_)
        killed = primary(replicated)
        replicated.kill_shard(killed)
        began = replicated.clock.seconds()
        with suppress(OutcomeUnknown):  # it may have sent the write before it sees that the connection is gone
            app.write("key", -round_, deadline=20)
        app.write("key", -round_, deadline=20)
        assert replicated.clock.seconds() - began < SOON
        replicated.start_shard(killed)
        wait_whole(replicated)


def test_no_answer_is_lost_with_a_member(replicated: MemoryCluster) -> None:
    """Writes and reads that wait for a member that was killed are answered when the group goes on without it."""
    client = replicated.connect()
    for round_ in range(3):
        replicated.run(client.write("key", 0))
        killed = name_of(replicated, min(group_of(replicated).others))
        replicated.kill_shard(killed)
        began = replicated.clock.seconds()
        written = [client.write(f"key {number}", round_, deadline=20) for number in range(50)]
        read = client.get("key", deadline=20)
        for write in written:
            replicated.run(write)
        assert replicated.run(read) == 0
        assert replicated.clock.seconds() - began < of_lease(LEASE).silence + 0.5
        replicated.start_shard(killed)
        wait_whole(replicated, within=30.0)  # one that was lost again rests for a while


def test_readiness_follows_the_primary(replicated: MemoryCluster) -> None:
    """The bootstrap calls a shard ready as soon as its next primary leads, which it was connected to before."""
    client = replicated.connect()
    replicated.kill_shard(primary(replicated))
    replicated.advance(SOON)
    assert [each["state"] for each in replicated.run(client.readiness())] == ["ready"]


@pytest.fixture(params=["memory", "durable"])
def kept(request: pytest.FixtureRequest) -> Iterator[MemoryCluster]:
    """A shard with two replicas, in memory, or durable."""
    with folder() as path:
        store = None if request.param == "memory" else DurableStores(path).open
        with MemoryCluster(1, replicas=2, lease=LEASE, store=store) as made:
            wait_whole(made)
            yield made


def test_reads_wait_for_what_they_saw_alone(kept: MemoryCluster) -> None:
    """While a change waits for a member, a read of its key waits, too; reads of other keys don't."""
    writer, waiter, reader = kept.connect(), kept.connect(), kept.connect()
    kept.run(writer.write_many({"changed": 1, "removed": 1, "other": 1}))
    for client in (waiter, reader):
        assert kept.run(client.get("other")) == 1
    kept.kill_shard(name_of(kept, min(group_of(kept).others)))
    changes: list[Deferred[Any]] = [
        writer.write("changed", 2, deadline=20),
        writer.write("new", 2),
        writer.remove("removed", deadline=20),
    ]
    kept.advance(0.01)
    waits: list[Deferred[Any]] = [waiter.get("changed"), waiter.get("new"), waiter.get("removed"), waiter.count()]
    goes_on: list[Deferred[Any]] = [reader.get("other"), reader.has("no such key"), reader.get_many(["other", "x"])]
    found: list[object] = []
    for read in goes_on:
        read.addCallback(found.append)
    kept.advance(0.05)
    assert found == [1, False, [1, None]]
    assert not any(each.called for each in [*changes, *waits])
    assert [kept.run(read) for read in waits] == [2, 2, None, 3]
    assert all(change.called for change in changes)


def test_what_is_on_its_way_to_the_disk_when_the_group_changes(
    kept: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that the store is at when a member is removed is answered under the next ballot of the same primary."""
    client = kept.connect()
    kept.run(client.write("key", 1))
    store = kept.services[primary(kept)].shard.store
    apply = store.apply
    monkeypatch.setattr(store, "apply", lambda *given: deferLater(kept.clock, 3, apply, *given))
    write = client.write("key", 2, deadline=20)
    kept.advance(0.1)
    before = group_of(kept)
    kept.kill_shard(name_of(kept, min(before.others)))
    kept.advance(2.5)
    assert (group_of(kept).primary, group_of(kept).others) == (before.primary, frozenset())
    assert not write.called
    kept.advance(1)
    assert write.called


def freeze(cluster: MemoryCluster, address: str) -> None:
    """Have nothing come out of the process at an address, nor get into it, though its connections stay."""
    host, port = address.split(":")
    cluster.network.silence(host, int(port))
    cluster.network.deafen(host, int(port))


def test_deferred_client_leaves_a_frozen_primary(kept: MemoryCluster) -> None:
    """A read that waits for a primary whose machine is frozen is answered by the next one; so are later changes."""
    client = kept.connect()
    kept.run(client.write("key", 1))
    freeze(kept, group_of(kept).primary)
    began = kept.clock.seconds()
    read, write = client.get("key", deadline=20), client.write("other", 2, deadline=20)
    assert kept.run(read) == 1
    with pytest.raises(OutcomeUnknown):
        kept.run(write)
    kept.run(client.write("key", 2, deadline=20))
    assert kept.clock.seconds() - began < FOUND


def test_blocking_client_leaves_a_frozen_primary(kept: MemoryCluster) -> None:
    """The same of the blocking client."""
    app = kept.blocking()
    app.write("key", 1)
    freeze(kept, group_of(kept).primary)
    began = kept.clock.seconds()
    assert app.get("key", deadline=20) == 1
    app.write("key", 2, deadline=20)
    assert kept.clock.seconds() - began < FOUND


def test_bulk_reads_leave_a_frozen_primary(kept: MemoryCluster) -> None:
    """A bulk call of the blocking client doesn't wait for it until its deadline: reads go on at the next one."""
    app, keys = kept.blocking(), [f"key {number}" for number in range(3000)]
    app.write_many(dict.fromkeys(keys, 1))
    freeze(kept, group_of(kept).primary)
    began = kept.clock.seconds()
    assert set(app.get_many(keys, deadline=20)) == {1}
    assert kept.clock.seconds() - began < FOUND


def test_bulk_changes_leave_a_frozen_primary(kept: MemoryCluster) -> None:
    """Changes that were sent are in doubt as soon, and the others are made at the next one."""
    app, documents = kept.blocking(), {f"key {number}": number for number in range(20_000)}
    app.write("key", 1)
    freeze(kept, group_of(kept).primary)
    began = kept.clock.seconds()
    with pytest.raises(PartialFailure) as failure:
        app.write_many(documents, deadline=20)
    assert kept.clock.seconds() - began < FOUND + 0.5
    failed = dict(failure.value.failed)
    assert {type(error) for error in failed.values()} == {OutcomeUnknown}
    done = [key for key in documents if key not in failed]
    assert done
    assert not [key for key, found in zip(done, app.get_many(done), strict=True) if found != documents[key]]


def test_bulk_calls_that_dial_a_frozen_primary(kept: MemoryCluster) -> None:
    """A bulk call without a connection finds the next one before the time for dialing is over."""
    with kept.blocking() as app:
        app.readiness()
        freeze(kept, group_of(kept).primary)
        began = kept.clock.seconds()
        app.write_many({"key": 1}, deadline=20)
        assert kept.clock.seconds() - began < settings.TIMEOUT


def test_a_store_that_fails_at_first(kept: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails when a replica is to lead is tried again: the shard isn't stuck."""
    client = kept.connect()
    kept.run(client.write("key", 1))
    store = kept.services[name_of(kept, min(group_of(kept).others))].shard.store
    lead, tries = store.lead, list[int]()

    def fails_at_first(ballot: int) -> Deferred[int]:
        tries.append(ballot)
        return fail(StorageFailed("the disk is full")) if len(tries) < 3 else lead(ballot)

    monkeypatch.setattr(store, "lead", fails_at_first)
    kept.kill_shard(primary(kept))
    assert kept.run(client.get("key", deadline=20)) == 1
    assert len(tries) == 3


def test_members_dial_anew_over_a_network_that_was_cut(replicated: MemoryCluster) -> None:
    """Connections to the primary that pass nothing on any more are dialed anew by members, before another one leads."""
    before = primary(replicated)
    host, port = group_of(replicated).primary.rsplit(":", 1)
    replicated.network.strand(host, int(port))
    replicated.advance(10)
    assert primary(replicated) == before
    assert not group_of(replicated).learners
