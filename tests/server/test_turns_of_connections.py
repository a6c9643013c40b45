"""Connections that wait for their turn, for their answers and for a peer that doesn't read: no box is left behind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server.turns_bench import make_due_calls
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IAddress, ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from pyshard.net import bounded_box_stream
from pyshard.net.command_connection import Responder
from pyshard.protocol.argument_types import Boolean, WireArgument
from pyshard.protocol.boxes import BoxParser, Limits, serialize
from pyshard.protocol.command_boxes import Command
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory
from pyshard.server.serving_turns import ServingTurns
from pyshard.settings import settings


class Seconds(WireArgument[float]):
    """A time, as Python writes floats."""

    def read(self, name: bytes, value: bytes | None) -> float:
        assert value is not None
        return float(value)

    def written(self, value: float) -> bytes:
        return repr(value).encode()


class Work(Command):
    """Takes some time at once, and may be answered later."""

    commandName = b"Work"
    arguments = [(b"cost", Seconds()), (b"later", Boolean())]


class Transport(StringTransport):
    """A transport that has a producer, as connections want it."""

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self.producer = None


class Worker(ServerConnection):
    """A connection whose work takes time of the clock."""

    bench: Bench

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        return [(Work, cls.work)]

    def work(self, cost: float, later: bool) -> object:
        """See `Work`."""
        self.bench.clock.rightNow += cost
        if not later:
            return {}
        self.bench.later.append(Deferred())
        return self.bench.later[-1]


class Bench:
    """A daemon's connections over transports in memory, and what is to be answered later."""

    def __init__(self, count: int, address: IAddress | None = None) -> None:
        self.clock = Clock()
        self.later: list[Deferred[object]] = []
        self.number = 0  # of the reactor's turn
        self.factory = ServerFactory(self._make, self.clock)
        self.factory.turns = ServingTurns(self.clock, lambda: self.number, self.clock.seconds)
        self.sides: list[ServerConnection] = []
        self.sent = [0] * count
        for number in range(count):
            side = self.factory.buildProtocol(address or IPv4Address("TCP", f"192.0.2.{number // 2}", 1))
            assert side is not None
            side.makeConnection(Transport())
            self.sides.append(side)

    def _make(self, factory: ServerFactory) -> ServerConnection:
        made = Worker(factory, self.clock)
        made.bench = self
        return made

    def transport(self, number: int) -> Transport:
        """The transport of a connection."""
        found: object = self.sides[number].transport
        assert isinstance(found, Transport)
        return found

    def arrive(self, number: int, boxes: int, cost: float, later: bool, cut: int) -> None:
        """Have boxes come over a connection, in two pieces."""
        data = b"".join(
            serialize(
                {
                    b"_command": b"Work",
                    b"_ask": b"%d" % (self.sent[number] + box),
                    b"cost": str(cost).encode(),
                    b"later": str(later).encode(),
                }
            )
            for box in range(boxes)
        )
        self.sent[number] += boxes
        for piece in (data[:cut], data[cut:]):
            self.sides[number].dataReceived(piece)

    def turn(self) -> None:
        """Let the reactor have one turn."""
        self.number += 1
        make_due_calls(self.clock)

    def answered(self, number: int) -> list[int]:
        """The tags of all boxes that were answered."""
        parser = BoxParser(Limits(keys=10, size=1 << 20))
        parser.feed(self.transport(number).value())
        found = []
        while (box := parser.next_box()) is not None:
            found.append(int(box[b"_answer"]))
        return found


moves = st.one_of(
    st.tuples(
        st.just("arrive"),
        st.integers(0, 4),
        st.integers(1, 30),
        st.sampled_from([0.0, 0.0003, 0.002, 0.02]),
        st.booleans(),
        st.integers(0, 500),
    ),
    st.tuples(st.just("answer"), st.integers(0, 40)),
    st.tuples(st.just("unread"), st.integers(0, 4)),
    st.tuples(st.just("read"), st.integers(0, 4)),
    st.tuples(st.just("turn")),
)


