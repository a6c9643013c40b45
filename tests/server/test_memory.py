"""What a daemon holds for all its peers together is bounded: who has it hold something for longest makes room."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols import amp

from pyshard.protocol.boxes import Box
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

    def responders(self) -> Iterable[tuple[type[amp.Command], Callable[..., object]]]:
        return [(Ping, self.ping), (GetMap, lambda: {"state": b"x" * 200_000})]


class Bench:
    """A daemon that may hold a million bytes, and its connections."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.factory = ServerFactory(lambda made: Daemon(made, self.clock))
        self.factory.held = HeldBytes(MOST)
        self.sides: list[ServerConnection] = []
        self.transports: list[Transport] = []

    def connect(self) -> ServerConnection:
        """A new connection."""
        side = self.factory.buildProtocol(None)
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
    assert ServerFactory(lambda made: Daemon(made, Clock())).held._most == settings.HELD_BYTES


def test_boxes_that_were_begun(bench: Bench, log_lines: list[str]) -> None:
    """Unfinished boxes of many peers together end those that began first; others finish theirs."""
    begun = box(b"Ping", 250_000)
    for _ in range(3):
        send(bench.connect(), begun[:-10])
    assert (bench.ended(), 750_000 < bench.factory.held.total <= MOST) == ([], True)
    send(bench.connect(), begun[:-10])
    assert bench.ended() == [0]
    assert "cut off, it has this daemon hold bytes for longer than any other" in log_lines[-1]
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
    assert (bench.factory.held.total, bench.factory.held._sizes) == (0, {})


def test_small_things_are_not_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole boxes, and answers that are read, are never held."""
    side = bench.connect()
    seen: list[int] = []
    monkeypatch.setattr(bench.factory, "update_held", lambda _, size: seen.append(size))
    for _ in range(100):
        side.dataReceived(box(b"Ping") * 10)
    assert seen == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60))))
def test_holdings(steps: list[tuple[int, int]]) -> None:
    """The total is never past the limit, is the sum of what is held, and the oldest goes first."""
    holdings: HeldBytes[int] = HeldBytes(100)
    order: list[int] = []
    for connection, size in steps:
        if size and connection not in order:
            order.append(connection)
        if not size and connection in order:
            order.remove(connection)
        ended = holdings.update(connection, size)
        assert ended == order[: len(ended)]
        order = order[len(ended) :]
        assert list(holdings._sizes) == order
        assert holdings.total == sum(holdings._sizes.values()) <= 100
