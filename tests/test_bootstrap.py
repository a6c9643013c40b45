"""What the bootstrap does, without a network: whom it takes for a shard, and how it changes the cluster's state."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from deferreds import result
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols import amp

from pyshard import cluster, commands
from pyshard.bootstrap.bootstrap import Bootstrap, Condition, ShardReadiness, first_state, judge
from pyshard.bootstrap.protocol import BootstrapProtocol
from pyshard.cluster import ClusterState
from pyshard.errors import (
    ConfigError,
    ForeignCluster,
    IndexExists,
    IndexNotFound,
    InvalidIndexName,
    PyshardError,
    StaleEpoch,
    WrongIdentity,
)
from pyshard.hashing import SLOTS
from pyshard.peer import Greeting
from pyshard.server.factory import ServerFactory
from pyshard.shardmap import ShardMap, ShardRange
from pyshard.testing import MemoryNetwork
from pyshard.wire.connection import BoundedAMP

HALF = SLOTS // 2
LOW = ShardRange("low", 0, HALF, 1000, "10.0.0.1", 5050, identity="1d")
HIGH = ShardRange("high", HALF, SLOTS, 1000, "10.0.0.2", 5051, identity="2e")
STATE = ClusterState("c1", 7, ShardMap([LOW, HIGH]), {"pages": 1}, 2)

#: What shard low says when all is well.
GREETING = Greeting(1, "shard", "1d", "c1", "low", 7, True, "c1")

#: What a shard says that was just started with nothing.
EMPTY = attrs.evolve(GREETING, identity="3f", cluster="", name="", epoch=0)


def with_low(**changes: Any) -> ClusterState:
    """`STATE`, in which low is another one."""
    return attrs.evolve(STATE, map=ShardMap([attrs.evolve(LOW, **changes), HIGH]))


def judged(state: ClusterState, greeting: Greeting) -> ClusterState:
    """The judgement on who answers at low's address."""
    own = state.map.named("low")
    assert own is not None
    return judge(state, own, greeting)


# -- judge ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "greeting"),
    [
        pytest.param(STATE, GREETING, id="all is well"),
        pytest.param(STATE, attrs.evolve(GREETING, epoch=3), id="it is behind"),
        pytest.param(
            STATE, attrs.evolve(GREETING, cluster="", name="", epoch=0), id="it kept its store, not its assignment"
        ),
        pytest.param(with_low(durable=True), attrs.evolve(GREETING, ephemeral=False), id="a durable one"),
        pytest.param(
            with_low(durable=True),
            attrs.evolve(GREETING, ephemeral=False, cluster="", name="", epoch=0),
            id="a durable one that kept its store",
        ),
    ],
)
def test_known_store(state: ClusterState, greeting: Greeting) -> None:
    """The store that the map names gets the state as it is."""
    assert judged(state, greeting) is state


@pytest.mark.parametrize(
    ("state", "greeting", "durable"),
    [
        pytest.param(with_low(identity=""), EMPTY, False, id="the first, in memory"),
        pytest.param(with_low(identity=""), attrs.evolve(EMPTY, ephemeral=False), True, id="the first, durable"),
        pytest.param(
            with_low(identity=""),
            attrs.evolve(GREETING, identity="3f"),
            False,
            id="one of this cluster whose identity the state has lost",
        ),
        pytest.param(STATE, EMPTY, False, id="in memory, started again"),
        pytest.param(STATE, attrs.evolve(EMPTY, ephemeral=False), True, id="durable, in place of one in memory"),
    ],
)
def test_new_store(state: ClusterState, greeting: Greeting, durable: bool) -> None:
    """A store that may take the place makes the next state, which names it; nothing else changes."""
    own = state.map.ranges[0]
    assert judged(state, greeting) == attrs.evolve(
        state, epoch=8, map=ShardMap([attrs.evolve(own, identity="3f", durable=durable), HIGH])
    )


