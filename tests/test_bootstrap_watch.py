"""The bootstrap's eye on its shards, in memory: each is found, judged, configured, and watched from then on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from random import Random

import attrs
import pytest
from deferreds import result
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.bootstrap.bootstrap import Bootstrap, Condition, first_state
from pyshard.bootstrap.service import BootstrapService
from pyshard.cluster import ClusterState
from pyshard.errors import ConfigError
from pyshard.hashing import SLOTS
from pyshard.settings import settings
from pyshard.shard.protocol import ShardProtocol
from pyshard.shard.service import ShardService
from pyshard.shard.shard import Assignment, Shard
from pyshard.shardmap import ShardMap, ShardRange
from pyshard.storage import IStore, MemoryStore
from pyshard.testing import MemoryNetwork

LOW, HIGH = ("127.0.0.1", 5050), ("127.0.0.1", 5051)
MAP = ShardMap([ShardRange("low", 0, SLOTS // 2, 10**6, *LOW), ShardRange("high", SLOTS // 2, SLOTS, 10**6, *HIGH)])


class DurableStore(MemoryStore):
    """As far as the bootstrap can tell, a store that outlives a restart."""

    ephemeral = False


class Bench:
    """A bootstrap and shards on one network; nothing runs at first."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.full = False
        self.bootstrap = Bootstrap(first_state("c1", MAP), self._save)
        self.saved: list[ClusterState] = []
        self.shards: dict[str, ShardService] = {}
        self.service: BootstrapService | None = None
        self.stores = 0

    def _save(self, state: ClusterState) -> None:
        if self.full:
            raise ConfigError("the disk is full")
        self.saved.append(state)

    @property
    def state(self) -> ClusterState:
        """The cluster's state."""
        return self.bootstrap.state

    def start_bootstrap(self) -> BootstrapService:
        """Start the bootstrap."""
        endpoint = self.network.listen("localhost", 9192)
        self.service = BootstrapService(self.bootstrap, self.clock, endpoint, self.network.dial, Random(0))
        self.service.startService()
        return self.service

    def start_shard(self, name: str, store: IStore | None = None) -> Shard:
        """Start a shard at its address, with an empty store or with this one."""
        own = MAP.named(name)
        assert own is not None
        self.stores += 1
        shard = Shard(store or MemoryStore(f"store{self.stores}", self.clock.seconds), self.clock.seconds)
        self.shards[name] = ShardService(lambda: shard, self.clock, self.network.listen(own.host, own.port))
        self.shards[name].startService()
        return shard

    def kill_shard(self, name: str) -> None:
        """End a shard without a word."""
        where = LOW if name == "low" else HIGH
        del self.network.listeners[where]
        del self.shards[name]
        self.network.cut(*where)
        self.network.settle()

    def running(self) -> Bench:
        """Everything started, and time for it to be ready."""
        self.start_shard("low")
        self.start_shard("high")
        self.start_bootstrap()
        self.network.advance(1)
        assert self.conditions() == [Condition.READY, Condition.READY]
        return self

    def start(self, names: Sequence[str], seconds: float) -> None:
        """Start things in an order, with some time after each."""
        for name in names:
            if name == "bootstrap":
                self.start_bootstrap()
            else:
                self.start_shard(name)
            self.network.advance(seconds)

    def conditions(self) -> list[Condition]:
        """How ready each shard is, in slot order."""
        return [one.condition for one in self.bootstrap.readiness()]

    def detail(self, name: str) -> str:
        """Why a shard isn't ready."""
        return next(one.detail for one in self.bootstrap.readiness() if one.name == name)

    def told(self) -> list[Assignment | None]:
        """What each shard knows, in slot order."""
        return [self.shards[name].shard.assignment for name in ("low", "high")]

    def everybody_knows(self) -> bool:
        """Whether each shard has its name and the newest state."""
        return self.told() == [Assignment("low", self.state), Assignment("high", self.state)]

    def settle(self) -> Deferred[None]:
        """Have all shards told, as `CreateIndex` has."""
        assert self.service is not None
        settling = self.service.settle()
        self.network.settle()
        return settling


