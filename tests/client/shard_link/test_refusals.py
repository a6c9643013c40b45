"""A shard that takes nothing for the moment, or restarts: what is for it waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import attrs
import pytest
from clusters import keys_on, kinds
from deferreds import watch
from twisted.internet.defer import Deferred

from pyshard import Client
from pyshard.errors import Unavailable
from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Run
from pyshard.storage import ITSELF, Sender
from pyshard.testing import MemoryCluster


def test_a_shard_that_is_not_configured_is_waited_for(cluster: MemoryCluster, client: Client) -> None:
    """`NotConfigured` is ridden out: operations wait, in order, and happen once when the shard is configured."""
    shard = cluster.services["shard0"].shard
    assignment, before = shard.assignment, shard.operations
    cluster.stop_bootstrap()
    shard.assignment = None
    work = [watch(client.write("test", number)) for number in range(3)] + [watch(client.remove("test"))]
    cluster.advance(5)
    assert (work, shard.operations) == ([[]] * 4, before)
    shard.assignment = assignment
    cluster.advance(1.1)
    assert work == [[24], [28], [28], [28]]
    assert shard.operations == before + 4


def test_a_shard_that_is_behind_is_waited_for(cluster: MemoryCluster, client: Client) -> None:
    """`ShardBehind` is ridden out: a shard that knows only an older epoch is asked until it has caught up."""
    shard = cluster.services["shard0"].shard
    assert shard.assignment is not None
    newest, before = shard.assignment, shard.operations
    cluster.stop_bootstrap()
    shard.assignment = attrs.evolve(newest, state=attrs.evolve(newest.state, epoch=newest.state.epoch - 1))
    outcome = watch(client.write("test", 1))
    cluster.advance(5)
    assert (outcome, shard.operations) == ([], before)
    shard.assignment = newest
    cluster.advance(1.1)
    assert outcome == [28]


@pytest.mark.parametrize("seconds", [1, 8])
def test_the_deadline_counts_while_a_shard_refuses(cluster: MemoryCluster, client: Client, seconds: int) -> None:
    """What is refused until its deadline is `Unavailable`, even a change: the shard has applied nothing."""
    cluster.stop_bootstrap()
    cluster.services["shard0"].shard.assignment = None
    outcome = watch(client.write("test", 1, deadline=seconds))
    cluster.advance(seconds - 0.001)
    assert outcome == []
    cluster.advance(0.001)
    assert kinds([outcome]) == [[Unavailable]]
    assert "not configured" in str(outcome[0])


def test_a_refusing_shard_is_asked_ever_less_often(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client holds off after each refusal, up to a second: an unconfigured shard gets no storm of boxes."""
    cluster.stop_bootstrap()
    shard = cluster.services["shard0"].shard
    shard.assignment = None
    asked: list[float] = []
    apply = shard.apply

    def counted(epoch: int, runs: Sequence[Run], sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        asked.append(cluster.clock.seconds())
        return apply(epoch, runs, sender)

    monkeypatch.setattr(shard, "apply", counted)
    outcomes: list[list[Any]] = [watch(client.write(key, 1)) for key in keys_on(cluster, "shard0", 500)]
    cluster.advance(10)
    assert kinds(outcomes) == [[Unavailable]] * 500
    assert 10 <= len(asked) <= 25
    assert max(later - earlier for earlier, later in pairwise(asked)) <= 1


def test_a_shard_that_shuts_down_takes_nothing_and_loses_nothing(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a stopping shard was asked before is answered; what comes later waits for the next start."""
    service = cluster.services.pop("shard0")
    apply, answers = service.shard.apply, list[Callable[[], object]]()

    def slow(epoch: int, runs: Sequence[Run], sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        answer: Deferred[list[Answer]] = Deferred()
        answers.append(lambda: apply(epoch, runs, sender).chainDeferred(answer))
        return answer

    monkeypatch.setattr(service.shard, "apply", slow)
    first, second = keys_on(cluster, "shard0", 2)
    before = watch(client.write(first, 1))
    cluster.advance(0)
    stopping = service.stopService()
    after = watch(client.write(second, 1))
    cluster.advance(1)
    assert (len(answers), before, after) == (1, [], [])
    answers[0]()
    cluster.run(stopping)
    assert (len(answers), before, after) == (1, [28], [])
    cluster.start_shard("shard0")
    cluster.advance(2)
    assert after == [28]
    assert cluster.run(client.has(first)) is False


def test_a_shard_that_restarts_empty(cluster: MemoryCluster, client: Client) -> None:
    """After a restart that lost the data, what waited happens on the new store, and old keys are missing, soon."""
    cluster.run(client.write("test", "old"))
    cluster.kill_shard("shard0")
    key = keys_on(cluster, "shard0", 1)[0]
    write = watch(client.write(key, "new"))
    cluster.advance(3)
    assert write == []
    cluster.start_shard("shard0")
    cluster.advance(2.5)
    assert write == [52]
    assert cluster.run(client.read("test")) is None
    assert cluster.run(client.read(key)) == {"hash_": slot_of(key.encode()) / 1e7, "record": "new"}