@pytest.mark.parametrize(
    ("state", "greeting", "error", "message"),
    [
        pytest.param(
            STATE,
            attrs.evolve(GREETING, role="bootstrap"),
            WrongIdentity,
            "a bootstrap answers at 10.0.0.1:5050, where shard 'low' should be",
            id="no shard",
        ),
        pytest.param(
            STATE,
            attrs.evolve(GREETING, cluster="c2", name="theirs"),
            ForeignCluster,
            "the shard at 10.0.0.1:5050 belongs to another cluster (c2, as 'theirs'); this one is c1. Correct the "
            "address, or restart that shard empty",
            id="another cluster",
        ),
        pytest.param(
            with_low(identity=""),
            attrs.evolve(GREETING, cluster="c2"),
            ForeignCluster,
            "the shard at 10.0.0.1:5050 belongs to another cluster (c2, as 'low'); this one is c1. Correct the "
            "address, or restart that shard empty",
            id="another cluster, before this one's first shard",
        ),
        pytest.param(
            STATE,
            attrs.evolve(GREETING, name="high"),
            WrongIdentity,
            "shard 'high' answers at 10.0.0.1:5050, where shard 'low' should be",
            id="another name",
        ),
        pytest.param(
            STATE,
            attrs.evolve(GREETING, identity="2e", name="", cluster="", epoch=0),
            WrongIdentity,
            "the shard at 10.0.0.1:5050 is 'high' at 10.0.0.2:5051 already; give 'low' an address of its own",
            id="another shard of this cluster",
        ),
        pytest.param(
            STATE,
            attrs.evolve(GREETING, epoch=8),
            StaleEpoch,
            "shard 'low' knows epoch 8 and this bootstrap 7; restore the bootstrap's newest state file",
            id="it knows more",
        ),
        pytest.param(
            with_low(durable=True),
            EMPTY,
            WrongIdentity,
            "the store at 10.0.0.1:5050 is 3f, but the documents of shard 'low' are in store 1d; "
            "start the shard with its own data",
            id="it lost its durable data",
        ),
        pytest.param(
            with_low(durable=True),
            attrs.evolve(EMPTY, ephemeral=False),
            WrongIdentity,
            "the store at 10.0.0.1:5050 is 3f, but the documents of shard 'low' are in store 1d; "
            "start the shard with its own data",
            id="it lost its durable data and began anew",
        ),
        pytest.param(
            STATE,
            attrs.evolve(GREETING, identity="3f"),
            WrongIdentity,
            "the store at 10.0.0.1:5050 is 3f, but the documents of shard 'low' are in store 1d; "
            "start the shard with its own data",
            id="two of them",
        ),
    ],
)
def test_refused(state: ClusterState, greeting: Greeting, error: type[PyshardError], message: str) -> None:
    """Who may not take the place is refused; the message says who is there, who should be, and what to do."""
    with pytest.raises(PyshardError) as refused:
        judged(state, greeting)
    assert (type(refused.value), str(refused.value)) == (error, message)


def test_first_state() -> None:
    """A new cluster is at epoch 1 and has no index but the default one."""
    configured = ShardMap([attrs.evolve(LOW, identity=""), attrs.evolve(HIGH, identity="")])
    assert first_state("c1", configured) == ClusterState("c1", 1, configured, {}, 1)


# -- changes --------------------------------------------------------------------------------------------------------


class Log:
    """A bootstrap, and what it did in which order."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []
        self.full = False
        self.bootstrap = Bootstrap(STATE, self._save)
        self.bootstrap.on_change(lambda: self.done.append(("heard", self.bootstrap.state.epoch)))

    def _save(self, state: ClusterState) -> None:
        if self.full:
            raise ConfigError("the disk is full")
        assert self.bootstrap.state.epoch < state.epoch, "it is saved before it holds"
        self.done.append(("saved", state.epoch))


def test_change() -> None:
    """A change is saved first; then it holds, and everybody hears of it."""
    log = Log()
    log.bootstrap.on_change(lambda: log.done.append(("heard too", log.bootstrap.state.epoch)))
    log.bootstrap.change(STATE.with_index("links"))
    assert log.bootstrap.state == STATE.with_index("links")
    assert log.done == [("saved", 8), ("heard", 8), ("heard too", 8)]


def test_change_to_the_same() -> None:
    """What is no change is neither saved nor told."""
    log = Log()
    log.bootstrap.change(attrs.evolve(STATE))
    assert log.done == []


def test_change_that_cannot_be_saved() -> None:
    """A change that can't be saved doesn't hold, and nobody hears of it."""
    log = Log()
    log.full = True
    with pytest.raises(ConfigError, match="the disk is full"):
        log.bootstrap.change(STATE.with_index("links"))
    assert (log.bootstrap.state, log.done) == (STATE, [])
    log.full = False
    log.bootstrap.change(STATE.with_index("links"))
    assert log.done == [("saved", 8), ("heard", 8)]


# -- readiness ------------------------------------------------------------------------------------------------------


def test_readiness() -> None:
    """It knows of each shard, in slot order, how ready it is; none was reached at first."""
    bootstrap = Log().bootstrap
    none = "not reached yet"
    assert bootstrap.readiness() == [
        ShardReadiness("low", "10.0.0.1:5050", Condition.UNREACHABLE, none),
        ShardReadiness("high", "10.0.0.2:5051", Condition.UNREACHABLE, none),
    ]
    bootstrap.report("high", Condition.READY)
    bootstrap.report("low", Condition.REFUSED, "another cluster's")
    assert [one.described() for one in bootstrap.readiness()] == [
        {"name": "low", "address": "10.0.0.1:5050", "state": "refused", "detail": "another cluster's"},
        {"name": "high", "address": "10.0.0.2:5051", "state": "ready", "detail": ""},
    ]


def test_news() -> None:
    """A report is news when the condition or the reason is another one than before."""
    bootstrap = Log().bootstrap
    reports = [
        (Condition.UNREACHABLE, "connection refused"),
        (Condition.UNREACHABLE, "connection refused"),
        (Condition.UNREACHABLE, "no answer"),
        (Condition.REFUSED, "no answer"),
        (Condition.READY, ""),
        (Condition.READY, ""),
        (Condition.UNREACHABLE, "connection refused"),
    ]
    news = [bootstrap.report("low", *report) for report in reports]
    assert news == [True, False, True, True, True, False, True]
    assert bootstrap.report("high", Condition.UNREACHABLE, "connection refused")


# -- over the protocol ----------------------------------------------------------------------------------------------


class Bench(Log):
    """A bootstrap that answers a peer."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.settling: Deferred[None] = succeed(None)
        factory = ServerFactory(lambda made: BootstrapProtocol(self.bootstrap, lambda: self.settling, made, self.clock))
        self.network.listen("localhost", 9192).listen(factory)
        self.peer = BoundedAMP(self.clock)
        result(self.network.dial("localhost", 9192).connect(Factory.forProtocol(lambda: self.peer)))

    def ask(self, command: type[amp.Command], **arguments: object) -> Deferred[dict[str, Any]]:
        """Ask, and let it arrive."""
        asked = self.peer.call(command, 5, **arguments)
        self.network.settle()
        return asked