@pytest.fixture
def bench() -> Bench:
    """Nothing runs yet."""
    return Bench()


@pytest.fixture
def running() -> Bench:
    """A cluster that is ready."""
    return Bench().running()


def about(log_lines: list[str], name: str) -> list[str]:
    """What the log says of a shard."""
    return [line for line in log_lines if f"shard {name} at" in line]


# -- finding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 0.01, 5])
@pytest.mark.parametrize("names", list(permutations(["low", "high", "bootstrap"])), ids="-".join)
def test_any_order(bench: Bench, names: Sequence[str], seconds: float) -> None:
    """Bootstrap and shards may be started in any order, at once or one long after the other."""
    bench.start(names, seconds)
    bench.network.advance(settings.RETRY_LONGEST + 0.1)
    assert bench.conditions() == [Condition.READY, Condition.READY]
    assert bench.everybody_knows()
    assert bench.state.epoch == 3
    assert {one.identity for one in bench.state.map.ranges} == {"store1", "store2"}
    assert bench.saved[-1] == bench.state


def test_ready_at_once(bench: Bench, log_lines: list[str]) -> None:
    """Where both shards run already the cluster is ready without any time passing, and the log says so once."""
    bench.start(["low", "high", "bootstrap"], 0)
    assert bench.everybody_knows()
    bench.network.advance(60)
    assert about(log_lines, "low") == ["info: shard low at 127.0.0.1:5050: ready"]
    assert about(log_lines, "high") == ["info: shard high at 127.0.0.1:5051: ready"]


def test_unreachable(bench: Bench, log_lines: list[str]) -> None:
    """A shard that isn't there is reported with the reason; the log has one line, however often it is tried."""
    bench.start(["low", "bootstrap"], 0)
    bench.network.advance(300)
    assert [(one.condition, one.detail) for one in bench.bootstrap.readiness()] == [
        (Condition.READY, ""),
        (Condition.UNREACHABLE, "connection refused"),
    ]
    assert about(log_lines, "high") == ["warn: shard high at 127.0.0.1:5051: unreachable: connection refused"]


def test_unreachable_does_not_hold_up_others(bench: Bench) -> None:
    """A shard that is there is configured, whatever the others do."""
    bench.start(["low", "bootstrap"], 0)
    assert bench.shards["low"].shard.assignment == Assignment("low", bench.state)


def test_another_reason(bench: Bench, log_lines: list[str]) -> None:
    """When the reason changes the log says so, once."""
    bench.start(["low", "bootstrap"], 10)
    bench.network.silence(*HIGH)
    bench.start_shard("high")
    bench.network.advance(60)
    bench.network.unsilence(*HIGH)
    bench.network.advance(10)
    assert about(log_lines, "high") == [
        "warn: shard high at 127.0.0.1:5051: unreachable: connection refused",
        "warn: shard high at 127.0.0.1:5051: unreachable: no answer to Hello within 5 s",
        "info: shard high at 127.0.0.1:5051: ready",
    ]


# -- refusing -------------------------------------------------------------------------------------------------------


def test_foreign_shard(bench: Bench, log_lines: list[str]) -> None:
    """A shard of another cluster is refused, reported once with the reason, and left as it is."""
    theirs = bench.start_shard("high", MemoryStore("theirs", bench.clock.seconds))
    foreign = attrs.evolve(
        first_state("c2", MAP), map=ShardMap([MAP.ranges[0], attrs.evolve(MAP.ranges[1], identity="theirs")])
    )
    result(theirs.configure("high", foreign))
    bench.start(["low", "bootstrap"], 60)
    assert bench.conditions() == [Condition.READY, Condition.REFUSED]
    reason = (
        "the shard at 127.0.0.1:5051 belongs to another cluster (c2, as 'high'); this one is c1. Correct the address, "
        "or restart that shard empty"
    )
    assert bench.detail("high") == reason
    assert theirs.assignment == Assignment("high", foreign)
    assert about(log_lines, "high") == [f"warn: shard high at 127.0.0.1:5051: refused: {reason}"]
    bench.kill_shard("high")
    bench.start_shard("high")
    bench.network.advance(2)
    assert bench.everybody_knows()
    assert about(log_lines, "high")[-1] == "info: shard high at 127.0.0.1:5051: ready"


