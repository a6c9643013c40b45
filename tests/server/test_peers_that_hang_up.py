"""Peers that connect, send large things, and end the connection: what is served of it, and beside it."""

from __future__ import annotations

import socket
from contextlib import nullcontext

import pytest
from server.turns_bench import AWAY, Bench, Connection
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.tcp import Port, Server
from twisted.internet.testing import StringTransport

from pyshard.net.twisted_internals import has_unread
from pyshard.protocol.boxes import serialize
from pyshard.server import connection as connection_module
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory
from pyshard.server.served_connection import SMALL

LARGE = 10 * SMALL
LONG = 0.02  # seconds


@pytest.fixture
def bench() -> Bench:
    """Turns by a clock of their own."""
    return Bench()


def test_what_waits_of_them_is_not_served(bench: Bench) -> None:
    """A thousand that have hung up while they waited are ended at their turn, and nobody waits for what they sent."""
    honest = bench.peer("honest", cost=0.00003)
    for _ in range(100):
        bench.ask(honest)
    attacks = [bench.peer(f"attack {number}", cost=LONG, origin="attack") for number in range(1000)]
    steady = bench.peer("steady", cost=LONG, origin="attack")
    for attack in [*attacks, steady]:
        attack.arrive(4)
    waiting = [attack for attack in attacks if attack.waits]
    assert len(waiting) > 900
    for attack in attacks:
        attack.peer_has_ended = True
    served = len([name for name in bench.served if name.startswith("attack")])
    longest = 0.0
    for _ in range(20_000):
        began = bench.clock.seconds()
        bench.ask(honest)
        longest = max(longest, bench.clock.seconds() - began)
    assert len([name for name in bench.served if name.startswith("attack")]) == served
    assert all(attack.was_ended for attack in waiting)
    assert longest < 2 * LONG
    assert bench.served.count("steady") == 4
    assert not steady.was_ended
    assert not bench.turns._unread
    assert not bench.turns._in_line


def test_those_that_are_read_at_their_turn_only(bench: Bench) -> None:
    """Who has hung up isn't even read when it is its turn."""
    reads: list[str] = []
    peers = [bench.peer("honest", cost=0.00003), bench.peer("attack", cost=LONG)]
    attack = peers[1]
    for _ in range(50):
        bench.ask(peers[0])
        attack.arrive(1)
    read = bench.turns.reading(attack, lambda: reads.append("attack"))
    attack.waits, attack.boxes = False, 0
    read()
    assert (reads, attack.waits) == ([], True)
    attack.peer_has_ended = True
    for _ in range(20_000):
        bench.ask(peers[0])
    assert (reads, attack.was_ended) == ([], True)


@pytest.mark.parametrize(("size", "long_before"), [(LARGE, False), (1, True)])
def test_what_would_be_served_at_once(bench: Bench, size: int, long_before: bool) -> None:
    """A box that may take long isn't begun for who has hung up behind it, though its address need not wait."""
    honest = bench.peer("honest", cost=0.00003)
    for number in range(20):
        if long_before and not number % 5:
            bench.ask(bench.peer("before", cost=LONG, origin="attack"))
        bench.ask(honest)
        bench.ask(bench.peer("other", cost=0.00003))
    bench.away(0.5 if long_before else 0.0)
    bench.ask(honest)
    bench.ask(bench.peer("other", cost=0.00003))
    left = bench.peer("left", cost=LONG, origin="attack")
    left.size, left.peer_has_ended = size, True
    left.arrive(1)
    assert ("left" in bench.served, left.was_ended) == (False, True)
    assert not bench.turns._in_line
    stays = bench.peer("stays", cost=LONG, origin="attack")
    stays.size = size
    stays.arrive(1)
    assert ("stays" in bench.served, stays.was_ended) == (True, False)


def test_new_connections_of_those_that_hang_up_are_not_read(bench: Bench) -> None:
    """While an address's long boxes count, nothing is read of its connections that have ended already."""
    honest, bulk = bench.peer("honest", cost=0.00003), bench.peer("bulk", cost=LONG, origin="attack")
    for _ in range(3):
        bench.ask(bulk)
        bench.ask(honest)
    reads: list[str] = []
    left = bench.peer("left", origin="attack")
    left.peer_has_ended = True
    bench.turns.reading(left, lambda: reads.append("left"))()
    assert (reads, left.was_ended, left.waits) == ([], True, False)


