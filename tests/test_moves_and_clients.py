"""Clients of all three faces while a range moves to and fro: no call fails, and the order of each key is kept."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from random import Random
from typing import Any

import pytest
from histories import total
from history_faces import FaceParts
from memory_loop import MemoryLoop, started
from moving import DOCS, MOVING, filled, owner, plan, slow_down, state_of
from test_moving_histories import MovingRun
from twisted.internet.defer import gatherResults

from pyshard.aio import AioClient, connect
from pyshard.aio.loop_clock import LoopClock
from pyshard.model.range_moves import Phase
from pyshard.settings import settings
from pyshard.testing import MemoryCluster

RUNS = 6
KEYS = MOVING[:8]


class SteadyRun(MovingRun):
    """A run in which ranges move, and nothing goes wrong. Deadlines are those that calls have by default."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("test_histories.FaceParts", _with_default_deadline)
        super().__init__(seed, monkeypatch)
        for store in self.stores.values():
            store.delay = min(store.delay, 0.05)

    def step(self) -> None:
        """Some calls, perhaps a move, and little time."""
        if self.random.random() < 0.6:
            self.moves.plan()
        for _ in range(self.random.choice([0, 1, 2, 3, 12])):
            self.issue()
        for _ in range(self.random.choice([1, 2, 8])):
            self.cluster.advance(self.random.choice([0, 0.001, 0.01, 0.05]))
            self.look()

    def issue(self) -> None:
        """One random call, by somebody who can make one now."""
        face = self.random.choice(self.faces)
        if callers := face.callers():
            face.make(self.recorder.plan(self.random.choice(callers)))


def _with_default_deadline(*given: Any) -> FaceParts:
    cluster, random, recorder, numbers, _ = given
    return FaceParts(cluster, random, recorder, numbers, settings.DEADLINE)


def test_no_call_fails() -> None:
    """Clients of every face follow, with the deadlines that they have by default, and their histories are in order."""
    tallies, committed = [], 0
    for seed in range(RUNS):
        with pytest.MonkeyPatch.context() as monkeypatch:
            made = SteadyRun(seed, monkeypatch)
            for _ in range(60):
                made.step()
            try:
                tallies.append(made.finish())
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error
            committed += made.moves.seen[Phase.COMMITTED]
    tally = total(tallies)
    assert (tally.unavailable, tally.unknown, tally.cut) == (0, 0, 0)
    assert {face for face, _ in tally.answers} == {"deferred", "blocking", "asyncio"}
    assert committed > 3 * RUNS


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryCluster]:
    """Two shards with some documents, between which a range moves slowly."""
    with filled() as made:
        slow_down(made, monkeypatch)
        yield made


def to_and_fro(cluster: MemoryCluster, times: int) -> Iterator[None]:
    """Have the range moved to the other shard, back, and so on, by some milliseconds each time."""
    for _ in range(times):
        source = owner(cluster)
        plan(cluster, source, "shard1" if source == "shard0" else "shard0")
        for _ in range(3000):
            if not state_of(cluster).moves:
                break
            yield
            cluster.advance(0.004)
        assert owner(cluster) != source


def test_order_of_pipelined_changes(cluster: MemoryCluster) -> None:
    """A Deferred client's changes of one key are done in the order in which they were asked for, at any moment."""
    client = cluster.connect()
    increments, writes = [], []
    for number, _ in enumerate(to_and_fro(cluster, 4)):
        increments.append(gatherResults([client.increment(f"counter {key}") for key in KEYS for _ in range(3)]))
        writes.append(gatherResults([client.write(key, 3 * number + each) for key in KEYS for each in range(3)]))
    found = cluster.run(gatherResults(increments))
    assert len(found) > 100
    for number, each in enumerate(found):
        assert each == [3 * number + 1, 3 * number + 2, 3 * number + 3] * len(KEYS)
    cluster.run(gatherResults(writes))
    assert cluster.run(client.get_many(KEYS)) == [3 * len(found) - 1] * len(KEYS)


def test_order_on_asyncio(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a Deferred client."""
    connecting_module = import_module("pyshard.client.connect")  # by this name the package has the function
    monkeypatch.setattr(connecting_module, "SystemRandom", lambda: Random(1))  # each run has the same jitter
    # The client goes by the network's time, too, or what it waits for would depend on how fast the test runs.
    monkeypatch.setattr(import_module("pyshard.aio.connect"), "LoopClock", lambda loop: LoopClock(loop, loop.time))
    loop = MemoryLoop(cluster.network)  # type: ignore[abstract]  # it has what is called

    async def connected() -> AioClient:
        return await connect(token_file="", tls=False)

    connecting = started(loop, connected)
    cluster.advance(1)
    client, given = connecting.result(), []
    for _ in to_and_fro(cluster, 4):
        loop.enter(lambda: given.append([client.increment(key) for key in ("a", *KEYS) for _ in range(3)]))
    cluster.advance(5)
    assert len(given) > 100
    client_there = cluster.connect()
    for number, each in enumerate(given[1:], 1):
        assert [one.result() for one in each[:3]] == [3 * number + 1, 3 * number + 2, 3 * number + 3]
    assert cluster.run(client_there.get("a")) == 3 * len(given)
    for place, key in enumerate(KEYS, 1):
        assert [one.result() for each in given for one in each[3 * place : 3 * place + 3]] == list(
            range(DOCS[key] + 1, DOCS[key] + 3 * len(given) + 1)
        )
    started(loop, client.close)
    cluster.advance(1)
    assert loop.reported == []


def test_a_blocking_client(cluster: MemoryCluster) -> None:
    """Each of its calls is done once, in order, while time passes in it only."""
    app = cluster.blocking()
    number = 0
    for _ in to_and_fro(cluster, 6):
        number += 1
        for key in KEYS[:2]:
            assert app.increment(f"counter {key}") == number
            assert app.write(key, number) > 0
            assert app.get(key) == number
    assert number > 20
    app.close()