def test_durable_shard_that_lost_its_data(bench: Bench) -> None:
    """A durable shard that comes back with another store is refused, until it comes with its own."""
    store = DurableStore("durable", bench.clock.seconds)
    bench.start_shard("high", store)
    bench.start(["low", "bootstrap"], 1)
    epoch = bench.state.epoch
    bench.kill_shard("high")
    lost = bench.start_shard("high", DurableStore("other", bench.clock.seconds))
    bench.network.advance(10)
    assert bench.conditions() == [Condition.READY, Condition.REFUSED]
    assert bench.detail("high").endswith("are in store durable; start the shard with its own data")
    assert lost.assignment is None
    bench.kill_shard("high")
    bench.start_shard("high", store)
    bench.network.advance(10)
    assert bench.everybody_knows()
    assert bench.state.epoch == epoch


def test_shard_that_knows_more(running: Bench, log_lines: list[str]) -> None:
    """A shard that was told a newer state by somebody else is refused, and keeps it."""
    newer = attrs.evolve(running.state, epoch=100)
    shard = running.shards["high"].shard
    result(shard.configure("high", newer))
    running.bootstrap.change(running.state.with_index("pages"))
    running.network.advance(60)
    assert running.conditions() == [Condition.READY, Condition.REFUSED]
    assert shard.assignment == Assignment("high", newer)
    refused = "warn: shard high at 127.0.0.1:5051: refused: "
    assert about(log_lines, "high")[1:] == [
        f"{refused}this shard has epoch 100; the given epoch 4 is no newer one",
        f"{refused}shard 'high' knows epoch 100 and this bootstrap 4; restore the bootstrap's newest state file",
    ]


def test_change_that_cannot_be_saved(bench: Bench) -> None:
    """A new shard whose identity can't be saved isn't configured; it is as soon as saving works."""
    bench.full = True
    bench.start(["low", "high", "bootstrap"], 10)
    assert bench.told() == [None, None]
    assert bench.conditions() == [Condition.UNREACHABLE, Condition.UNREACHABLE]
    assert bench.detail("low") == "the disk is full"
    bench.full = False
    bench.network.advance(2)
    assert bench.everybody_knows()


# -- watching -------------------------------------------------------------------------------------------------------


def test_shard_in_memory_that_was_restarted(running: Bench, log_lines: list[str]) -> None:
    """A shard that comes back empty gets its place under the next epoch, of which the others are told."""
    epoch = running.state.epoch
    running.kill_shard("high")
    running.network.advance(10)
    assert running.conditions() == [Condition.READY, Condition.UNREACHABLE]
    running.start_shard("high")
    running.network.advance(settings.RETRY_LONGEST)
    assert running.state.epoch == epoch + 1
    assert running.everybody_knows()
    assert about(log_lines, "high") == [
        "info: shard high at 127.0.0.1:5051: ready",
        "warn: shard high at 127.0.0.1:5051: unreachable: the connection was closed",
        "warn: shard high at 127.0.0.1:5051: unreachable: connection refused",
        "info: shard high at 127.0.0.1:5051: ready",
    ]


def test_shard_that_comes_back_with_its_data(bench: Bench) -> None:
    """A shard that comes back with its store goes on under the same epoch."""
    store = DurableStore("durable", bench.clock.seconds)
    bench.start_shard("high", store)
    bench.start(["low", "bootstrap"], 1)
    before = bench.state
    bench.kill_shard("high")
    bench.network.advance(10)
    bench.start_shard("high", store)
    bench.network.advance(2)
    assert bench.state is before
    assert bench.everybody_knows()
    assert bench.conditions() == [Condition.READY, Condition.READY]


