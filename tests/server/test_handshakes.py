"""Handshakes of TLS in progress: they take nobody's place, and whoever has most of them pays for one more."""

from __future__ import annotations

from pathlib import Path

import pytest
from certificates import Certificates
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol.commands import Ping
from pyshard.security import tls
from pyshard.security.tls import Tls
from pyshard.server.connection import ServerConnection
from pyshard.server.connection_admission import ConnectionLimits
from pyshard.server.factory import ServerFactory
from pyshard.server.handshake_places import HandshakePlaces
from pyshard.server.listener import Listener
from pyshard.testing import MemoryNetwork

WHERE = ("127.0.0.1", 5050)
LIMITS = ConnectionLimits(total=3, address=4, strangers=3, refused=1, handshakes=4)


class HalfOpen(Protocol):
    """A peer that begins no handshake."""

    ended = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = True


class Bench:
    """A daemon that listens with TLS on a network in memory."""

    def __init__(self, certificates: Certificates) -> None:
        self.network = MemoryNetwork(Clock())
        clock = self.network.clock
        self.factory = ServerFactory(lambda made: ServerConnection(made, clock), clock, connections=LIMITS)
        listening = tls.listening(self.network.listen(*WHERE), certificates.daemon, True, clock)
        self.listener = Listener(clock, listening, self.factory)
        self.listener.startService()
        self._dial = tls.dialing(self.network.dial, Tls(certificates.ca), clock)

    def half_open(self) -> HalfOpen:
        """A peer that connects, and says nothing."""
        peer = self._made(self.network.dial(*WHERE).connect(Factory.forProtocol(HalfOpen)))
        assert isinstance(peer, HalfOpen)
        return peer

    def connect(self) -> BoundedAMP:
        """A peer that speaks TLS."""
        peer = self._made(self._dial(*WHERE).connect(Factory.forProtocol(lambda: BoundedAMP(self.network.clock))))
        assert isinstance(peer, BoundedAMP)
        return peer

    def is_served(self, peer: BoundedAMP) -> bool:
        """Whether a peer's question is answered."""
        answers: list[object] = []
        peer.call(Ping, 1000).addCallbacks(answers.append, lambda _: None)
        self.network.settle()
        return answers == [{}]

    def _made(self, connecting: Deferred[IProtocol]) -> Protocol:
        made: list[IProtocol] = []
        connecting.addCallback(made.append)
        self.network.settle()
        (peer,) = made
        assert isinstance(peer, Protocol)
        return peer


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A daemon and its network."""
    return Bench(Certificates(tmp_path))


def test_half_open_handshakes_take_nobodys_place(bench: Bench, log_lines: list[str]) -> None:
    """However many there are: who comes is served, also from the same address, and who is served stays."""
    first = bench.connect()
    half_open = [bench.half_open() for _ in range(50)]
    assert len(bench.factory.handshakes) == LIMITS.handshakes
    assert [peer.ended for peer in half_open] == [True] * 46 + [False] * 4
    for _ in range(LIMITS.total - 1):
        assert bench.is_served(bench.connect())
    assert bench.is_served(first)
    assert [line for line in log_lines if "no TLS" in line] == [
        "warn: connection c2 from 127.0.0.1:40002: no TLS: its place was needed by another connection before the "
        "handshake was complete"
    ]


def test_limits_hold_behind_the_handshake(bench: Bench) -> None:
    """A peer past the limits is told so once it can be told anything; further ones are closed."""
    peers = [bench.connect() for _ in range(LIMITS.total)]
    more = [bench.connect() for _ in range(3)]
    assert [bench.is_served(peer) for peer in peers] == [True] * LIMITS.total
    assert [peer.transport is None for peer in more] == [False, True, True]
    assert not bench.is_served(more[0])
    assert (len(bench.factory.connections), len(bench.factory.refused)) == (LIMITS.total, 1)


def test_ended_ones_give_their_places_back(bench: Bench) -> None:
    """A peer that goes away before it has said anything leaves nothing behind."""
    for _ in range(10):
        peer = bench.half_open()
        assert peer.transport is not None
        peer.transport.loseConnection()
        bench.network.settle()
    assert (len(bench.factory.handshakes), bench.factory.connections) == (0, {})


def test_stop_ends_handshakes(bench: Bench) -> None:
    """A daemon that stops leaves none behind."""
    peers = [bench.half_open() for _ in range(3)]
    stopping = bench.listener.stopService()
    bench.network.advance(0.1)
    assert stopping.called
    assert [peer.ended for peer in peers] == [True] * 3
    assert bench.network.clock.getDelayedCalls() == []


# -- who pays -------------------------------------------------------------------------------------------------------


def test_the_heaviest_address_pays() -> None:
    """An address with a few keeps them, while another one opens more and more."""
    places: HandshakePlaces[int] = HandshakePlaces(10)
    assert [places.add(number, "192.0.2.1") for number in range(3)] == [None] * 3
    assert [places.add(number, "192.0.2.2") for number in range(10, 17)] == [None] * 7
    assert [places.add(number, "192.0.2.2") for number in range(20, 30)] == [*range(10, 17), 20, 21, 22]
    assert places.add(3, "192.0.2.1") == 23
    assert sorted(places.all()) == [0, 1, 2, 3, *range(24, 30)]


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.booleans()), max_size=60))
def test_places_are_counted(steps: list[tuple[str | None, bool]]) -> None:
    """Whoever comes has a place, there are never more than may be, and nobody under its equal share pays."""
    places: HandshakePlaces[int] = HandshakePlaces(6)
    there: dict[int, str | None] = {}
    for number, (origin, comes) in enumerate(steps):
        if comes:
            there[number] = origin
            ended = places.add(number, origin)
            if ended is not None:
                own = [one for one, its in there.items() if its == there[ended]]
                assert ended == own[0] != number
                assert len(own) == max(map([*there.values()].count, there.values()))
                del there[ended]
        elif there:
            gone = next(iter(there))
            places.remove(gone, there.pop(gone))
            places.remove(gone, origin)
        assert len(places) == len(there) <= 6
        assert sorted(places.all()) == sorted(there)
