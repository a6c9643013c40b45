"""Certificates for tests: an authority, what it issues to daemons and clients, and all that is to be refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pyshard import Tls

HOST = "127.0.0.1"
_DAY = timedelta(days=1)


class Certificates:
    """Files in a folder, made when they are asked for.

    :ivar authority: that of the cluster; `other` is one that nobody trusts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.authority = trustme.CA()
        self.other = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.other_ca = folder / "other-ca.pem"
        self.other.cert_pem.write_to_path(str(self.other_ca))
        self.daemon = self.issue("daemon", HOST, "localhost")
        self.client = self.issue("client", "client.example")

    def issue(
        self,
        name: str,
        *hosts: str,
        authority: trustme.CA | None = None,
        since: timedelta = -_DAY,
        until: timedelta = _DAY,
        ca: Path | None = None,
    ) -> Tls:
        """A certificate and its key in files of that name.

        :param since: when it is valid, from now.
        :param ca: what its owner trusts; default: the cluster's authority.
        """
        now = datetime.now(UTC)
        made = (authority or self.authority).issue_cert(*hosts, not_before=now + since, not_after=now + until)
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        return self._with_key(certificate, key, made.private_key_pem.bytes(), ca)

    def nameless(self, *usages: x509.ObjectIdentifier) -> Tls:
        """A certificate of the authority that names no host in its subjectAltName, only as its common name."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.load_pem_x509_certificate(self.authority.cert_pem.bytes())
        signer = serialization.load_pem_private_key(self.authority.private_key_pem.bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(x509.ExtendedKeyUsage(usages or [ExtendedKeyUsageOID.SERVER_AUTH]), False)
        )
        certificate, keyfile = self._folder / "nameless.pem", self._folder / "nameless.key"
        certificate.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._with_key(certificate, keyfile, pem, None)

    def _with_key(self, certificate: Path, key: Path, pem: bytes, ca: Path | None) -> Tls:
        key.touch(0o600)
        key.write_bytes(pem)
        return Tls(ca or self.ca, certificate, key)
