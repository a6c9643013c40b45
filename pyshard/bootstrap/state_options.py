"""The options that say where a cluster's state is kept, and the state store that comes of them.

What etcd needs is imported only where it is used: a bootstrap with a file doesn't wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from pyshard.bootstrap.state_stores.state_address import EtcdAddress, StateAddress, state_address
from pyshard.errors import ConfigError
from pyshard.net import client_endpoints
from pyshard.security import tls
from pyshard.security.file_change import Reload
from pyshard.security.secret_file import read_secret
from pyshard.security.tls import Tls

if TYPE_CHECKING:
    from pyshard.bootstrap.state_stores.etcd_state_store import EtcdStateStore

_log = Logger()
_LONGEST_CREDENTIALS = 4096

#: The options of a bootstrap about its state.
OPTIONS: list[list[object]] = [
    [
        "state",
        "s",
        None,
        "Where the cluster's state is kept: a file, or etcd://HOST:PORT,HOST:PORT/PREFIX, which several bootstraps "
        'share; see the documentation, "Where the cluster\'s state is kept" [default: a file beside the config file, '
        "named .state].",
    ],
    [
        "state-tls-ca",
        None,
        None,
        "With etcd, speak TLS to it: file with the authority's certificate from which it must have its own.",
    ],
    ["state-tls-certificate", None, None, "With --state-tls-ca, file with the certificate that etcd is shown."],
    [
        "state-tls-key",
        None,
        None,
        "With --state-tls-ca, file with its private key [default: the certificate's file].",
    ],
    ["state-credentials", None, None, "With etcd, file with the line USER:PASSWORD, for its owner alone."],
]


@attrs.frozen
class StatePlace:
    """Where a cluster's state is kept, and how to get there.

    :param tls: with which files to speak TLS with etcd; None: plain TCP.
    :param credentials: the file with user and password for etcd; None: it wants none.
    """

    address: StateAddress
    tls: Tls | None = None
    credentials: Path | None = None


def state_place(
    address: str,
    ca: str | None = None,
    certificate: str | None = None,
    key: str | None = None,
    login: str | None = None,
) -> StatePlace:
    """What options say.

    :raises ConfigError: they can't be used, or contradict each other.
    """
    found = state_address(address)
    files = tls.from_options(ca, certificate, key, "--state-tls-ca")
    if isinstance(found, Path) and (files is not None or login is not None):
        raise ConfigError(f"--state: found the file {found}, beside options for etcd; expected one of the two")
    if files is not None:
        tls.check(files)
    credentials = None if login is None else Path(login).absolute()
    if credentials is not None:
        read_secret(credentials, "etcd credentials", _LONGEST_CREDENTIALS)
    return StatePlace(found, files, credentials)


def place_of_options(options: Mapping[str, Any], default: Path) -> StatePlace:
    """What a bootstrap's command line says.

    :param default: the file where nothing is said.
    :raises ConfigError: as `state_place`.
    """
    names = ("state-tls-ca", "state-tls-certificate", "state-tls-key", "state-credentials")
    return state_place(options["state"] or str(default), *(options[name] for name in names))


def open_etcd(place: StatePlace, reactor: IReactorTime, reloads: list[Reload] | None = None) -> EtcdStateStore:
    """The state store in etcd.

    :param place: one in etcd.
    :param reloads: gets what reads certificates again.
    :raises ConfigError: the files of TLS can't be used.
    """
    from pyshard.bootstrap.state_stores.etcd_gateway import EtcdGateway
    from pyshard.bootstrap.state_stores.etcd_state_store import EtcdStateStore

    address = place.address
    assert isinstance(address, EtcdAddress)
    dial = client_endpoints.dial_with(reactor, reactor)
    if place.tls is not None:
        dial = tls.dialing(dial, place.tls, reactor, reloads=reloads)
    elif place.credentials is not None:
        _log.warn(
            "{state}: user and password go there in plain text; name its authority by --state-tls-ca", state=address
        )
    return EtcdStateStore(address, EtcdGateway(reactor, address.members, dial, place.credentials))
