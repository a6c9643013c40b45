"""What a daemon holds for all its peers together is bounded: the address that has it hold most makes room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols import amp

from pyshard.net.command_connection import Responder
from pyshard.protocol.boxes import Box
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.commands import GetMap, Ping
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory
from pyshard.server.held_bytes_limit import HeldBytes
from pyshard.settings import settings

MOST = 1_000_000


class Transport(StringTransport):
    """Pauses its producer while the peer doesn't read, as those of a reactor do."""

    reads = True

    def write(self, data: bytes) -> None:
        super().write(data)
        if not self.reads and isinstance(self.producer, ServerConnection):
            self.producer.pauseProducing()

    def read(self) -> None:
        """Have the peer read everything."""
        self.reads = True
        assert isinstance(self.producer, ServerConnection)
        self.producer.resumeProducing()


class Daemon(ServerConnection):
    """A daemon's side, which has a long answer, by either way to answer."""

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        return [(Ping, cls.ping), (GetMap, lambda _: {"state": b"x" * 200_000})]


class Bench:
    """A daemon that may hold a million bytes, and its connections."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.factory = ServerFactory(lambda made: Daemon(made, self.clock), self.clock)
        self.factory.held = HeldBytes(MOST)
        self.sides: list[ServerConnection] = []
        self.transports: list[Transport] = []

    def connect(self, address: IAddress | None = None) -> ServerConnection:
        """A new connection."""
        side = self.factory.buildProtocol(address)
        assert side is not None
        self.sides.append(side)
        self.transports.append(Transport())
        side.makeConnection(self.transports[-1])
        return side

    def ended(self) -> list[int]:
        """The places of those connections that were ended."""
        return [place for place, one in enumerate(self.transports) if one.disconnecting]


def box(command: bytes, size: int = 0) -> bytes:
    """A call on the wire, with so many bytes that nobody wants."""
    pairs: Box = {b"_command": command, b"_ask": b"1"}
    for number in range(0, size, 50_000):
        pairs[b"%d" % number] = b"x" * 50_000
    serialized: bytes = amp.AmpBox(pairs).serialize()
    return serialized


def send(side: ServerConnection, data: bytes) -> None:
    """Have a peer send something, a little at a time."""
    for at in range(0, len(data), 10_000):
        side.dataReceived(data[at : at + 10_000])


@pytest.fixture
def bench() -> Bench:
    """A daemon."""
    return Bench()


def test_default() -> None:
    """Without anything else it is the settings' number."""
    assert ServerFactory(lambda made: Daemon(made, Clock()), Clock()).held._most == settings.HELD_BYTES


def test_boxes_that_were_begun(bench: Bench, log_lines: list[str]) -> None:
    """Unfinished boxes of many peers together end those that began first; others finish theirs."""
    begun = box(b"Ping", 250_000)
    for _ in range(3):
        send(bench.connect(), begun[:-10])
    assert (bench.ended(), 750_000 < bench.factory.held.total <= MOST) == ([], True)
    send(bench.connect(), begun[:-10])
    assert bench.ended() == [0]
    assert "cut off, this daemon holds too much for all peers together" in log_lines[-1]
    for side in bench.sides[1:]:
        side.dataReceived(begun[-10:])
    assert bench.factory.held.total == 0
    assert bench.ended() == [0]
    assert [len(amp.parseString(one.value())) for one in bench.transports[1:]] == [1, 1, 1]


def test_a_box_in_many_pieces(bench: Bench) -> None:
    """It counts as what it is: growing, and gone when it is whole."""
    side, begun = bench.connect(), box(b"Ping", 900_000)
    sizes = []
    for at in range(0, len(begun), 10_000):
        side.dataReceived(begun[at : at + 10_000])
        sizes.append(bench.factory.held.total)
    assert sizes[:-1] == sorted(sizes[:-1])
    assert 850_000 < sizes[-2] <= MOST
    assert (sizes[-1], bench.ended()) == (0, [])


