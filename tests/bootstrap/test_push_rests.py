"""Between what shards are told the bootstrap rests for as long as that took, while others ask."""

from __future__ import annotations

import pytest
from bootstrap.watching import Bench as Cluster
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from zope.interface import implementer

from pyshard.bootstrap.push_rests import LONGEST, PushRests


class Bench:
    """Rests by a clock that goes on while something is done."""

    def __init__(self) -> None:
        self.clock, self.asked = Clock(), True
        self.rests = PushRests(self.clock.seconds, lambda: self.asked)
        self.rests.begin()

    def work(self, seconds: float) -> object:
        """Do something that takes so long."""

        def work() -> str:
            self.clock.rightNow += seconds
            return "done"

        return self.rests.counted(work)()


def test_as_long_as_it_took() -> None:
    """All that is done counts, and what others have between counts as a rest."""
    bench = Bench()
    assert bench.work(0.002) == "done"
    assert bench.rests.left() == pytest.approx(0.002)
    bench.work(0.001)
    assert bench.rests.left() == pytest.approx(0.003), "what is done in a rest is none"
    bench.clock.rightNow += 0.002
    assert bench.rests.left() == pytest.approx(0.001)
    bench.clock.rightNow += 0.002
    assert bench.rests.left() == 0
    bench.work(0.001)
    assert bench.rests.left() == pytest.approx(0.001)


def test_nobody_asks() -> None:
    """Then nothing rests."""
    bench = Bench()
    bench.work(0.002)
    bench.asked = False
    assert bench.rests.left() == 0


def test_a_rest_ends() -> None:
    """However much shards write, the next push waits for no longer; and no longer behind that either."""
    bench = Bench()
    bench.rests.begin()
    bench.work(0.9 * LONGEST)
    assert bench.rests.left() == pytest.approx(0.1 * LONGEST)
    bench.work(0.2 * LONGEST)
    assert bench.rests.left() == 0
    bench.rests.begin()
    assert bench.rests.left() == pytest.approx(LONGEST)
    bench.clock.rightNow += LONGEST
    bench.rests.begin()
    assert bench.rests.left() == 0


class Descriptor(FileDescriptor):
    """A connection to a shard, over which each write takes a millisecond."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)  # type: ignore[arg-type]  # it is asked to write nothing
        self.clock = clock

    def doWrite(self) -> None:  # noqa: N802  # Twisted's name
        """Write something."""
        self.clock.rightNow += 0.001

    def startWriting(self) -> None:  # noqa: N802  # Twisted's name
        """The test writes."""


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Leads to a descriptor."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # Twisted's name
        """See `IStreamClientEndpoint`."""
        protocol = protocolFactory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5050))
        assert protocol is not None
        protocol.makeConnection(self.descriptor)
        return succeed(protocol)


def test_what_is_written_to_shards_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bootstrap rests behind it while anybody asks it for something."""
    cluster = Cluster()
    descriptors = {port: Descriptor(cluster.clock) for port in (5050, 5051)}
    monkeypatch.setattr(cluster.network, "dial", lambda _, port: Endpoint(descriptors[port]))
    service = cluster.start_bootstrap()
    cluster.network.advance(0.1)
    service.rests.begin()
    descriptors[5050].doWrite()
    assert service.rests.left() == 0
    service.factory.turns.count("10.0.0.1", 0.0)
    assert service.rests.left() == pytest.approx(0.001)