def test_shard_that_forgot_its_place(bench: Bench) -> None:
    """A shard that comes back with its store, but doesn't know its place any more, is told again."""
    store = DurableStore("durable", bench.clock.seconds)
    bench.start_shard("high", store)
    bench.start(["low", "bootstrap"], 1)
    before = bench.state
    bench.kill_shard("high")
    store._remembered = None
    bench.start_shard("high", store)
    bench.network.advance(2)
    assert bench.everybody_knows()
    assert bench.state is before


def test_present_reason(running: Bench) -> None:
    """What is told of a shard is why it isn't ready now, not why it wasn't before."""
    running.network.silence(*HIGH)
    running.network.advance(6.1)
    assert running.detail("high") == "no answer to Ping within 5 s"
    running.kill_shard("high")
    running.network.unsilence(*HIGH)
    running.network.advance(10)
    assert running.detail("high") == "connection refused"


def test_refused_shard_that_goes(bench: Bench) -> None:
    """A shard that was refused and is gone now is unreachable."""
    bench.start_shard("high", DurableStore("durable", bench.clock.seconds))
    bench.start(["low", "bootstrap"], 1)
    bench.kill_shard("high")
    bench.start_shard("high", DurableStore("other", bench.clock.seconds))
    bench.network.advance(10)
    assert bench.conditions() == [Condition.READY, Condition.REFUSED]
    bench.kill_shard("high")
    bench.network.advance(10)
    assert bench.conditions() == [Condition.READY, Condition.UNREACHABLE]
    assert bench.detail("high") == "connection refused"


def test_connection_that_breaks(running: Bench) -> None:
    """A shard whose connection broke is found again at once; it is the same one, and nothing changes."""
    before = running.state
    running.network.cut(*HIGH)
    running.network.settle()
    assert running.conditions() == [Condition.READY, Condition.UNREACHABLE]
    running.network.advance(settings.RETRY_FIRST)
    assert running.conditions() == [Condition.READY, Condition.READY]
    assert running.state is before


def test_shard_that_fell_silent(running: Bench, log_lines: list[str]) -> None:
    """A shard that answers nothing any more, on a connection that stands, is noticed by the next look at it."""
    running.network.silence(*HIGH)
    running.network.advance(settings.WATCH_INTERVAL + settings.TIMEOUT + 0.1)
    assert running.conditions() == [Condition.READY, Condition.UNREACHABLE]
    assert running.detail("high") == "no answer to Ping within 5 s"
    running.network.unsilence(*HIGH)
    running.network.advance(1)
    assert running.conditions() == [Condition.READY, Condition.READY]
    assert about(log_lines, "high")[1:] == [
        "warn: shard high at 127.0.0.1:5051: unreachable: no answer to Ping within 5 s",
        "info: shard high at 127.0.0.1:5051: ready",
    ]


@pytest.mark.parametrize("cuts", [0, 5])
def test_looks_are_regular(bench: Bench, monkeypatch: pytest.MonkeyPatch, cuts: int) -> None:
    """Each shard is asked once a second whether it is there, also after its connection broke some times."""
    pings: list[ShardProtocol] = []

    def ping(self: ShardProtocol) -> dict[str, object]:
        pings.append(self)
        return {}

    monkeypatch.setattr(ShardProtocol, "ping", ping)
    bench.running()
    for _ in range(cuts):
        bench.network.cut(*HIGH)
        bench.network.cut(*LOW)
        bench.network.advance(0.1)
    pings.clear()
    bench.network.advance(10)
    assert len(pings) == 20


# -- telling --------------------------------------------------------------------------------------------------------


def test_change(running: Bench) -> None:
    """Every change is told to every shard at once."""
    for name in ("pages", "links"):
        running.bootstrap.change(running.state.with_index(name))
        running.network.settle()
        assert running.everybody_knows()
    running.bootstrap.change(running.state.without_index("pages"))
    running.network.settle()
    assert running.everybody_knows()


