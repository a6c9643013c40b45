"""Peers that change their TLS keys again and again: a few times are taken, and then their connection ends."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

import pytest
from certificates import HOST, Certificates
from key_updates import KeyUpdater, needs_openssl
from OpenSSL import SSL

from pyshard.errors import NotTrusted
from pyshard.security.tls import Tls, message_allowance
from pyshard.security.tls.bounded_tls_connection import TlsConnection
from pyshard.security.tls.byte_filter import TlsFilter
from pyshard.security.tls.contexts import TlsContext
from pyshard.security.tls.ssl_context import dialing_context

pytestmark = needs_openssl


class Side(Protocol):
    """The other side, as pyshard has it."""

    def shake_hands(self) -> bool: ...

    def feed(self, data: bytes) -> None: ...

    def take(self) -> bytes: ...

    def read(self) -> bytes | None: ...


class Listening:
    """A daemon's."""

    def __init__(self, files: Tls) -> None:
        self.tls = TlsConnection(TlsContext(files, False, lambda: datetime.now(UTC)).current())
        self.tls.set_accept_state()

    def shake_hands(self) -> bool:
        with suppress(SSL.WantReadError):
            self.tls.do_handshake()
            return True
        return False

    def feed(self, data: bytes) -> None:
        if data:
            self.tls.bio_write(data)

    def take(self) -> bytes:
        with suppress(SSL.WantReadError):
            return self.tls.bio_read(1 << 20)
        return b""

    def read(self) -> bytes | None:
        with suppress(SSL.WantReadError):
            return self.tls.recv(1 << 20)
        return None


class BySsl:
    """That of an asyncio client."""

    def __init__(self, files: Tls) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = dialing_context(files).wrap_bio(self.incoming, self.outgoing, server_hostname=HOST)

    def shake_hands(self) -> bool:
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
            return True
        return False

    def feed(self, data: bytes) -> None:
        self.incoming.write(data)

    def take(self) -> bytes:
        return self.outgoing.read()

    def read(self) -> bytes | None:
        found = b""
        with suppress(ssl.SSLWantReadError):
            while True:
                found += self.tls.read(10_000)
        return found or None


SIDES: dict[str, Callable[[Certificates], tuple[Side, KeyUpdater]]] = {
    "daemon": lambda made: (Listening(made.daemon), KeyUpdater(None)),
    "blocking": lambda made: (
        TlsFilter(TlsContext(Tls(made.ca), True, lambda: datetime.now(UTC)), HOST),
        KeyUpdater(made.daemon),
    ),
    "asyncio": lambda made: (BySsl(Tls(made.ca)), KeyUpdater(made.daemon)),
}


def shake_hands(own: Side, peer: KeyUpdater) -> None:
    """Have both complete the handshake."""
    done = False
    while not done:
        own.shake_hands()
        peer.feed(own.take())
        done = peer.shake_hands() and own.shake_hands()
        own.feed(peer.take())
    assert own.shake_hands()
    peer.feed(own.take())


@pytest.fixture(params=SIDES)
def sides(request: pytest.FixtureRequest, made: Certificates) -> tuple[Side, KeyUpdater]:
    """Both sides of a connection whose handshake is complete."""
    own, peer = SIDES[request.param](made)
    shake_hands(own, peer)
    return own, peer


def test_a_flood(sides: tuple[Side, KeyUpdater]) -> None:
    """The connection ends after a few, and the reason says so; what came before was read."""
    own, peer = sides
    peer.write(b"before")
    own.feed(peer.take())
    assert own.read() == b"before"
    peer.update_keys(1000)
    own.feed(peer.take())
    with pytest.raises((SSL.Error, ssl.SSLError, NotTrusted)) as caught:
        own.read()
    assert message_allowance.TOO_MANY in str(caught.value)


def test_a_flood_stops_in_the_middle(made: Certificates) -> None:
    """A daemon looks at few of the messages that one read brings."""
    own, peer = Listening(made.daemon), KeyUpdater(None)
    shake_hands(own, peer)
    peer.update_keys(1000)
    own.feed(peer.take())
    with pytest.raises(SSL.Error):
        own.read()
    assert own.tls._messages <= 210


def test_a_few(sides: tuple[Side, KeyUpdater]) -> None:
    """Some may come with no data at all."""
    own, peer = sides
    for number in range(50):
        peer.update_keys(1)
        own.feed(peer.take())
        assert own.read() is None, number
    peer.write(b"behind")
    own.feed(peer.take())
    assert own.read() == b"behind"


def test_now_and_then(sides: tuple[Side, KeyUpdater]) -> None:
    """With data between them they may come for ever."""
    own, peer = sides
    for _ in range(300):
        peer.write(bytes(64 * 1024))
        peer.update_keys(1)
        own.feed(peer.take())
        assert own.read() == bytes(64 * 1024)
