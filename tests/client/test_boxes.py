"""Calls of one turn share boxes, of which only so many are in flight, and only so much waits for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import pytest
from clusters import boxes_of, keys_on, kinds
from deferreds import watch
from twisted.internet.defer import Deferred, gatherResults

from pyshard import Client
from pyshard.client_core import operation_queue
from pyshard.errors import Overloaded, Unavailable
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Run
from pyshard.settings import settings
from pyshard.storage import ITSELF, Sender
from pyshard.testing import MemoryCluster


def test_calls_of_one_turn_share_a_box(cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is issued in one turn of the reactor travels in one box a shard, whatever the verbs; it costs no time."""
    boxes = boxes_of(monkeypatch, cluster)
    began = cluster.clock.seconds()
    keys = [*keys_on(cluster, "shard0", 300), *keys_on(cluster, "shard1", 500)]
    work = [client.write(key, number) for number, key in enumerate(keys)]
    sizes = cluster.run(gatherResults(work))
    assert sizes == [24 + 4 * (number > 0) for number in range(800)]
    assert sorted(boxes) == [("shard0", 300), ("shard1", 500)]
    assert cluster.clock.seconds() == began


def test_a_lone_call_is_not_delayed(cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single call leaves in a box of its own in the same turn: no time passes until its answer."""
    boxes = boxes_of(monkeypatch, cluster)
    began = cluster.clock.seconds()
    for _ in range(3):
        assert cluster.run(client.has("test")) is False
    assert boxes == [("shard0", 1)] * 3
    assert cluster.clock.seconds() == began


def test_only_so_many_boxes_are_in_flight(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard that doesn't answer gets no more than BOXES_IN_FLIGHT boxes of a client; the others wait."""
    cluster.run(client.has("test"))
    shard, held = cluster.services["shard0"].shard, list[Callable[[], object]]()
    apply = shard.apply

    def slow(epoch: int, runs: Sequence[Run], sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        answer: Deferred[list[Answer]] = Deferred()
        held.append(lambda: apply(epoch, runs, sender).chainDeferred(answer))
        return answer

    monkeypatch.setattr(shard, "apply", slow)
    monkeypatch.setattr(operation_queue, "settings", attrs.evolve(settings, BOX_OPERATIONS=10))
    work = gatherResults([client.write(key, 1) for key in keys_on(cluster, "shard0", 95)])
    seen = []
    cluster.advance(0)
    while held:
        seen.append(len(held))
        held.pop(0)()
        cluster.advance(0)
    assert max(seen) == settings.BOXES_IN_FLIGHT
    assert len(seen) == 10
    assert cluster.run(work) == [28] * 95


def test_too_much_for_one_shard_is_refused_at_once(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would wait past MAX_WAITING fails with `Overloaded`; the other shard's operations go on."""
    monkeypatch.setattr(operation_queue, "settings", attrs.evolve(settings, MAX_WAITING=50))
    cluster.kill_shard("shard0")
    waiting = [watch(client.write(key, 1)) for key in keys_on(cluster, "shard0", 60)]
    other = [watch(client.write(key, 1)) for key in keys_on(cluster, "shard1", 40)]
    cluster.advance(0.01)
    assert kinds(waiting) == [[]] * 50 + [[Overloaded]] * 10
    assert other == [[28]] * 40
    cluster.advance(10)
    assert kinds(waiting) == [[Unavailable]] * 50 + [[Overloaded]] * 10


def test_an_outage_does_not_fill_the_queue(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operations that ended at their deadline make room: a long outage gives `Unavailable`, never `Overloaded`."""
    monkeypatch.setattr(operation_queue, "settings", attrs.evolve(settings, MAX_WAITING=50))
    cluster.kill_shard("shard0")
    outcomes = []
    for key in keys_on(cluster, "shard0", 300):
        outcomes.append(watch(client.write(key, 1, deadline=1)))
        cluster.advance(0.025)
    cluster.advance(1)
    assert kinds(outcomes) == [[Unavailable]] * 300
