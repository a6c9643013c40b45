"""How many keys a bulk verb sends at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import pytest
from clusters import cluster_of, outcome
from twisted.internet.defer import Deferred

from pyshard.batch import Answer, Run
from pyshard.client import bulk
from pyshard.errors import ClientClosed, PartialFailure
from pyshard.hashing import SLOTS, slot_of
from pyshard.settings import settings


@pytest.mark.parametrize(("kind", "changing"), [("memory", settings.BULK_STEP), ("lmdb", settings.BULK_STEP_DURABLE)])
def test_durable_shards_are_changed_by_larger_steps(kind: str, changing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes to a durable shard together is committed together, so changes are sent in larger steps there."""
    sent: list[int] = []
    keys = [key for key in map(str, range(9000)) if slot_of(key.encode()) < SLOTS / 2][:2000]
    with cluster_of(kind) as cluster:
        shard = cluster.services["shard0"].shard
        apply = shard.apply

        def noted(epoch: int, runs: Sequence[Run]) -> Deferred[list[Answer]]:
            sent.append(sum(len(run.keys) for run in runs))
            return apply(epoch, runs)

        monkeypatch.setattr(shard, "apply", noted)
        client = cluster.connect()
        cluster.run(client.write_many((key, 1) for key in keys))
        assert sent == [changing] * (2000 // changing)
        sent.clear()
        cluster.run(client.read_many(keys))
        cluster.run(client.has_many(keys))
        assert sent == [settings.BULK_STEP] * (2 * 2000 // settings.BULK_STEP)
        sent.clear()
        cluster.run(client.pop_many(keys))
        cluster.run(client.remove_many(keys))
        assert sent == [changing] * (2 * 2000 // changing)


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
        assert taken <= settings.BULK_STEP
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
        pairs = [(str(number), number) for number in range(2 * settings.BULK_STEP)]
        work = client.write_many(pairs, progress=lambda done: done == settings.BULK_STEP and client.close())
        error = outcome(cluster, work)
        assert isinstance(error, ClientClosed)
        assert str(error) == "the client was closed when 500 keys were done"