def test_a_large_box_that_comes_in_parts(bench: Bench) -> None:
    """To read it counts as one thing that takes long, so that those who ask small things have most of the time."""
    honest, other = bench.peer("honest", cost=0.00003), bench.peer("other", cost=0.00003)
    bulks = [_InParts(bench, f"bulk {number}", 0, 0.0, origin="attack") for number in range(8)]
    for _ in range(300):
        bench.ask(honest)
        bench.ask(other)
    began, asked = bench.clock.seconds(), 2000
    for _ in range(asked):
        bench.ask(honest)
        for bulk in bulks:
            if not bulk.waits:
                bench.turns.reading(bulk, bulk.read)()
    took = bench.clock.seconds() - began
    assert [(bulk.short_up_to, bulk.account == bulk.origin) for bulk in bulks] == [(SMALL, False)] * 8
    assert 0.1 < sum(bulk.reads for bulk in bulks) * _InParts.READ / took < 0.3
    assert asked * (honest.cost + AWAY) / took > 0.7


class _InParts(Connection):
    """A connection over which a box comes that never ends."""

    READ = 0.00003  # seconds that it takes to read a part
    reads = 1

    @property
    def unserved_bytes(self) -> int:
        return self.reads * 8 * SMALL

    @property
    def has_unserved(self) -> bool:
        return not self.waits

    def serve_next(self) -> bool:
        return False

    def read(self) -> None:
        self.bench.clock.rightNow += self.READ
        self.reads += 1
        self.arrive()


@pytest.mark.parametrize("small_first", [False, True])
def test_the_first_large_box_of_a_connection(bench: Bench, small_first: bool) -> None:
    """It counts as one that takes long before it was served, and waits for the others of its address."""
    honest, bulk = bench.peer("honest", cost=0.00003), bench.peer("bulk", cost=LONG, origin="attack")
    bulk.arrive(1_000_000)
    for _ in range(300):
        bench.ask(honest)
    new = bench.peer("new", cost=0.00002, origin="attack")
    if small_first:
        for _ in range(3):
            bench.ask(new)
        assert new.account == new.origin
    bench.ask(honest)
    while bench.turns._shares.wait("attack, long boxes", bench.clock.seconds()) <= 0:  # its long boxes have had enough
        bench.ask(honest)
    served = bench.served.count("new")
    new.size, new.cost = LARGE, LONG
    new.arrive(1)
    assert bench.served.count("new") == served
    assert (new.waits, new.account == new.origin) == (True, False)


def test_large_boxes_that_take_less_long_than_others(bench: Bench) -> None:
    """What is served by the room for long boxes is counted there, though others of the address take far longer."""
    honest, bulk = bench.peer("honest", cost=0.00003), bench.peer("bulk", cost=0.2, origin="attack")
    bulk.arrive(1_000_000)
    for _ in range(3000):
        bench.ask(honest)
    for number in range(20):
        new = bench.peer(f"new {number}", cost=0.005, origin="attack")
        new.size = LARGE
        bench.ask(new)
        bench.ask(honest)
        assert new.account != new.origin


def test_large_boxes_that_take_a_short_time(bench: Bench) -> None:
    """Once such a box was served, those of its size count as what they are, and don't wait for the address's others."""
    honest, bulk = bench.peer("honest", cost=0.00003), bench.peer("bulk", cost=LONG, origin="attack")
    bulk.arrive(1_000_000)
    for _ in range(300):
        bench.ask(honest)
    new = bench.peer("new", cost=0.00005, origin="attack")
    new.size = LARGE
    bench.ask(new)
    assert (new.account == new.origin, new.short_up_to) == (True, LARGE)
    began = bench.clock.seconds()
    for _ in range(200):
        bench.ask(new)
        bench.ask(honest)
    assert new.account == new.origin
    assert 200 * (new.cost + honest.cost + 2 * AWAY) / (bench.clock.seconds() - began) > 0.5
    new.size += 1
    new.boxes = 1
    new.heard = bench.clock.seconds()
    bench.turns.serve(new)
    assert new.short_up_to in (LARGE, LARGE + 1)


