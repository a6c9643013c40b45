"""TLS records of one byte: they cost one piece for each read, nothing is lost of them or an end, and few are taken."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from certificates import Certificates
from OpenSSL import SSL
from twisted.internet.abstract import FileDescriptor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from pyshard.errors import NotTrusted
from pyshard.net.bounded_box_stream import BoxStream
from pyshard.protocol.boxes import BoxParser, Limits, serialize
from pyshard.protocol.commands import Ping
from pyshard.security import tls
from pyshard.security.tls import Tls
from pyshard.security.tls.bounded_tls_connection import TlsConnection
from pyshard.security.tls.byte_filter import TlsFilter
from pyshard.security.tls.contexts import TlsContext
from pyshard.security.tls.message_allowance import TOO_MANY
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory
from pyshard.testing import MemoryNetwork

WHERE = ("127.0.0.1", 5050)


class CountingConnection(ServerConnection):
    """A daemon's connection that counts the pieces in which bytes come."""

    pieces = 0

    def dataReceived(self, data: bytes) -> None:
        if data:
            self.pieces += 1
        super().dataReceived(data)


class RawPeer(Protocol):
    """A peer that does its own TLS."""

    def __init__(self, filtering: TlsFilter) -> None:
        self.filter = filtering
        self.shaken = False
        self.parser = BoxParser(Limits(keys=10, size=1 << 20))
        self.answers = 0

    def connectionMade(self) -> None:
        self.dataReceived(b"")

    def dataReceived(self, data: bytes) -> None:
        if data:
            self.filter.feed(data)
        if not self.shaken:
            self.shaken = self.filter.shake_hands()
        if self.shaken:
            self.parser.feed(self.filter.read() or b"")
            while self.parser.next_box() is not None:
                self.answers += 1
        self.send()

    def send(self) -> None:
        """Send what waits to be sent, at once."""
        assert self.transport is not None
        if data := self.filter.take():
            self.transport.write(data)


def test_small_records_come_as_one_piece(made: Certificates) -> None:
    """Boxes whose bytes have a record each come in as many pieces as reads bring them, and all are answered."""
    network = MemoryNetwork(Clock())
    clock, served = network.clock, list[CountingConnection]()

    def make(factory: ServerFactory) -> ServerConnection:
        served.append(CountingConnection(factory, clock))
        return served[-1]

    tls.listening(network.listen(*WHERE), made.daemon, True, clock).listen(ServerFactory(make, clock))
    peer = RawPeer(tls.filtering(Tls(made.ca))(WHERE[0]))
    network.dial(*WHERE).connect(Factory.forProtocol(lambda: peer))
    network.settle()
    assert peer.shaken
    for number in range(20):
        for byte in serialize({b"_command": Ping.commandName, b"_ask": b"%d" % number}):
            peer.filter.write(bytes([byte]))
    peer.send()
    network.settle()
    assert peer.answers == 20
    assert served[0].pieces <= 2


def test_all_before_an_end_is_given(made: Certificates) -> None:
    """Bytes before the peer's end of TLS are given first, then the end; what doesn't fit comes with the next call."""
    client, daemon = client_and_daemon(made)
    with pytest.raises(SSL.WantReadError):
        daemon.recv(100)
    for byte in b"abcdef":
        client.write(bytes([byte]))
    daemon.bio_write(client.take())
    assert [daemon.recv(4), daemon.recv(4)] == [b"abcd", b"ef"]
    with pytest.raises(SSL.WantReadError):
        daemon.recv(4)
    client.write(b"g")
    client._tls.shutdown()
    daemon.bio_write(client.take())
    assert daemon.recv(100) == b"g"
    for _ in range(2):
        with pytest.raises(SSL.ZeroReturnError):
            daemon.recv(100)


def client_and_daemon(made: Certificates) -> tuple[TlsFilter, TlsConnection]:
    """Both sides of a connection whose handshake is complete."""
    now = datetime.now(UTC)
    client = TlsFilter(TlsContext(Tls(made.ca), True, lambda: now), WHERE[0])
    daemon = TlsConnection(TlsContext(made.daemon, False, lambda: now).current())
    daemon.set_accept_state()
    while not client.shake_hands():
        daemon.bio_write(client.take())
        with suppress(SSL.WantReadError):
            daemon.do_handshake()
        client.feed(daemon.bio_read(1 << 20))
    daemon.bio_write(client.take())
    daemon.do_handshake()
    return client, daemon


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each record that OpenSSL gave."""
    sizes = list[int]()
    recv = SSL.Connection.recv

    def counted(connection: SSL.Connection, size: int, flags: int | None = None) -> bytes:
        found = recv(connection, size, flags)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(SSL.Connection, "recv", counted)
    return sizes


def wire(daemon: TlsConnection, sizes: Iterable[int]) -> bytes:
    """What crosses the wire for records of these sizes."""
    for size in sizes:
        assert daemon.send(bytes(size)) == size
    found = b""
    with suppress(SSL.WantReadError):
        while True:
            found += daemon.bio_read(1 << 20)
    return found


def test_a_flood_ends_a_client(made: Certificates, looked_at: list[int]) -> None:
    """A client looks at a bounded number of records of one byte, and its error says why; what came before is read."""
    client, daemon = client_and_daemon(made)
    client.feed(wire(daemon, [100]))
    assert client.read() == bytes(100)
    client.feed(wire(daemon, [1] * 5000))
    with pytest.raises(NotTrusted, match=TOO_MANY):
        client.read()
    assert 1000 < len(looked_at) < 1300


def test_a_flood_ends_a_daemon(made: Certificates, looked_at: list[int]) -> None:
    """So does a daemon, wherever the reads part them."""
    client, daemon = client_and_daemon(made)
    for _ in range(5000):
        client.write(b"x")
    flood = client.take()
    with pytest.raises(SSL.Error, match=TOO_MANY):
        receive(daemon, [flood[start : start + 1000] for start in range(0, len(flood), 1000)])
    assert 1000 < len(looked_at) < 1300


def receive(daemon: TlsConnection, reads: Iterable[bytes]) -> None:
    """Have a daemon take what each read brings."""
    for read in reads:
        daemon.bio_write(read)
        with suppress(SSL.WantReadError):
            while True:
                daemon.recv(1 << 15)


@pytest.mark.parametrize("sizes", [[4] * 5000, [1, 16, 2, 30] * 2000, ([1] * 100 + [1000]) * 100])
def test_small_records_of_honest_peers(made: Certificates, sizes: list[int]) -> None:
    """Records of a few bytes may come for ever, as may smaller ones with data between them."""
    client, daemon = client_and_daemon(made)
    client.feed(wire(daemon, sizes))
    assert client.read() == bytes(sum(sizes))


def test_what_is_read_at_a_time_below_tls() -> None:
    """The bound of a read holds for the transport from which TLS reads."""
    descriptor, stream = FileDescriptor(), BoxStream(Clock())
    factory = WrappingFactory(Factory.forProtocol(lambda: stream))
    ProtocolWrapper(factory, stream).makeConnection(descriptor)
    for size in (4096, 128 * 1024):
        stream.read_at_a_time(size)
        assert descriptor.bufferSize == size
