"""What a blocking client was made with, and a connected cluster out of it.

Rules:

- What a client connects with is that of `pyshard.connect` (`pyshard.net.connection_parameters`).
- The files are read again when they have changed, for the next connection.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from pyshard.blocking.calling_thread_tasks import Network
from pyshard.blocking.cluster import BlockingCluster
from pyshard.blocking.connection_target import ConnectionTarget
from pyshard.blocking.plain_sockets import SystemNetwork
from pyshard.errors import ConfigError
from pyshard.model.address_text import split_endpoint
from pyshard.net.address_parsing import Address
from pyshard.net.connection_parameters import ConnectionParameters
from pyshard.net.open_files import most_connections, most_files
from pyshard.security.tls import filtering
from pyshard.security.token_file import client_token_file

if TYPE_CHECKING:
    from pyshard.security.tls.byte_filter import TlsFilter


class Connector:
    """What a client was made with. It can be pickled.

    :param parameters: what it connects with.
    :param network: gives the network, anew for each process.
    :param random: jitter, and the ids of sessions.
    :param on_failure: called with a daemon's name and the reason each time that it can't be reached, in the thread that
        tries it.
    """

    def __init__(
        self,
        parameters: ConnectionParameters,
        network: Callable[[], Network] = SystemNetwork,
        random: Random | None = None,
        on_failure: Callable[[str, str], object] | None = None,
    ) -> None:
        self.parameters = parameters
        self._network = network
        self._random = random
        self._on_failure = on_failure

    def now(self) -> float:
        """The time, by the clock of the networks that it gives."""
        return self._network().now()

    def connect(self, seconds: float | None = None) -> BlockingCluster:
        """Connect, and get the first map.

        :param seconds: the deadline, from now; None: the client's own.
        :raises ConfigError: a file can't be used.
        :raises PyshardError: there is no map to be had.
        """
        given = self.parameters
        make_tls = None if given.tls is None else filtering(given.tls)
        tokens = client_token_file(given.token_file)
        secret = None if tokens is None else tokens.secret
        servers = [(str(address), target_of_address(address, secret, make_tls)) for address in given.addresses]
        shards = ConnectionTarget("", 0, secret, make_tls)
        random = self._random or SystemRandom()
        cluster = BlockingCluster(
            self._network(),
            random,
            servers,
            shards,
            given.address_mapping,
            self._on_failure,
            given.read_from,
            most_connections(most_files()),
        )
        try:
            cluster.start(given.deadline if seconds is None else seconds)
        except BaseException:
            cluster.close()
            raise
        return cluster


def target_of_address(
    address: Address, secret: Callable[[], bytes] | None = None, make_tls: Callable[[str], TlsFilter] | None = None
) -> ConnectionTarget:
    """Where an address leads.

    :raises ConfigError: it isn't one of TCP.
    """
    host, port = address.host, address.port
    if not host:
        kind, parts = split_endpoint(address.description)
        given = dict(zip(("host", "port"), [value for name, value in parts if not name], strict=False))
        given.update((name, value) for name, value in parts if name)
        host, number = given.get("host", ""), given.get("port", "")
        if kind not in ("tcp", "tcp6") or not host or not number.isdigit() or not 1 <= int(number) <= 65535:
            raise ConfigError(
                f"bootstrap server: found {address.description!r}, expected ['host', port], 'host:port', "
                "'tcp:HOST:PORT' or 'tls:HOST:PORT': other endpoint strings are for pyshard.connect"
            )
        port = int(number)
    return ConnectionTarget(host, port, secret, make_tls)
