"""The bootstrap over its protocol: what each command takes and answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bootstrap.states import STATE, Log
from deferreds import change_state, result, watch
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock

from pyshard.bootstrap.bootstrap import Condition
from pyshard.bootstrap.config_application import ConfigApplication
from pyshard.bootstrap.group_driver import GroupDriver
from pyshard.bootstrap.move_driver import MoveDriver
from pyshard.bootstrap.protocol import BootstrapProtocol
from pyshard.bootstrap.replica_changes import ReplicaChanges
from pyshard.errors import ConfigError, IndexExists, IndexNotFound, InvalidIndexName, PyshardError
from pyshard.model import cluster_state_json
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.error_answers import UnknownCommand
from pyshard.server.factory import ServerFactory
from pyshard.testing import MemoryNetwork


class Bench(Log):
    """A bootstrap that answers a peer."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.settling: Deferred[None] = succeed(None)
        driver = MoveDriver(self.bootstrap, self.clock, lambda _: None)
        groups = GroupDriver(self.bootstrap, self.clock, lambda _name, _address: None)
        replicas = ReplicaChanges(self.bootstrap, self.clock, groups, lambda _name, _address: None)
        application = ConfigApplication(self.bootstrap, self.clock, lambda _: None)
        self.factory = ServerFactory(
            lambda made: BootstrapProtocol(
                self.bootstrap, lambda: self.settling, application, driver, replicas, made, self.clock
            ),
            self.clock,
        )
        self.network.listen("localhost", 9192).listen(self.factory)
        self.peer = BoundedAMP(self.clock)
        result(self.network.dial("localhost", 9192).connect(Factory.forProtocol(lambda: self.peer)))

    def ask(self, command: type[Command], **arguments: object) -> Deferred[dict[str, Any]]:
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
    assert result(bench.ask(commands.Hello, protocol=2)) == {
        "protocol": 2,
        "role": "bootstrap",
        "identity": "",
        "incarnation": "",
        "cluster": "c1",
        "name": "",
        "epoch": 7,
        "ephemeral": False,
        "connection": "c1",
    }


def test_ping_and_map(bench: Bench) -> None:
    """It is there, and gives the newest state."""
    assert result(bench.ask(commands.Ping)) == {}
    assert cluster_state_json.from_json(result(bench.ask(commands.GetMap))["state"]) == STATE
    change_state(bench.bootstrap, STATE.with_index("links"))
    assert cluster_state_json.from_json(result(bench.ask(commands.GetMap))["state"]) == STATE.with_index("links")


def test_readiness_as_json(bench: Bench) -> None:
    """It tells how ready each shard is."""
    bench.bootstrap.set_readiness("low", Condition.READY)
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


def test_time_of_changes(bench: Bench) -> None:
    """What a change takes counts for the peer's address, which waits beside others who ask for less."""
    (changer,) = bench.factory.connections
    other = bench.factory.buildProtocol(IPv4Address("TCP", "192.0.2.9", 1))
    assert isinstance(changer, BootstrapProtocol)
    assert isinstance(other, BootstrapProtocol)
    changer.count_elsewhere(0.002)
    assert changer.debt == 0  # nobody else asks
    for _ in range(100):
        other.count_elsewhere(0.0001)
    bench.clock.advance(0.003)  # what others use is looked at every few milliseconds
    changer.count_elsewhere(0.002)
    assert 0 < changer.debt < 0.02
    assert other.debt == 0
    bench.clock.advance(0.02)
    assert changer.debt == 0


def test_change_is_answered_when_the_shards_have_it(bench: Bench) -> None:
    """The answer comes when everybody in reach was told, with the epoch of the change."""
    settling: Deferred[None] = Deferred()
    bench.settling = settling
    asked = bench.ask(commands.CreateIndex, name="links")
    assert bench.bootstrap.state.epoch == 8
    assert not asked.called
    change_state(bench.bootstrap, bench.bootstrap.state.with_index("more"))
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
def test_changes_refused(bench: Bench, command: type[Command], name: str, error: type[PyshardError]) -> None:
    """What can't be changed is refused, and nothing changes."""
    with pytest.raises(PyshardError) as refused:
        result(bench.ask(command, name=name))
    assert type(refused.value) is error
    assert (bench.bootstrap.state, bench.done) == (STATE, [])


def test_change_that_cannot_be_saved_is_refused(bench: Bench) -> None:
    """The caller hears that the state can't be saved."""
    bench.store.away = ConfigError("the disk is full")
    with pytest.raises(ConfigError, match="the disk is full"):
        result(bench.ask(commands.CreateIndex, name="links"))
    assert bench.bootstrap.state == STATE


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (commands.Configure, {"name": "low", "state": b""}),
        (commands.Apply, {"epoch": 1, "batch": b"\x90"}),
        (commands.Keys, {"epoch": 1, "index": "", "slot": 0}),
        (commands.Count, {"epoch": 1, "index": "", "slot": 0}),
    ],
)
def test_commands_of_shards(bench: Bench, command: type[Command], arguments: dict[str, object]) -> None:
    """A bootstrap doesn't answer what only a shard can."""
    with pytest.raises(UnknownCommand):
        result(bench.ask(command, **arguments))
    assert result(bench.ask(commands.Ping)) == {}


def test_whose_changes_wait(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes that a peer asks for wait in its own line, and the next connection of its session waits for them."""
    asked: list[object] = []
    pending: Deferred[None] = Deferred()

    def change(decide: object, within: float = 5.0, asker: object = None) -> Deferred[None]:
        asked.append(asker)
        return pending

    monkeypatch.setattr(bench.bootstrap.changes, "change", change)
    bench.ask(commands.CreateIndex, name="a")
    bench.ask(commands.DropIndex, name="a")
    bench.ask(commands.ChangeMove, number=1, change="pause")
    (own,) = set(asked)
    assert isinstance(own, BootstrapProtocol)
    assert len(asked) == 3
    fenced = watch(own.changes.done())
    assert fenced == []
    pending.callback(None)
    assert fenced == [None]
