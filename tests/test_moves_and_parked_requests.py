"""What comes for a range while it is sealed waits at its source: no client is refused but once, when it has moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from deferreds import watch
from moving import DOCS, MOVING, STAYING, DurableStores, cancel, check_clean, filled, owner, plan, until
from stores import folder
from twisted.internet.defer import Deferred, gatherResults

from pyshard.client import Client
from pyshard.errors import OutcomeUnknown, Unavailable
from pyshard.model.range_moves import Phase
from pyshard.protocol.batch_answers import Answer
from pyshard.shard.shard import Shard
from pyshard.testing import MemoryCluster

KEYS = MOVING[:8]


@pytest.fixture(params=["memory", "lmdb"])
def cluster(request: pytest.FixtureRequest) -> Iterator[MemoryCluster]:
    """Two shards with some documents."""
    with folder() as path, filled(DurableStores(path).open if request.param == "lmdb" else None) as made:
        yield made


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often which error was answered to operations."""
    counted: Counter[str] = Counter()
    applied = Shard.apply

    def apply(shard: Shard, *given: Any) -> Any:
        def count(answers: list[Answer]) -> list[Answer]:
            counted.update(code for answer in answers for code, _ in answer.errors.values())
            return answers

        return applied(shard, *given).addCallback(count)

    monkeypatch.setattr(Shard, "apply", apply)
    return counted


def sealed(cluster: MemoryCluster) -> None:
    """Have a move of the range come to its seal."""
    plan(cluster)
    until(cluster, Phase.SEALING)
    for _ in range(200):
        if cluster.services["shard0"].shard.store.ranges.sealed:
            return
        cluster.advance(0.0005)
    raise AssertionError("the source isn't sealed")


def hold(cluster: MemoryCluster) -> None:
    """Have the sealed range neither committed nor opened for now: nobody can ask the target."""
    own = cluster.map.named("shard1")
    assert own is not None
    cluster.network.silence(own.host, own.port)


def waiting(cluster: MemoryCluster) -> int:
    """How many requests wait at the source."""
    parked = cluster.services["shard0"].shard.stat()["parked"]
    assert isinstance(parked, int)
    return parked


def changes(client: Client) -> list[Any]:
    """What some changes of each key come to, which are asked for one after the other."""
    return [
        watch(gatherResults([made for key in KEYS for made in (client.increment(key), client.increment(key, 10))])),
        watch(gatherResults([client.get(key) for key in KEYS])),
    ]


def expected() -> list[list[int]]:
    """What these come to."""
    counts = [(DOCS[key] + 1, DOCS[key] + 11) for key in KEYS]
    return [[each for both in counts for each in both], [last for _, last in counts]]


async def listed_by(client: Client) -> list[str]:
    """All keys, sorted."""
    return sorted([key async for key in client.keys()])  # noqa: SIM118  # it is no dict


def test_committed(cluster: MemoryCluster, refused: Counter[str]) -> None:
    """With the commit what waits is redirected once, and done at the target. Nobody was refused before."""
    client, beside = cluster.connect(), cluster.connect()
    cluster.run(client.get_many(list(DOCS)))
    cluster.run(beside.get_many(STAYING))
    sealed(cluster)
    hold(cluster)
    made, other = changes(client), [watch(beside.get(key)) for key in STAYING[:3]]
    page = watch(Deferred.fromCoroutine(listed_by(client)))
    cluster.advance(0.1)
    assert waiting(cluster) >= 1
    assert (refused, made) == ({}, [[], []])
    assert other == [[DOCS[key]] for key in STAYING[:3]]
    own = cluster.map.named("shard1")
    assert own is not None
    cluster.network.unsilence(own.host, own.port)
    until(cluster, Phase.COMMITTED)
    began = cluster.clock.seconds()
    while not all(made):
        cluster.advance(0.001)
    assert cluster.clock.seconds() - began < 0.2
    assert [each[0] for each in made] == expected()
    assert set(refused) == {"WRONG_SHARD"}
    until(cluster)
    cluster.advance(1)
    assert page == [sorted(DOCS)]
    assert (owner(cluster), waiting(cluster)) == ("shard1", 0)
    check_clean(cluster)