@given(st.lists(moves, max_size=40))
def test_nothing_is_left_behind(found: list[tuple[object, ...]]) -> None:
    """Whatever comes, is answered late, or isn't read for a while: in the end each box is answered, and more read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_box_stream, "_BOXES", 6)
        bench = Bench(5)
        for move, *rest in found:
            if move == "arrive":
                bench.arrive(*rest)  # type: ignore[arg-type]  # see `moves`
            elif move == "turn":
                bench.turn()
            elif move == "answer":
                for _ in range(min(len(bench.later), int(str(rest[0])))):
                    bench.later.pop(0).callback({})
            elif move == "unread":
                bench.sides[int(str(rest[0]))].pauseProducing()
            else:
                bench.sides[int(str(rest[0]))].resumeProducing()
        for side in bench.sides:
            side.resumeProducing()
        for _ in range(10_000):
            if not bench.later and not bench.clock.getDelayedCalls():
                break
            if bench.later:
                bench.later.pop(0).callback({})
            bench.turn()
        for number, side in enumerate(bench.sides):
            assert sorted(bench.answered(number)) == list(range(bench.sent[number]))
            assert (side.paused, bench.transport(number).producerState) == (False, "producing")


def test_a_connection_that_ends_while_it_waits() -> None:
    """What it had sent is forgotten, nothing fails, and the others go on."""
    bench = Bench(2)
    for number in range(2):
        bench.arrive(number, 100, 0.001, False, 0)
    assert bench.sides[0].has_unanswered
    bench.sides[0].connectionLost()
    (waiting,) = bench.factory.turns._known.waiting._members.values()
    assert len(waiting) == 1
    while bench.clock.getDelayedCalls():
        bench.turn()
    assert len(bench.answered(1)) == 100
    assert not bench.sides[1].has_unanswered


def test_bytes_go_with_their_connection() -> None:
    """What a connection held is let go when it is lost, though Python may keep the connection itself for a while."""
    bench = Bench(1)
    (side,) = bench.sides
    bench.arrive(0, 1, 0.001, False, 30)
    side.dataReceived(b"\x00\x08_command\x00\x04Work\x00\x04blob" + b"\xff\xff" + bytes(60_000))
    assert side._parser.held > 60_000
    side.connectionLost()
    assert side._parser.held < 10


def test_bytes_that_wait_to_be_written_go_with_their_connection() -> None:
    """So do those that the peer hasn't read."""
    bench = Bench(0)
    side = bench.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
    transport = FileDescriptor(EPollReactor())
    transport.dataBuffer, transport._tempDataBuffer, transport._tempDataLen = bytes(1000), [bytes(1000)], 1000
    side.transport = cast(ITCPTransport, transport)
    side.connectionLost()
    assert (transport.dataBuffer, transport._tempDataBuffer) == (b"", [])


def test_a_daemon_that_stops_waits_for_turns() -> None:
    """A connection that waits for its turn counts as one with something to be answered."""
    bench = Bench(1)
    bench.arrive(0, 100, 0.001, False, 0)
    (side,) = bench.sides
    assert (side.answering, side.has_unanswered) == (0, True)
    assert len(bench.answered(0)) == pytest.approx(settings.SERVED_AT_ONCE / 0.001, abs=1)


@pytest.mark.parametrize("first", ["waits", "drops"])
def test_what_comes_at_the_end_is_read_and_dropped(first: str) -> None:
    """A connection that answers nothing more still reads when it is its turn, so that its peer can end it."""
    bench = Bench(1)
    (side,), transport = bench.sides, bench.transport(0)
    side.pauseProducing()
    if first == "drops":
        side.read_and_drop()
        assert transport.producerState == "producing"
    side.wait_unread()
    if first == "waits":
        side.read_and_drop()
    assert transport.producerState == "paused"
    side.take_turn()
    assert transport.producerState == "producing"
    bench.arrive(0, 5, 0.001, False, 0)
    assert bench.answered(0) == []


def test_connections_of_a_unix_socket_share_one_turn() -> None:
    """Forty of them get no more of the daemon's time than one peer with an address."""
    bench = Bench(40, UNIXAddress(b""))
    other = bench.factory.buildProtocol(IPv4Address("TCP", "192.0.2.9", 1))
    other.makeConnection(Transport())
    bench.sides.append(other)
    bench.sent.append(0)
    for number in range(41):
        bench.arrive(number, 2000, 0.001, False, 0)
    for _ in range(100):  # who asks large things isn't known at first
        bench.turn()
    before = [len(bench.answered(number)) for number in range(41)]
    for _ in range(400):
        bench.turn()
    *unix, of_other = (len(bench.answered(number)) - before[number] for number in range(41))
    assert sum(unix) == pytest.approx(of_other, rel=0.2)


def test_to_end_a_connection_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it takes is time spent for its address: whoever dials again and again has each connection ended, too."""
    bench, counted = Bench(3), list[tuple[str, float]]()
    monkeypatch.setattr(bench.factory.turns, "count", lambda origin, used: counted.append((origin, used)))
    lost = bench.factory.connection_lost

    def takes(side: ServerConnection) -> None:
        bench.clock.rightNow += 0.25
        lost(side)

    monkeypatch.setattr(bench.factory, "connection_lost", takes)
    bench.sides[2].connectionLost()
    assert counted == [("192.0.2.1", 0.25)]
