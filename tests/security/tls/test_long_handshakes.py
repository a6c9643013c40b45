"""Handshakes with many bytes: real chains of certificates pass, longer ones are refused before OpenSSL sees them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certificates import HOST, Certificates
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL

from pyshard.errors import NotTrusted
from pyshard.security.tls import Tls
from pyshard.security.tls.bounded_tls_connection import TlsConnection
from pyshard.security.tls.byte_filter import TlsFilter
from pyshard.security.tls.contexts import TlsContext
from pyshard.security.tls.message_allowance import TOO_LONG
from pyshard.security.tls.verification import verify_peer
from pyshard.settings import settings

_DAY = timedelta(days=1)


class Chain:
    """A chain of certificates, all of one key, in files.

    :param authorities: how many there are below the one that is trusted.
    """

    def __init__(self, folder: Path, authorities: int, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        made = [self._certificate(f"authority {number}", max(0, number - 1), True) for number in range(authorities + 1)]
        leaf = self._certificate(HOST, authorities, False)
        self.root, self.path, self.key_path = folder / "root.pem", folder / "chain.pem", folder / "chain.key"
        self.root.write_bytes(made[0])
        self.path.write_bytes(b"".join([leaf, *reversed(made)]))
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.key_path.write_bytes(pem)
        self.key_path.chmod(0o600)

    def _certificate(self, name: str, issuer: int, authority: bool) -> bytes:
        now, key = datetime.now(UTC), self._key.public_key()
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {issuer}")]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(x509.BasicConstraints(authority, None), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
        )
        if not authority:
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            names = [x509.DNSName(f"host{number}.of.a.large.site.example") for number in range(10)]
            made = made.add_extension(x509.SubjectAlternativeName(names), False)
            made = made.add_extension(x509.ExtendedKeyUsage(usages), False)
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Peer:
    """A client of the module ssl, which shows a chain and doesn't look at what it is shown."""

    def __init__(self, chain: Chain) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(chain.path, chain.key_path)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)

    def step(self) -> None:
        """Go on with the handshake."""
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes OpenSSL was given each time."""
    sizes = list[int]()
    write = SSL.Connection.bio_write

    def bio_write(connection: SSL.Connection, data: bytes) -> int:
        sizes.append(len(data))
        return write(connection, data)

    monkeypatch.setattr(SSL.Connection, "bio_write", bio_write)
    return sizes


@pytest.fixture
def small() -> ec.EllipticCurvePrivateKey:
    """A key of few bytes."""
    return ec.generate_private_key(ec.SECP256R1())


Accept = Callable[[Path], TlsConnection]


@pytest.fixture
def accept(made: Certificates) -> Accept:
    """Makes a daemon's connection, which trusts this authority alone."""

    def accepted(authority: Path) -> TlsConnection:
        files = Tls(authority, made.daemon.certificate, made.daemon.key)
        connection = verify_peer(TlsConnection(TlsContext(files, True, lambda: datetime.now(UTC)).current()), None)
        connection.set_accept_state()
        return connection

    return accepted


def shake_hands(peer: Peer, daemon: TlsConnection, behind: bytes = b"") -> None:
    """Have both complete the handshake.

    :param behind: data that the peer sends together with its last part.
    :raises SSL.Error: the daemon refuses it.
    """
    peer.step()
    daemon.bio_write(peer.outgoing.read())
    with pytest.raises(SSL.WantReadError):
        daemon.do_handshake()
    peer.incoming.write(daemon.bio_read(1 << 20))
    peer.step()
    if behind:
        peer.tls.write(behind)
    daemon.bio_write(peer.outgoing.read())
    daemon.do_handshake()


def test_a_real_chain(tmp_path: Path, accept: Accept) -> None:
    """Six certificates with RSA keys of 4,096 bits take less than half of the bytes; any data may come behind them."""
    chain = Chain(tmp_path, 4, rsa.generate_private_key(65537, 4096))
    daemon, data = accept(chain.root), b"data" * 100_000
    shake_hands(Peer(chain), daemon, data)
    found = b""
    while len(found) < len(data):
        found += daemon.recv(1 << 15)
    assert found == data
    assert chain.path.read_bytes().count(b"BEGIN") == 6
    assert chain.path.stat().st_size < settings.HANDSHAKE_BYTES / 2


def test_a_long_chain(tmp_path: Path, accept: Accept, small: ec.EllipticCurvePrivateKey, given: list[int]) -> None:
    """One of 80 kB is refused, and OpenSSL never sees more than the bound; nothing of it is given as data."""
    chain = Chain(tmp_path, 0, small)
    chain.path.write_bytes(chain.path.read_bytes() + chain.root.read_bytes() * 200)
    peer, daemon = Peer(chain), accept(chain.root)
    with pytest.raises(SSL.Error) as caught:
        shake_hands(peer, daemon)
    assert TOO_LONG in str(caught.value)
    assert settings.HANDSHAKE_BYTES / 2 < sum(given) <= settings.HANDSHAKE_BYTES


def test_one_read_after_the_other(tmp_path: Path, accept: Accept, small: ec.EllipticCurvePrivateKey) -> None:
    """The bytes of all reads count together."""
    chain = Chain(tmp_path, 0, small)
    chain.path.write_bytes(chain.path.read_bytes() + chain.root.read_bytes() * 200)
    peer, daemon = Peer(chain), accept(chain.root)
    peer.step()
    daemon.bio_write(peer.outgoing.read())
    with pytest.raises(SSL.WantReadError):
        daemon.do_handshake()
    peer.incoming.write(daemon.bio_read(1 << 20))
    peer.step()
    for _ in range(settings.HANDSHAKE_BYTES // 4096 - 1):
        daemon.bio_write(peer.outgoing.read(4096))
        with pytest.raises(SSL.WantReadError):
            daemon.do_handshake()
    daemon.bio_write(peer.outgoing.read(4096))
    with pytest.raises(SSL.Error) as caught:
        daemon.do_handshake()
    assert TOO_LONG in str(caught.value)


@pytest.mark.parametrize(("authorities", "passes"), [(10, True), (11, False)])
def test_depth(
    tmp_path: Path, accept: Accept, small: ec.EllipticCurvePrivateKey, authorities: int, passes: bool
) -> None:
    """Ten authorities may stand between a certificate and one that is trusted."""
    chain = Chain(tmp_path, authorities, small)
    daemon = accept(chain.root)
    if passes:
        shake_hands(Peer(chain), daemon)
        return
    with pytest.raises(SSL.Error):
        shake_hands(Peer(chain), daemon)
    assert daemon.refusal is not None
    assert daemon.refusal.endswith("is refused: its chain of authorities is too long")


def test_the_side_that_dials(tmp_path: Path, made: Certificates, small: ec.EllipticCurvePrivateKey) -> None:
    """A daemon's handshake is bounded, too."""
    chain = Chain(tmp_path, 0, small)
    chain.path.write_bytes(chain.path.read_bytes() + chain.root.read_bytes() * 200)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain.path, chain.key_path)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    daemon = context.wrap_bio(incoming, outgoing, server_side=True)
    dialing = TlsFilter(TlsContext(Tls(made.ca), True, lambda: datetime.now(UTC)), HOST)
    assert not dialing.shake_hands()
    incoming.write(dialing.take())
    with pytest.raises(ssl.SSLWantReadError):
        daemon.do_handshake()
    dialing.feed(outgoing.read())
    with pytest.raises(NotTrusted, match=TOO_LONG):
        dialing.shake_hands()