@pytest.fixture
def bench() -> Bench:
    """A bootstrap and a peer of it."""
    return Bench()


def test_hello(bench: Bench) -> None:
    """It says that it is a bootstrap, of which cluster, and how new its state is."""
    assert result(bench.ask(commands.Hello, protocol=1)) == {
        "protocol": 1,
        "role": "bootstrap",
        "identity": "",
        "cluster": "c1",
        "name": "",
        "epoch": 7,
        "ephemeral": False,
        "connection": "c1",
    }


def test_ping_and_map(bench: Bench) -> None:
    """It is there, and gives the newest state."""
    assert result(bench.ask(commands.Ping)) == {}
    assert cluster.from_json(result(bench.ask(commands.GetMap))["state"]) == STATE
    bench.bootstrap.change(STATE.with_index("links"))
    assert cluster.from_json(result(bench.ask(commands.GetMap))["state"]) == STATE.with_index("links")


def test_readiness_as_json(bench: Bench) -> None:
    """It tells how ready each shard is."""
    bench.bootstrap.report("low", Condition.READY)
    assert json.loads(result(bench.ask(commands.Readiness))["shards"]) == [
        {"name": "low", "address": "10.0.0.1:5050", "state": "ready", "detail": ""},
        {"name": "high", "address": "10.0.0.2:5051", "state": "unreachable", "detail": "not reached yet"},
    ]


def test_create_and_drop_index(bench: Bench) -> None:
    """Each makes the next state, which is saved, and answers with its epoch."""
    assert result(bench.ask(commands.CreateIndex, name="links")) == {"epoch": 8}
    assert bench.bootstrap.state == STATE.with_index("links")
    assert result(bench.ask(commands.DropIndex, name="pages")) == {"epoch": 9}
    assert dict(bench.bootstrap.state.indexes) == {"links": 2}
    assert bench.done == [("saved", 8), ("heard", 8), ("saved", 9), ("heard", 9)]


def test_change_is_answered_when_the_shards_have_it(bench: Bench) -> None:
    """The answer comes when everybody in reach was told, with the epoch of the change."""
    settling: Deferred[None] = Deferred()
    bench.settling = settling
    asked = bench.ask(commands.CreateIndex, name="links")
    assert bench.bootstrap.state.epoch == 8
    assert not asked.called
    bench.bootstrap.change(bench.bootstrap.state.with_index("more"))
    settling.callback(None)
    bench.network.settle()
    assert result(asked) == {"epoch": 8}


@pytest.mark.parametrize(
    ("command", "name", "error"),
    [
        (commands.CreateIndex, "pages", IndexExists),
        (commands.CreateIndex, "", InvalidIndexName),
        (commands.CreateIndex, "a:b", InvalidIndexName),
        (commands.CreateIndex, "n" * 60_000, InvalidIndexName),
        (commands.DropIndex, "links", IndexNotFound),
        (commands.DropIndex, "", IndexNotFound),
    ],
)
def test_changes_refused(bench: Bench, command: type[amp.Command], name: str, error: type[PyshardError]) -> None:
    """What can't be changed is refused, and nothing changes."""
    with pytest.raises(PyshardError) as refused:
        result(bench.ask(command, name=name))
    assert type(refused.value) is error
    assert (bench.bootstrap.state, bench.done) == (STATE, [])


def test_change_that_cannot_be_saved_is_refused(bench: Bench) -> None:
    """The caller hears that the state can't be saved."""
    bench.full = True
    with pytest.raises(ConfigError, match="the disk is full"):
        result(bench.ask(commands.CreateIndex, name="links"))
    assert bench.bootstrap.state == STATE


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (commands.Configure, {"name": "low", "state": b""}),
        (commands.Apply, {"epoch": 1, "batch": b"\x90"}),
        (commands.Keys, {"epoch": 1, "index": "", "slot": 0}),
        (commands.Stat, {}),
    ],
)
def test_commands_of_shards(bench: Bench, command: type[amp.Command], arguments: dict[str, object]) -> None:
    """A bootstrap doesn't answer what only a shard can."""
    with pytest.raises(amp.UnhandledCommand):
        result(bench.ask(command, **arguments))
    assert result(bench.ask(commands.Ping)) == {}
