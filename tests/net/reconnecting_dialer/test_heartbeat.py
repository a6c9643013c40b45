"""An outgoing connection on which nothing is heard: it is asked for a sign of life, by itself and before it is used."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest
from net.reconnecting_dialer.dialed import Owner
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock

from pyshard.net.command_connection import BoundedAMP, Responder
from pyshard.net.heartbeat import Heartbeat
from pyshard.net.reconnecting_dialer import Dialer
from pyshard.protocol import commands
from pyshard.protocol.command_boxes import Command
from pyshard.settings import settings
from pyshard.testing import MemoryNetwork

WHERE = ("127.0.0.1", 5050)


class Daemon(BoundedAMP):
    """The other side; counts what it is asked."""

    pings = 0

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        return [(commands.Hello, cls.hello), (commands.Ping, cls.ping)]

    def hello(self, protocol: int, session: bytes | None) -> object:
        return {
            "protocol": protocol,
            "role": "shard",
            "identity": "",
            "cluster": "",
            "name": "",
            "epoch": 0,
            "ephemeral": True,
            "incarnation": "2e",
            "connection": "c1",
        }

    def ping(self) -> object:
        self.pings += 1
        return {}


class Bench(Owner):
    """A dialer that is connected, and whose owner this is."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.clock.rightNow = 1_000_000.0
        self.network = MemoryNetwork(self.clock)
        self.daemons: list[Daemon] = []
        self.network.listen(*WHERE).listen(Factory.forProtocol(self._daemon))
        self.dialer = Dialer(self.clock, self.network.dial(*WHERE), self, Random(0))
        self.dialer.dial()
        self.network.settle()

    def _daemon(self) -> Daemon:
        self.daemons.append(Daemon(self.clock))
        return self.daemons[-1]

    def stop_until(self, seconds: float) -> None:
        """Have so much time pass in which this process doesn't run."""
        self.clock.rightNow += seconds


@pytest.fixture
def bench() -> Bench:
    """A peer that is connected."""
    return Bench()


def test_asked_in_silence(bench: Bench) -> None:
    """A running client that hears nothing asks now and then, so that neither side takes the other for gone."""
    bench.network.advance(settings.HEARTBEAT - 1)
    assert bench.daemons[0].pings == 0
    bench.network.advance(2)
    assert bench.daemons[0].pings == 1
    bench.network.advance(settings.HEARTBEAT * 10)
    assert bench.daemons[0].pings == 11
    assert (len(bench.ups), bench.downs) == (1, [])


def test_not_asked_where_something_is_heard(bench: Bench) -> None:
    """Where answers come, nobody needs to ask."""
    for _ in range(100):
        bench.network.advance(settings.HEARTBEAT / 3)
        assert bench.dialer.connection is not None
        bench.dialer.connection.call(commands.Hello, 5, protocol=2)
        bench.network.settle()
    assert bench.daemons[0].pings == 0


def test_gone_without_a_word(bench: Bench) -> None:
    """A connection that gives no sign of life is dropped, though nothing is under way on it, and dialed anew."""
    bench.network.strand(*WHERE)
    bench.network.advance(settings.HEARTBEAT + settings.TIMEOUT - 0.1)
    assert bench.downs == []
    bench.network.advance(1)
    assert bench.downs == ["it was silent, and gave no sign of life within 5 s"]
    assert bench.dialer.connection is bench.ups[1]


@pytest.mark.parametrize("silent", [0, settings.HEARTBEAT - 0.1])
def test_ready(bench: Bench, silent: float) -> None:
    """What was heard a moment ago can be used at once."""
    bench.stop_until(silent)
    assert bench.dialer.acquire() is bench.ups[0]
    assert len(bench.ups) == 1


@pytest.mark.parametrize("silent", [settings.HEARTBEAT, 86_400], ids=["long", "a day"])
def test_ready_after_silence(bench: Bench, silent: float) -> None:
    """What was silent for long isn't used before it has given a sign of life; whoever waits is told then, once."""
    bench.stop_until(silent)
    assert [bench.dialer.acquire(), bench.dialer.acquire()] == [None, None]
    assert len(bench.ups) == 1
    bench.network.settle()
    assert (bench.daemons[0].pings, bench.ups) == (1, [bench.ups[0]] * 2)
    assert bench.dialer.acquire() is bench.ups[0]
    bench.network.advance(settings.HEARTBEAT * 3)
    assert len(bench.ups) == 2


def test_ready_on_a_connection_that_is_gone(bench: Bench) -> None:
    """One that gives none is never used: whoever waits is told of the next one."""
    bench.network.strand(*WHERE)
    bench.stop_until(settings.HEARTBEAT)
    assert bench.dialer.acquire() is None
    bench.network.advance(settings.TIMEOUT + 0.1)
    assert bench.downs == ["it was silent, and gave no sign of life within 5 s"]
    assert bench.ups == [bench.ups[0], bench.dialer.connection]
    assert bench.dialer.acquire() is bench.dialer.connection is not bench.ups[0]


def test_ready_on_a_connection_that_the_daemon_closed(bench: Bench) -> None:
    """One that was closed while this process didn't run is found out, and another one had, at once."""
    bench.daemons[0].close()
    bench.stop_until(3600)
    assert bench.dialer.acquire() is None
    bench.network.advance(0.1)
    assert bench.downs == ["the connection was closed"]
    assert bench.ups == [bench.ups[0], bench.dialer.connection]


def test_ready_without_a_connection(bench: Bench) -> None:
    """Without a connection one is dialed."""
    bench.network.cut(*WHERE)
    bench.network.settle()
    assert bench.dialer.acquire() is None
    bench.network.advance(0.1)
    assert bench.ups == [bench.ups[0], bench.dialer.acquire()]


def test_nothing_is_left_behind(bench: Bench) -> None:
    """A peer that is closed while it waits for a sign of life leaves no call behind, and says nothing more."""
    bench.network.strand(*WHERE)
    bench.stop_until(settings.HEARTBEAT)
    bench.dialer.acquire()
    bench.dialer.close()
    bench.network.settle()
    assert bench.clock.getDelayedCalls() == []
    bench.network.advance(60)
    assert (len(bench.ups), bench.downs) == (1, [])


def test_the_daemon_may_ask(bench: Bench) -> None:
    """A client answers a daemon's `Ping`."""
    asked = bench.daemons[0].call(commands.Ping, 5)
    bench.network.settle()
    assert asked.result == {}


def test_rounding(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rest of the time to wait that is less than the clock can tell isn't waited for again and again."""
    heard = 2.3000000000000003  # 30 s later the difference is a little less than 30, and too little to be waited for
    connection, checks = bench.ups[0], list[float]()
    bench.clock.rightNow = connection.heard = heard
    heartbeat = Heartbeat(connection, bench.clock, bench.dialer)
    check = heartbeat._check

    def counted() -> None:
        checks.append(bench.clock.seconds())
        assert len(checks) < 5
        check()

    monkeypatch.setattr(heartbeat, "_check", counted)
    heartbeat._next_check.func = counted  # type: ignore[attr-defined]  # a DelayedCall
    bench.clock.advance(settings.HEARTBEAT)
    bench.clock.advance(0.01)
    assert checks == pytest.approx([heard + settings.HEARTBEAT] * 2, abs=0.01)
    heartbeat.stop()
