"""`Tls`: which files one side of TLS connections uses, as options, environment or endpoint strings say it. Pure.

Rules:

- what a client was given counts before the environment;
- whoever names a certificate or a key, and no authority, is refused: nothing falls back to plain TCP.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import attrs

from pyshard.errors import ConfigError, shown_value
from pyshard.model.address_text import split_endpoint

#: In place of a file or directory of authorities: those that the system trusts.
SYSTEM = "system"

#: The environment variables that name a client's files.
CA_VARIABLE = "PYSHARD_TLS_CA"
CERTIFICATE_VARIABLE = "PYSHARD_TLS_CERTIFICATE"
KEY_VARIABLE = "PYSHARD_TLS_KEY"

#: What Twisted's client endpoint strings call them: those of ``tls:`` and of ``ssl:``.
_NAMES = {
    "tls": {"trustRoots": "ca", "certificate": "certificate", "privateKey": "key"},
    "ssl": {"caCertsDir": "ca", "certKey": "certificate", "privateKey": "key"},
}


def _path(given: Path | str) -> Path | str:
    """An absolute path, since twistd changes its directory."""
    return given if given == SYSTEM else Path(given).expanduser().absolute()


def _optional_path(given: Path | str | None) -> Path | str | None:
    return None if given is None else _path(given)


@attrs.frozen
class Tls:
    """What one side of TLS connections shows and trusts: files in PEM.

    They are read again when they have changed, for the next connection.

    :param ca: certificates of the authorities that sign the peers' certificates: a file, a directory of files whose
        names end in ``.pem``, or ``"system"`` for the authorities that the system trusts.
    :param certificate: this side's own certificate, followed by those between it and its authority, if there are any;
        None: this side shows no certificate.
    :param key: the private key of `certificate`; None: it is in the same file.
    :raises ConfigError: there is a key and no certificate.
    """

    ca: Path | str = attrs.field(converter=_path)
    certificate: Path | str | None = attrs.field(default=None, converter=_optional_path)
    key: Path | str | None = attrs.field(default=None, converter=_optional_path)

    @property
    def private(self) -> bool:
        """Whether a certificate of these authorities proves that its holder belongs here; the system's don't."""
        return self.ca != SYSTEM

    def __attrs_post_init__(self) -> None:
        if self.key is not None and self.certificate is None:
            raise ConfigError(f"TLS: found the key {self.key} without a certificate, expected both or neither")


def for_client(given: Tls | Literal[False] | None, environment: Mapping[str, str] = os.environ) -> Tls | None:
    """What a client uses: what it was given, else what the environment says, else plain TCP (None).

    :param given: None if it was given nothing; False for plain TCP, whatever the environment says.
    :raises ConfigError: it was given something else, or the environment names a certificate or a key, and no authority.
    """
    if given is False:
        return None
    if given is not None:
        if not isinstance(given, Tls):
            raise ConfigError(
                f"tls: found {shown_value(given)}, expected Tls(ca, certificate, key), False for plain TCP, or None"
            )
        return given
    ca, certificate, key = (environment.get(name) for name in (CA_VARIABLE, CERTIFICATE_VARIABLE, KEY_VARIABLE))
    return from_options(ca, certificate, key, CA_VARIABLE)


def from_options(ca: str | None, certificate: str | None, key: str | None, name: str) -> Tls | None:
    """What options or environment variables say; those that are empty say nothing.

    :param name: the name of the first one, for messages.
    :raises ConfigError: a certificate or a key is given, and no authority.
    """
    if ca:
        return Tls(ca, certificate or None, key or None)
    if certificate or key:
        raise ConfigError(
            f"{name}: found nothing, beside the certificate or key {certificate or key}; expected the file of the "
            f"authority that peers' certificates come from, or '{SYSTEM}' for those that the system trusts"
        )
    return None


def is_tls(description: str) -> bool:
    """Whether a Twisted client endpoint string is one of TLS."""
    return description.partition(":")[0] in _NAMES


def from_string(description: str) -> tuple[str, int, Tls]:
    """Host, port and files of a Twisted client endpoint string ``tls:…`` or ``ssl:…``.

    As Twisted has it, the authorities are those of the system when the string names none.

    :raises ConfigError: it is none, or says what can't hold for all daemons of a cluster.
    """
    kind, parts = split_endpoint(description)
    names = _NAMES[kind]
    given: dict[str, str] = {}
    places = ["host", "port"]
    for part_name, value in parts:
        name = part_name
        if not name:
            if not places:
                raise _refused(description, f"found {value!r} too many")
            name = places[0]
        if name in places:
            places.remove(name)
        elif name not in names:
            raise _refused(description, f"found {name!r}")
        given[name] = value
    host, port = given.pop("host", ""), given.pop("port", "")
    if not host or not (port.isascii() and port.isdigit() and 1 <= int(port[:9]) <= 65535):
        raise _refused(description, f"found host {host!r} and port {port!r}")
    files = {names[name]: value for name, value in given.items()}
    return host, int(port), Tls(files.pop("ca", SYSTEM), **files)


def _refused(description: str, found: str) -> ConfigError:
    kind = description.partition(":")[0]
    known = ", ".join(f"{name}=FILE" for name in _NAMES[kind])
    return ConfigError(
        f"bootstrap server {description!r}: {found}, expected {kind}:HOST:PORT and at most {known}, which hold for the "
        "bootstrap and all shards"
    )
