"""How many keys a bulk verb sends at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import pytest
from client_core.shard_keys import keys_by_shard
from clusters import cluster_of, outcome
from twisted.internet.defer import Deferred

from pyshard.client import bulk
from pyshard.client.router import Router
from pyshard.client.shard_link import ShardLink
from pyshard.client_core import bulk_input
from pyshard.client_core.bulk_input import BulkSlice, Encoded, slice_size
from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.client_core.operation_queue import Entry
from pyshard.errors import ClientClosed, InvalidDocument, PartialFailure
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Run
from pyshard.settings import settings
from pyshard.storage import ITSELF, Sender


@pytest.mark.parametrize(("kind", "changing"), [("memory", 500), ("lmdb", settings.BULK_STEP_DURABLE)])
def test_durable_shards_are_changed_by_larger_steps(kind: str, changing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes to a durable shard together is committed together, so changes are sent in larger steps there."""
    monkeypatch.setattr(bulk_input, "settings", attrs.evolve(settings, BULK_STEP=250))
    sent: list[int] = []
    keys = [key for key in map(str, range(9000)) if slot_of(key.encode()) < SLOTS / 2][:2000]
    with cluster_of(kind) as cluster:
        shard = cluster.services["shard0"].shard
        apply = shard.apply

        def noted(epoch: int, runs: Sequence[Run], sender: Sender = ITSELF) -> Deferred[list[Answer]]:
            sent.append(sum(len(run.keys) for run in runs))
            return apply(epoch, runs, sender)

        monkeypatch.setattr(shard, "apply", noted)
        client = cluster.connect()
        cluster.run(client.write_many((key, 1) for key in keys))
        assert sent == [changing] * (2000 // changing)
        sent.clear()
        cluster.run(client.read_many(keys))
        cluster.run(client.has_many(keys))
        assert sent == [500] * (2 * 2000 // 500)  # there are two shards
        sent.clear()
        cluster.run(client.pop_many(keys))
        cluster.run(client.remove_many(keys))
        assert sent == [changing] * (2 * 2000 // changing)


@pytest.mark.parametrize(("shards", "steps"), [(1, 1), (3, 3), (settings.BULK_STEPS + 1, settings.BULK_STEPS)])
def test_several_shards_get_larger_steps(shards: int, steps: int) -> None:
    """Shards divide a step among them, so each of them gets enough; but a step doesn't grow without end."""
    ranges = [MapShard(str(number), ((0, 1),), 1, "host", 1) for number in range(shards)]
    assert slice_size(ranges, changes=False) == steps * settings.BULK_STEP
    assert slice_size(ranges, changes=True) == steps * settings.BULK_STEP
    durable = [attrs.evolve(shard, durable=True) for shard in ranges]
    assert slice_size(durable, changes=False) == steps * settings.BULK_STEP
    assert slice_size(durable, changes=True) == settings.BULK_STEP_DURABLE


def test_shards_that_own_nothing_get_no_part_of_a_step() -> None:
    """Else the others would have more than they are to get."""
    shards = [MapShard(str(number), ((0, 1),) if number < 2 else (), 1, "host", 1) for number in range(4)]
    assert slice_size(shards, changes=False) == 2 * settings.BULK_STEP
    assert slice_size(shards, changes=False, fitting=3) == 6


@pytest.mark.parametrize("in_flight", [False, True])
def test_a_closed_client_reads_no_further(in_flight: bool) -> None:
    """An iterable without an end doesn't keep a bulk verb going when its client is closed."""
    with cluster_of("memory") as cluster:
        client = cluster.connect()
        taken = 0

        def endless() -> Iterator[tuple[str, int]]:
            nonlocal taken
            while True:
                taken += 1
                yield str(taken), taken

        if in_flight:
            for name in cluster.names:
                cluster.kill_shard(name)
        work = client.write_many(endless())
        closing = client.close()
        error = outcome(cluster, work)
        cluster.run(closing)
        assert taken <= 2 * settings.BULK_STEP  # there are two shards
        if in_flight:
            assert isinstance(error, PartialFailure)
            assert {type(one) for _, one in error.outcomes} == {ClientClosed}
            assert len(error.outcomes) == taken
        else:
            assert isinstance(error, ClientClosed | PartialFailure)


def test_a_client_that_is_closed_between_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """When all keys that were read are done, the error is that the client is closed."""
    monkeypatch.setattr(bulk, "settings", attrs.evolve(settings, BULK_OPERATIONS=1))  # one step after the other
    with cluster_of("memory") as cluster:
        client = cluster.connect()
        pairs = [(str(number), number) for number in range(4 * settings.BULK_STEP)]
        work = client.write_many(pairs, progress=lambda done: done == 2 * settings.BULK_STEP and client.close())
        error = outcome(cluster, work)
        assert isinstance(error, ClientClosed)
        assert str(error) == "the client was closed when 1,000 keys were done"


# -- the parts of a step ----------------------------------------------------------------------------------------------


def test_one_shard_works_while_documents_for_the_next_are_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The part of the first shard is sent before that of the second is encoded; where nothing is, both are at once."""
    told: list[str] = []
    encode, submit = bulk_input.encoded, ShardLink.submit

    def encoded(step: BulkSlice, numbers: Sequence[int]) -> Encoded:
        told.append(f"{len(numbers)} encoded")
        return encode(step, numbers)

    def submitted(link: ShardLink, entry: Entry) -> None:
        told.append(f"{entry.count} to {link.own.name}")
        submit(link, entry)

    monkeypatch.setattr(bulk, "encoded", encoded)
    monkeypatch.setattr(ShardLink, "submit", submitted)
    low, high = keys_by_shard(5)
    with cluster_of("memory") as cluster:
        client = cluster.connect()
        assert cluster.run(client.write_many((key, 1) for key in [*low, *high])) == [28] * 10
        assert told == ["5 encoded", "5 to shard0", "5 encoded", "5 to shard1"]
        told.clear()
        assert cluster.run(client.has_many([*low, *high])) == [True] * 10
        assert told == ["5 to shard0", "5 to shard1"]


def test_documents_for_one_shard_that_are_more_than_a_box_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are sent by the box, those that can't be stored left out, and every key has its outcome in its place."""
    monkeypatch.setattr(bulk_input, "settings", attrs.evolve(settings, BOX_BYTES=1000))
    low, high = keys_by_shard(8)
    documents: list[Any] = ["x" * 400, {1}, "x" * 400, "x" * 400, "x" * 3000, {2}, {3}, "é"]
    pairs = [pair for key, other, doc in zip(low, high, documents, strict=True) for pair in ((key, doc), (other, 5))]
    with cluster_of("memory") as cluster:
        client = cluster.connect()
        error = outcome(cluster, client.write_many(pairs))
        assert isinstance(error, PartialFailure)
        assert [key for key, _ in error.outcomes] == [key for key, _ in pairs]
        sizes = [one if isinstance(one, int) else type(one) for _, one in error.outcomes]
        refused = InvalidDocument
        assert sizes[::2] == [449, refused, 449, 449, 3049, refused, refused, 74]
        assert sizes[1::2] == [28] * 8
        fine = [key for key, doc in pairs if not isinstance(doc, set)]
        assert cluster.run(client.has_many(fine)) == [True] * 13


def test_a_client_that_is_closed_between_two_parts() -> None:
    """The keys of the second part have been taken: they fail, and each says so."""
    low, high = keys_by_shard(3)
    with cluster_of("memory") as cluster:
        client = cluster.connect()
        work = client.write_many([(key, 1) for key in [*low, *high]])  # the first part is sent at once
        cluster.run(client.close())
        error = outcome(cluster, work)
        assert isinstance(error, PartialFailure)
        assert [key for key, _ in error.outcomes] == [*low, *high]
        assert {type(one) for _, one in error.outcomes[3:]} == {ClientClosed}


def test_parts_go_by_the_newest_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map that comes between two parts is gone by: who owns the keys that are yet to be sent is asked anew."""
    asked: list[int] = []
    parts = Router.parts

    def noted(router: Router, bulk_operation: BulkOperation) -> dict[str, BulkOperation]:
        asked.append(len(bulk_operation))
        return parts(router, bulk_operation)

    monkeypatch.setattr(Router, "parts", noted)
    low, high = keys_by_shard(3)
    with cluster_of("memory") as cluster:
        client = cluster.connect()
        work = client.write_many([(key, 1) for key in [*low, *high]])
        assert asked == []
        state = client._router.state
        client._router.state = attrs.evolve(state, map=ShardMap(state.map.shards))
        assert outcome(cluster, work) == [28] * 6
        assert asked == [3]


def test_progress_that_fails_for_a_part_ends_the_bulk() -> None:
    """A document of the first part is refused, and progress raises when it is told: the second part isn't sent."""
    low, high = keys_by_shard(3)

    def broken(count: int) -> None:
        raise ZeroDivisionError("mine")

    with cluster_of("memory") as cluster:
        client = cluster.connect()
        documents: list[Any] = [{1}, 1, 1, 1, 1, 1]
        work = client.write_many(zip([*low, *high], documents, strict=True), progress=broken)
        assert type(outcome(cluster, work)) is ZeroDivisionError
        assert cluster.run(client.has_many([*low, *high])) == [False, True, True, False, False, False]
