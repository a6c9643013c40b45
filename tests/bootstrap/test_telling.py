"""The bootstrap tells its shards of each change."""

from __future__ import annotations

import attrs
import pytest
from bootstrap.watching import HIGH, Bench
from deferreds import change_state, result
from twisted.internet.defer import Deferred

from pyshard.bootstrap.bootstrap import Condition
from pyshard.model.cluster_state import ClusterState
from pyshard.settings import settings
from pyshard.shard.assignment import Assignment


def test_change(running: Bench) -> None:
    """Every change is told to every shard at once."""
    for name in ("pages", "links"):
        change_state(running.bootstrap, running.state.with_index(name))
        running.network.settle()
        assert running.everybody_knows()
    change_state(running.bootstrap, running.state.without_index("pages"))
    running.network.settle()
    assert running.everybody_knows()


def test_change_while_a_shard_is_away(running: Bench) -> None:
    """A shard that was away during changes is told when it is back."""
    running.network.cut(*HIGH)
    running.network.settle()
    change_state(running.bootstrap, running.state.with_index("pages"))
    running.network.settle()
    assert not running.everybody_knows()
    running.network.advance(1)
    assert running.everybody_knows()


def test_changes_during_a_push(running: Bench) -> None:
    """What changes while a shard is being told is told after a rest."""
    running.network.silence(*HIGH)
    for number in range(5):
        change_state(running.bootstrap, running.state.with_index(f"index{number}"))
        running.network.advance(0.1)
    settling = running.settle()
    assert not settling.called
    running.network.unsilence(*HIGH)
    running.network.settle()
    assert not running.everybody_knows()
    running.network.advance(0.4)
    assert running.everybody_knows()
    assert result(settling) is None
    assert running.conditions() == [Condition.READY, Condition.READY]


def test_one_push_at_a_time(running: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that is slow to take a state on is told the newest one next, not all those in between."""
    told: list[int] = []
    shard = running.shards["high"].shard
    configure = shard.configure

    def noted(name: str, state: ClusterState) -> Deferred[None]:
        told.append(state.epoch)
        return configure(name, state)

    monkeypatch.setattr(shard, "configure", noted)
    first = running.state.epoch + 1
    running.network.silence(*HIGH)
    for number in range(5):
        change_state(running.bootstrap, running.state.with_index(f"index{number}"))
        running.network.settle()
    running.network.unsilence(*HIGH)
    running.network.settle()
    assert told == [first, first + 4]


def test_settled(running: Bench) -> None:
    """Where everybody knows already nothing is waited for."""
    assert result(running.settle()) is None


def test_settled_when_all_were_told(running: Bench) -> None:
    """A change has settled when each shard in reach has it, not before."""
    running.network.silence(*HIGH)
    change_state(running.bootstrap, running.state.with_index("pages"))
    settling = running.settle()
    running.network.advance(2)
    assert not settling.called
    running.network.unsilence(*HIGH)
    running.network.settle()
    assert result(settling) is None
    assert running.everybody_knows()


def test_settled_while_changes_go_on(running: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a change waits for none that comes after it, however long they come."""
    shard = running.shards["high"].shard
    configure, count = shard.configure, 0
    settled: list[list[int]] = []

    def changed_meanwhile(name: str, state: ClusterState) -> Deferred[None]:
        nonlocal count
        count += 1
        if count <= 50:
            change()
        return configure(name, state)

    def change() -> None:
        assert running.service is not None
        change_state(running.bootstrap, running.state.with_index(f"index{count}"))
        epochs = [running.state.epoch]
        settled.append(epochs)
        running.service.settle().addCallback(lambda _: epochs.extend((told(), count)))

    def told() -> int:
        return min(assignment.state.epoch for assignment in running.told() if assignment is not None)

    monkeypatch.setattr(shard, "configure", changed_meanwhile)
    change()
    running.network.settle()
    assert len(settled) == 51
    for number, (epoch, known, pushes) in enumerate(settled):
        assert known >= epoch
        assert pushes <= number + 2
    assert running.everybody_knows()


def test_settled_without_a_shard_that_is_down(running: Bench) -> None:
    """A shard that is down isn't waited for."""
    running.kill_shard("high")
    running.network.advance(10)
    change_state(running.bootstrap, running.state.with_index("pages"))
    assert result(running.settle()) is None
    assert running.shards["low"].shard.assignment == Assignment("low", running.state)


def test_settled_without_a_silent_shard(running: Bench) -> None:
    """A shard that doesn't answer is waited for as long as one answer may take, then taken for unreachable."""
    running.network.silence(*HIGH)
    change_state(running.bootstrap, running.state.with_index("pages"))
    settling = running.settle()
    running.network.advance(settings.TIMEOUT + 0.01)
    assert result(settling) is None
    assert running.conditions() == [Condition.READY, Condition.UNREACHABLE]
    assert running.detail("high") == "no answer to Configure within 5 s"
    running.network.unsilence(*HIGH)
    running.network.advance(2)
    assert running.everybody_knows()
    assert running.conditions() == [Condition.READY, Condition.READY]


def test_settled_when_a_shard_dies_while_it_is_told(running: Bench) -> None:
    """A shard whose connection breaks before it answers isn't waited for any longer, and is told when it is back."""
    running.network.silence(*HIGH)
    change_state(running.bootstrap, running.state.with_index("pages"))
    settling = running.settle()
    running.network.advance(0.5)
    assert not settling.called
    running.network.unsilence(*HIGH)
    running.kill_shard("high")
    assert result(settling) is None
    running.network.advance(5)
    assert running.detail("high") == "connection refused"
    running.start_shard("high")
    running.network.advance(2)
    assert running.everybody_knows()
    change_state(running.bootstrap, running.state.with_index("links"))
    assert result(running.settle()) is None
    assert running.everybody_knows()


def test_settled_without_a_shard_that_refuses(running: Bench) -> None:
    """A shard that refuses the state isn't waited for."""
    result(running.shards["high"].shard.configure("high", attrs.evolve(running.state, epoch=100)))
    change_state(running.bootstrap, running.state.with_index("pages"))
    assert result(running.settle()) is None


def test_asked_only_when_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that has come is neither ready nor asked anything before it has a state, and settling waits for it."""
    service = bench.start_bootstrap()
    taken: Deferred[None] = Deferred()
    shard = bench.start_shard("high")
    configure = shard.configure
    monkeypatch.setattr(shard, "configure", lambda name, state: taken.addCallback(lambda _: configure(name, state)))
    bench.network.advance(1)
    high = service.reconcilers.named("high")
    assert high is not None
    settling, of_it = bench.settle(), high.settle()
    assert (high.connection, bench.conditions()[1]) == (None, Condition.UNREACHABLE)
    assert not settling.called
    assert not of_it.called
    taken.callback(None)
    bench.network.settle()
    assert (high.connection is None, bench.conditions()[1]) == (False, Condition.READY)
    assert result(settling) is result(of_it) is None
    assert result(high.settle()) is None


def test_answer_behind_the_end(running: Bench) -> None:
    """A shard that takes a state on when its reconciler has ended is waited for by nobody."""
    assert running.service is not None
    high = running.service.reconcilers.named("high")
    assert high is not None
    running.network.silence(*HIGH)
    change_state(running.bootstrap, running.state.with_index("pages"))
    settling, of_it = running.settle(), high.settle()
    high.disownServiceParent()
    assert result(settling) is result(of_it) is None
    running.network.unsilence(*HIGH)
    running.network.settle()
    change_state(running.bootstrap, running.state.with_index("links"))
    running.network.settle()
    assert result(running.settle()) is None