def test_cancelled(cluster: MemoryCluster, refused: Counter[str]) -> None:
    """What waits is done at the source when the seal is taken back: in order, and without any refusal."""
    client, app = cluster.connect(), cluster.connect()
    cluster.run(client.get_many(list(DOCS)))
    cluster.run(app.get_many(list(DOCS)))
    sealed(cluster)
    hold(cluster)
    made, counted, listed = changes(client), watch(app.count()), watch(Deferred.fromCoroutine(listed_by(app)))
    cluster.advance(0.2)
    assert waiting(cluster) >= 2
    assert made == [[], []]
    cancel(cluster)
    cluster.advance(0.1)
    assert [each[0] for each in made] == expected()
    assert refused == {}
    own = cluster.map.named("shard1")
    assert own is not None
    cluster.network.unsilence(own.host, own.port)
    until(cluster)
    cluster.advance(2)
    assert (counted, listed) == ([len(DOCS)], [sorted(DOCS)])
    assert (owner(cluster), waiting(cluster)) == ("shard0", 0)
    check_clean(cluster)


def test_a_seal_that_lasts(cluster: MemoryCluster) -> None:
    """Without a bootstrap what comes is soon refused as ever, so that no change is in doubt at its deadline."""
    client = cluster.connect(deadline=4)
    cluster.run(client.get_many(list(DOCS)))
    sealed(cluster)
    cluster.stop_bootstrap()
    hold(cluster)
    made = watch(client.increment(KEYS[0]))
    cluster.advance(0.5)
    assert waiting(cluster) == 1
    late = watch(client.increment(KEYS[1]))
    cluster.advance(1)
    assert waiting(cluster) == 0
    cluster.advance(5)
    assert [type(each) for each in (*made, *late)] == [Unavailable] * 2
    cluster.start_bootstrap()
    cancel(cluster)
    cluster.advance(2)
    assert cluster.run(client.get_many(KEYS[:2])) == [DOCS[key] for key in KEYS[:2]]


def test_clients_that_are_gone(cluster: MemoryCluster) -> None:
    """What somebody asked for who has gone is never done."""
    client = cluster.connect()
    cluster.run(client.get_many(list(DOCS)))
    sealed(cluster)
    hold(cluster)
    made = watch(client.increment(KEYS[0]))
    cluster.advance(0.01)
    assert waiting(cluster) == 1
    client.close()
    cluster.advance(0.01)
    assert [type(each) for each in made] == [OutcomeUnknown]
    assert waiting(cluster) == 0
    cancel(cluster)
    cluster.advance(2)
    assert cluster.run(cluster.connect().get(KEYS[0])) == DOCS[KEYS[0]]


def test_a_client_that_comes_anew(cluster: MemoryCluster) -> None:
    """What a client has lost with its connection isn't done behind what it does over the next one."""
    client, own = cluster.connect(), cluster.map.named("shard0")
    assert own is not None
    cluster.run(client.get_many(list(DOCS)))
    sealed(cluster)
    hold(cluster)
    made = watch(client.write(KEYS[0], "old", deadline=0.3))
    cluster.advance(0.01)
    assert waiting(cluster) == 1
    cluster.network.strand(own.host, own.port)  # the shard doesn't hear that it ends
    cluster.advance(0.4)
    assert [type(each) for each in made] == [OutcomeUnknown]
    newer = watch(client.write(KEYS[0], "new"))
    cluster.advance(0.1)
    cancel(cluster)
    cluster.advance(15)
    assert len(newer) == 1
    assert cluster.run(client.get(KEYS[0])) == ("new" if isinstance(newer[0], int) else DOCS[KEYS[0]])
    cluster.network.unstrand(own.host, own.port)
    cluster.advance(60)
    assert cluster.run(client.get(KEYS[0])) == ("new" if isinstance(newer[0], int) else DOCS[KEYS[0]])


def test_a_source_that_stops(cluster: MemoryCluster) -> None:
    """It doesn't wait for what waits at it."""
    client = cluster.connect()
    cluster.run(client.get_many(list(DOCS)))
    sealed(cluster)
    hold(cluster)
    watch(client.get(KEYS[0]))
    cluster.advance(0.01)
    assert waiting(cluster) == 1
    began = cluster.clock.seconds()
    cluster.stop_shard("shard0")
    assert cluster.clock.seconds() - began < 0.2