def test_the_line_in_the_log(monkeypatch: pytest.MonkeyPatch, log_lines: list[str]) -> None:
    """A connection that is ended at its turn has the reason in its line. Nothing of what it had sent was served."""
    clock = Clock()
    factory = ServerFactory(lambda made: ServerConnection(made, clock), clock)
    side = factory.buildProtocol(None)
    assert side is not None
    transport = StringTransport()
    side.makeConnection(transport)
    side.wait_for_turn()
    side.dataReceived(serialize({b"_command": b"Ping", b"_ask": b"1"}))
    factory.turns._wait_in_line(side)
    monkeypatch.setattr(connection_module, "peer_has_ended", lambda asked: asked is transport)
    clock.advance(1)
    assert transport.value() == b""
    assert transport.disconnecting
    side.connectionLost()
    assert log_lines[-1].endswith("closed after 0 operations: the peer ended it before its turn came")


def test_nothing_is_served_behind_the_end() -> None:
    """What else comes over a connection that was ended so is dropped, in the same turn, too."""
    clock = Clock()
    side = ServerConnection(ServerFactory(lambda made: ServerConnection(made, clock), clock), clock)
    transport = StringTransport()
    side.makeConnection(transport)
    side.end_unserved()
    side.dataReceived(serialize({b"_command": b"Ping", b"_ask": b"1"}))
    side.take_turn()
    assert transport.value() == b""


@pytest.mark.parametrize("asks_on", [False, True])
def test_a_peer_that_has_had_its_answers(asks_on: bool) -> None:
    """Who ends its side alone is told the end at its turn as an end, unless it has sent what isn't served any more."""
    clock, reactor = Clock(), EPollReactor()
    side = ServerConnection(ServerFactory(lambda made: ServerConnection(made, clock), clock), clock)
    with socket.create_server(("127.0.0.1", 0)) as port, socket.create_connection(port.getsockname()) as peer:
        accepted, address = port.accept()
        accepted.setblocking(False)
        transport = Server(accepted, side, address, Port(0, Factory(), reactor=reactor), 1, reactor)
        side.makeConnection(transport)
        side.dataReceived(serialize({b"_command": b"Ping", b"_ask": b"1"}))
        answer = serialize({b"_answer": b"1"})
        assert peer.recv(len(answer), socket.MSG_WAITALL) == answer
        side.wait_unread()
        if asks_on:
            peer.sendall(serialize({b"_command": b"Ping", b"_ask": b"2"}))
        peer.shutdown(socket.SHUT_WR)
        assert has_unread(transport) is asks_on
        side.end_unserved()
        for _ in range(3):
            reactor.runUntilCurrent()
            reactor.doIteration(0)
        assert side.ended
        with pytest.raises(ConnectionResetError) if asks_on else nullcontext():
            assert peer.recv(1) == b""


def test_who_ends_its_side_and_reads_nothing() -> None:
    """What it was answered and doesn't read keeps the connection for no longer than a moment."""
    clock, reactor = Clock(), EPollReactor()
    side = ServerConnection(ServerFactory(lambda made: ServerConnection(made, clock), clock), clock)
    with socket.create_server(("127.0.0.1", 0)) as port, socket.create_connection(port.getsockname()) as peer:
        accepted, address = port.accept()
        accepted.setblocking(False)
        transport = Server(accepted, side, address, Port(0, Factory(), reactor=reactor), 1, reactor)
        side.makeConnection(transport)
        peer.shutdown(socket.SHUT_WR)
        transport.write(b"x" * 50_000_000)  # more than the system takes
        side.wait_unread()
        side.end_unserved()
        for _ in range(5):
            reactor.runUntilCurrent()
            reactor.doIteration(0)
        assert not side.ended
        clock.advance(connection_module.CLOSE)
        reactor.runUntilCurrent()
        assert side.ended


@pytest.mark.parametrize("sent", [False, True])
def test_health_checks_that_had_to_wait(monkeypatch: pytest.MonkeyPatch, log_lines: list[str], sent: bool) -> None:
    """Who ended the connection before its turn without having sent a byte is counted as a health check."""
    clock = Clock()
    factory = ServerFactory(lambda made: ServerConnection(made, clock), clock)
    side = factory.buildProtocol(None)
    assert side is not None
    side.makeConnection(StringTransport())
    side.wait_unread()
    factory.turns._wait_in_line(side)
    monkeypatch.setattr(connection_module, "peer_has_ended", lambda _: True)
    monkeypatch.setattr(connection_module, "has_unread", lambda *_: sent)
    clock.advance(1)
    side.connectionLost()
    assert ("without having sent a byte" in log_lines[-1]) is not sent
    assert ("before its turn came" in log_lines[-1]) is sent