def test_change_while_a_shard_is_away(running: Bench) -> None:
    """A shard that was away during changes is told when it is back."""
    running.network.cut(*HIGH)
    running.network.settle()
    running.bootstrap.change(running.state.with_index("pages"))
    running.network.settle()
    assert not running.everybody_knows()
    running.network.advance(1)
    assert running.everybody_knows()


def test_changes_during_a_push(running: Bench) -> None:
    """What changes while a shard is being told is told right after."""
    running.network.silence(*HIGH)
    for number in range(5):
        running.bootstrap.change(running.state.with_index(f"index{number}"))
        running.network.advance(0.1)
    settling = running.settle()
    assert not settling.called
    running.network.unsilence(*HIGH)
    running.network.settle()
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
        running.bootstrap.change(running.state.with_index(f"index{number}"))
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
    running.bootstrap.change(running.state.with_index("pages"))
    settling = running.settle()
    running.network.advance(2)
    assert not settling.called
    running.network.unsilence(*HIGH)
    running.network.settle()
    assert result(settling) is None
    assert running.everybody_knows()


def test_settled_without_a_shard_that_is_down(running: Bench) -> None:
    """A shard that is down isn't waited for."""
    running.kill_shard("high")
    running.network.advance(10)
    running.bootstrap.change(running.state.with_index("pages"))
    assert result(running.settle()) is None
    assert running.shards["low"].shard.assignment == Assignment("low", running.state)


def test_settled_without_a_silent_shard(running: Bench) -> None:
    """A shard that doesn't answer is waited for as long as one answer may take, then taken for unreachable."""
    running.network.silence(*HIGH)
    running.bootstrap.change(running.state.with_index("pages"))
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
    running.bootstrap.change(running.state.with_index("pages"))
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
    running.bootstrap.change(running.state.with_index("links"))
    assert result(running.settle()) is None
    assert running.everybody_knows()


def test_settled_without_a_shard_that_refuses(running: Bench) -> None:
    """A shard that refuses the state isn't waited for."""
    result(running.shards["high"].shard.configure("high", attrs.evolve(running.state, epoch=100)))
    running.bootstrap.change(running.state.with_index("pages"))
    assert result(running.settle()) is None


# -- ending ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", [False, True])
def test_stop(running: Bench, silent: bool) -> None:
    """A bootstrap that stops lets go of everything, and says nothing more; the shards go on."""
    if silent:
        running.network.silence(*HIGH)
        running.bootstrap.change(running.state.with_index("pages"))
    before = running.conditions()
    service = running.service
    assert service is not None
    assert ("localhost", 9192) in running.network.listeners
    stopping: Deferred[object] = service.stopService()
    running.network.advance(0.1)
    result(stopping)
    assert running.conditions() == before
    assert [one.running for one in (service, *service.services)] == [0] * 4
    assert ("localhost", 9192) not in running.network.listeners
    running.network.unsilence(*HIGH)
    running.network.advance(100)
    assert running.conditions() == before
    assert running.told()[0] is not None
    for shard in running.shards.values():
        shard.stopService()
    assert running.clock.getDelayedCalls() == []


def test_stop_while_waiting_for_a_shard(bench: Bench) -> None:
    """A bootstrap that waits for its shards can be stopped too."""
    service = bench.start_bootstrap()
    bench.network.advance(10)
    stopping: Deferred[object] = service.stopService()
    bench.network.advance(10)
    result(stopping)
    assert bench.clock.getDelayedCalls() == []


def test_next_bootstrap(running: Bench) -> None:
    """A bootstrap that takes over with the saved state finds its shards, and changes nothing."""
    assert running.service is not None
    stopping: Deferred[object] = running.service.stopService()
    running.network.advance(10)
    result(stopping)
    before = running.state
    running.bootstrap = Bootstrap(running.saved[-1], running._save)
    running.start_bootstrap()
    running.network.advance(1)
    assert running.state == before
    assert running.conditions() == [Condition.READY, Condition.READY]
    running.bootstrap.change(running.state.with_index("pages"))
    running.network.settle()
    assert running.everybody_knows()
