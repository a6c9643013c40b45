"""What comes over connections that a daemon dials has a share of its time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from deferreds import result
from net.ready_descriptor import Ready
from server.turns_bench import AWAY, Bench
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pyshard.server.counted_dials import counted_dial

LONG = 0.01  # seconds


@pytest.mark.parametrize("counts", [False, True])
def test_others_leave_time(counts: bool) -> None:
    """Beside an address that asks large things all the time, what the daemon has to read itself is read soon."""
    bench, waits = Bench(), list[float]()
    attacks = [bench.peer(f"attack {number}", cost=LONG, origin="attack") for number in range(4)]

    def read() -> None:
        bench.clock.rightNow += 0.0003
        bench.served.append("own")

    step = bench.turns.own(read) if counts else read
    for attack in attacks:
        attack.arrive(1_000_000)
    for _ in range(400):
        due = bench.clock.seconds()
        bench.away(AWAY)
        waits.append(bench.clock.seconds() - due)
        step()
    attacked = sum(name.startswith("attack") for name in bench.served[-300:]) / 300
    assert (sum(waits[100:]) / 300 < 0.3 * LONG) is counts
    assert (attacked < 0.4) is counts
    assert any(name.startswith("attack") for name in bench.served[-100:])


def test_alone_it_costs_nothing() -> None:
    """Nobody else's boxes wait then."""
    bench = Bench()
    for _ in range(100):
        assert bench.turns.own(lambda: "read")() == "read"
        bench.away(AWAY)
    assert not bench.turns.contended


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Leads to a descriptor, or fails."""

    def __init__(self, transport: Ready | None) -> None:
        self.transport = transport

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # Twisted's name
        """See `IStreamClientEndpoint`."""
        if self.transport is None:
            return fail(ConnectionRefusedError())
        protocol = Protocol()
        protocol.transport = self.transport  # as much of one as is needed
        return succeed(protocol)


def test_reads_are_counted() -> None:
    """Of each connection over a dialed endpoint; how dialing fails is told as ever."""
    reactor, calls = EPollReactor(), list[str]()

    def count(work: Callable[[], object]) -> Callable[[], object]:
        def counted() -> object:
            calls.append("counted")
            return work()

        return counted

    ready = Ready(reactor, lambda: calls.append("read"))
    dial = counted_dial(lambda host, port: Endpoint(ready if (host, port) == ("h", 1) else None), count)
    assert isinstance(result(dial("h", 1).connect(Factory())), Protocol)
    ready.theirs.send(b"x")
    reactor.doIteration(1)
    assert calls == ["counted", "read"]
    with pytest.raises(ConnectionRefusedError):
        result(dial("h", 2).connect(Factory()))
    ready.stopReading()
    ready.connectionLost(Failure(ConnectionDone()))