def test_answers_that_are_not_read(bench: Bench) -> None:
    """So do answers that peers don't read; who reads them is held nothing for any more."""
    for _ in range(4):
        side = bench.connect()
        bench.transports[-1].reads = False
        side.dataReceived(box(b"GetMap"))
    assert (bench.ended(), 800_000 <= bench.factory.held.total <= MOST) == ([], True)
    bench.transports[0].read()
    assert 600_000 <= bench.factory.held.total < 800_000
    for _ in range(2):
        side = bench.connect()
        bench.transports[-1].reads = False
        side.dataReceived(box(b"GetMap"))
    assert bench.ended() == [1]


def test_who_is_gone(bench: Bench) -> None:
    """Nothing is held for a connection that has ended."""
    side = bench.connect()
    side.dataReceived(box(b"Ping", 300_000)[:-10])
    assert bench.factory.held.total > 300_000
    side.connectionLost()
    assert (bench.factory.held.total, bench.factory.held._addresses) == (0, {})


def test_small_things_are_not_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole boxes, and answers that are read, are never held."""
    side = bench.connect()
    seen: list[int] = []
    monkeypatch.setattr(bench.factory, "update_held", lambda _, size: seen.append(size))
    for _ in range(100):
        side.dataReceived(box(b"Ping") * 10)
    assert seen == []


STRANGER, HONEST = IPv4Address("TCP", "203.0.113.9", 1), IPv4Address("TCP", "198.51.100.7", 1)


def test_many_connections_of_one_address(bench: Bench) -> None:
    """However many boxes one address begins, and however late: its own connections pay, and no others."""
    honest = bench.connect(HONEST)
    document = box(b"Ping", 250_000)
    send(honest, document[:-10])  # for longest, since it began first
    for _ in range(20):
        send(bench.connect(STRANGER), document[:-10])
    assert bench.ended() == list(range(1, 19))
    honest.dataReceived(document[-10:])
    assert len(amp.parseString(bench.transports[0].value())) == 1


def test_one_network_is_one_address(bench: Bench) -> None:
    """All addresses of one IPv6 network of 64 bits count as one, as for the number of connections."""
    send(bench.connect(HONEST), box(b"Ping", 250_000)[:-10])
    for number in range(8):
        send(bench.connect(IPv6Address("TCP", f"2001:db8::{number}", 1)), box(b"Ping", 150_000)[:-10])
    assert bench.ended() == [1, 2, 3, 4]


def test_small_holders_of_a_heavy_address() -> None:
    """Of the heaviest address it is those over their share that pay, of them the one that holds for longest."""
    held: HeldBytes[str] = HeldBytes(100)
    assert [held.update(*one) for one in [("small", 5, "a"), ("old", 40, "a"), ("new", 45, "a")]] == [[], [], []]
    assert held.update("other", 20, "b") == ["old"]
    assert held.update("other", 60, "b") == ["other"]
    assert held.update("new", 200, "a") == ["new"]
    assert held.total == 5


steps = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 60)))


@given(steps, st.integers(1, 4))
def test_holdings(given: list[tuple[int, int]], addresses: int) -> None:
    """The total is never past the limit, and is the sum of what is held. Who is ended is over its share, of the
    heaviest address, and has held for longest of those."""
    holdings: HeldBytes[int] = HeldBytes(100)
    held: dict[int, int] = {}  # who has held for longest stands first
    for connection, size in given:
        held = {**held, connection: size} if size else {one: held[one] for one in held if one != connection}
        for ended in holdings.update(connection, size, f"a{connection % addresses}"):
            assert sum(held.values()) > 100
            totals = Counter[int]()
            for one in held:
                totals[one % addresses] += held[one]
            address = ended % addresses
            assert totals[address] == max(totals.values())
            siblings = [one for one in held if one % addresses == address]
            share = 100 // len(totals) // len(siblings)
            assert ended == next(one for one in siblings if held[one] > share)
            del held[ended]
        assert holdings.total == sum(held.values()) <= 100
        assert {one: size for address in holdings._addresses.values() for one, size in address.sizes.items()} == held
