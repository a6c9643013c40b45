"""After a change of the state all shards in reach are told, those first that it concerns."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import pytest
from bootstrap.states import STATE, Log
from bootstrap.watching import Bench
from deferreds import change_state, result
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater

from pyshard.bootstrap.bootstrap import Condition, first_state
from pyshard.bootstrap.push_rests import PushRests
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.bootstrap.state_stores.state_store import Revision, SwapOutcome
from pyshard.bootstrap.state_telling import StateTelling
from pyshard.bootstrap.told_states import NOTHING_TOLD
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.protocol.boxes import BoxParser, Limits
from pyshard.protocol.chunked_arguments import take_chunks


class Shard:
    """A shard that has what it is told at once.

    :ivar holds: until this fires, it doesn't; None: it does.
    """

    def __init__(self, telling: StateTelling, log: Log, name: str, told: list[tuple[str, int]]) -> None:
        self.telling, self.log, self.shard, self.told = telling, log, name, told
        self.holds: Deferred[None] | None = None

    def push(self) -> Deferred[None]:
        """It is told the present state."""
        order = self.log.bootstrap.state.order
        self.told.append((self.shard, order[0]))
        return (self.holds or succeed(None)).addCallback(lambda _: self.telling.has(self, order))


class Shards:
    """A bootstrap, and as many shards as are asked for.

    :ivar told: the name and the epoch of each push.
    """

    def __init__(self, *names: str) -> None:
        self.log = Log()
        rests = PushRests(self.log.clock.seconds, lambda: False)
        self.telling = StateTelling(self.log.bootstrap, self.log.clock, rests)
        self.told: list[tuple[str, int]] = []
        self.shards = {name: Shard(self.telling, self.log, name, self.told) for name in names}
        for shard in self.shards.values():
            self.telling.come(shard)
        self.pass_turns()

    def pass_turns(self) -> list[tuple[str, int]]:
        """Who is told what by then."""
        self.log.clock.advance(0)
        told, self.told[:] = self.told[:], []
        return told

    def change(self, state: ClusterState) -> None:
        """Have another state."""
        change_state(self.log.bootstrap, state)


OTHERS = [f"s{number}" for number in range(100)]


def test_concerned_shards_are_told_first() -> None:
    """A shard that is another one by the change waits for none of the others."""
    shards = Shards(*OTHERS, "high")
    shards.change(STATE.with_identity("high", "3f", True))
    told = shards.pass_turns()
    assert ("high", 8) in told[:2]
    assert sorted(told) == sorted((name, 8) for name in ("high", *OTHERS))


def test_all_others_by_the_age_of_what_they_have() -> None:
    """Those that were told the longest time ago come first, and each is told the newest state alone."""
    shards = Shards("a", "b", "c")
    shards.shards["a"].holds = waits = Deferred[None]()
    shards.change(STATE.with_index("links"))
    assert shards.pass_turns() == [("a", 8), ("b", 8), ("c", 8)]
    shards.change(shards.log.bootstrap.state.with_index("more"))
    shards.change(shards.log.bootstrap.state.with_index("yet"))
    assert shards.pass_turns() == [("b", 10), ("c", 10)]
    shards.shards["a"].holds = None
    waits.callback(None)
    assert shards.pass_turns() == [("a", 10)]


def test_who_waits_for_all() -> None:
    """It waits for those that were in reach and weren't told, and for none that has gone."""
    shards = Shards("a", "b", "c")
    held = shards.shards["a"].holds = Deferred[None]()
    shards.shards["b"].holds = Deferred()
    shards.change(STATE.with_index("links"))
    settling = shards.telling.settle()
    shards.pass_turns()
    assert not settling.called
    held.callback(None)
    assert not settling.called
    shards.telling.gone(shards.shards["b"])
    assert result(settling) is None
    assert shards.telling.told(shards.shards["a"]) == (8, 0)
    assert shards.telling.told(shards.shards["b"]) == NOTHING_TOLD


def test_a_shard_that_takes_no_state_on_holds_up_one_change() -> None:
    """It is told the next ones when it has come back, and isn't waited for."""
    shards = Shards("a", "b")
    hostile = shards.shards["a"]
    held = hostile.holds = Deferred[None]()
    shards.change(STATE.with_index("links"))
    first = shards.telling.settle()
    shards.pass_turns()
    settled = [first.called]
    shards.telling.gone(hostile)
    held.callback(None)
    assert [*settled, first.called] == [False, True]
    hostile.holds = Deferred()
    shards.telling.come(hostile)
    shards.change(shards.log.bootstrap.state.with_index("more"))
    second = shards.telling.settle()
    assert sorted(shards.pass_turns()) == [("a", 9), ("b", 9)]
    assert second.called


def test_a_state_is_encoded_once(running: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is saved: for all shards, and for all clients that get the map."""
    encoded: list[ClusterState] = []

    def counted(state: ClusterState, shards: Sequence[MapShard]) -> bytes:
        if tuple(shards) == state.map.shards and state is running.state:
            encoded.append(state)
        return encode(state, shards)

    encode = cluster_state_json._encoded
    for name in ("pages", "links"):
        change_state(running.bootstrap, running.state.with_index(name))
        text = running.state.text
        monkeypatch.setattr(cluster_state_json, "_encoded", counted)
        running.network.settle()
        assert running.everybody_knows()
        assert cluster_state_json.to_json(running.state) is text
        assert not encoded
        monkeypatch.undo()


def test_all_shards_are_told_the_same_bytes() -> None:
    """A state is put into chunks once, not for each shard; and another one anew."""
    shards = Shards("a")
    first = shards.telling.encoded_state()
    assert shards.telling.encoded_state() is first
    shards.change(STATE.with_index("links"))
    assert shards.telling.encoded_state() != first
    box = BoxParser(Limits())
    box.feed(shards.telling.encoded_state())
    assert take_chunks(box.next_box() or {}, b"state") == shards.log.bootstrap.state.text


def test_stores_that_come_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that greet while a change of the state is made are taken up with one change behind it."""
    width = SLOTS // 10
    shards = [MapShard(f"s{n}", ((n * width, n * width + width),), 10**6, "127.0.0.1", 5050 + n) for n in range(10)]
    bench.store = MemoryStateStore(first_state("c1", ShardMap(shards)))
    bench.bootstrap = bench.new_bootstrap()
    swap = bench.store.swap

    def slow(state: ClusterState, expected: Revision, write: str, end: float = inf) -> Deferred[SwapOutcome]:
        return deferLater(bench.clock, 0.1).addCallback(lambda _: swap(state, expected, write, end))

    monkeypatch.setattr(bench.store, "swap", slow)
    for shard in shards:
        bench.start_shard(shard.name, own=shard)
    bench.start_bootstrap()
    bench.network.advance(1)
    assert bench.conditions() == [Condition.READY] * 10
    assert len(bench.saved) == 2
