"""`connect`: reads the addresses, the token file and the files of TLS, makes a client, and gets its first map."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random, SystemRandom
from typing import Literal

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from pyshard.client.client import Client
from pyshard.client.connection_places import ConnectionPlaces, placed_dial
from pyshard.client.router import Router
from pyshard.client_core.nearest_replica import ReadFrom
from pyshard.errors import InvalidArgument, PyshardError, shown_value
from pyshard.net import client_endpoints
from pyshard.net.address_parsing import Servers
from pyshard.net.authenticating_endpoint import authenticated, authenticated_dial
from pyshard.net.client_endpoints import Dial
from pyshard.net.connection_parameters import ConnectionParameters, connection_parameters
from pyshard.net.open_files import most_connections, most_files
from pyshard.net.steady_clock import steady_clock
from pyshard.security.tls import Tls, dialing
from pyshard.security.token_file import client_token_file


def connect(
    reactor: IReactorTime,
    bootstrap_server: Servers | None = None,
    *,
    deadline: float | None = None,
    token_file: Path | str | None = None,
    tls: Tls | Literal[False] | None = None,
    index: str | None = None,
    addresses: Mapping[str, str] | None = None,
    read_from: ReadFrom | None = None,
    dial: Dial | None = None,
    random: Random | None = None,
) -> Deferred[Client]:
    """Connect to a cluster.

    The client belongs to its reactor, and so to the process that made it: in a forked child it is closed. The reactor
    stays as it is, but the client's own timers are moved by no step of the wall clock.

    :param reactor: the Twisted reactor that is to do the work.
    :param bootstrap_server: ``['host', port]``, ``'host:port'`` or a Twisted client endpoint string; default
        `settings.BOOTSTRAP_SERVER`. Or several of them, in a list or, with commas between, in one str: the map comes
        from the first that has it. A shard's address is good, too, for all but to create and drop indexes. Or an
        address as a URL, ``'pyshard://host:port/index?deadline=5'`` (docs/python.md), which says the other arguments,
        too; what both say must be the same.
    :param deadline: seconds that an operation may take, reconnects and retries included, unless it is given another;
        default: `settings.DEADLINE`.
    :param token_file: the file whose first token the client presents (SECURITY.md); default: the one that the
        environment variable ``PYSHARD_TOKEN_FILE`` names, if it does; empty: none. It is read again when it changes.
    :param tls: with which files to speak TLS, with the bootstrap and all shards (docs/tls.md); default: those that a
        ``tls:`` string as `bootstrap_server` names, else those that the environment variables ``PYSHARD_TLS_CA``,
        ``PYSHARD_TLS_CERTIFICATE`` and ``PYSHARD_TLS_KEY`` name, else plain TCP; False: plain TCP.
    :param index: the name of the index that verbs mean where they are given none; default: the default index.
    :param addresses: each address of a shard that leads elsewhere from here, and the one to dial in its place, such as
        ``{"10.0.0.5:5050": "db.example.com:15050"}`` (docs/containers.md); default: those that the environment variable
        ``PYSHARD_ADDRESSES`` has, if any; empty: none. With TLS, the certificate must be for the one that is dialed.
    :param read_from: ``"nearest"``: reads go to the replica that answers soonest, and may find a state that is a little
        old (docs/availability.md, "Reads at replicas"); default: ``"primary"``, which is never stale.
    :param dial: makes the client endpoint of a host and port, without TLS; default: TCP on the reactor.
    :param random: jitter of retries, and the secret ids of the client's sessions; default: the system's.
    :return: a Deferred of the client, fired when it has the cluster's map.
    :raises ConfigError: (in the Deferred) an address, the token file or a file of TLS can't be used, or the URL
        and an argument contradict each other.
    :raises InvalidIndexName: (in the Deferred) `index` can't be an index's name.
    :raises InvalidArgument: (in the Deferred) `deadline` is no positive number, `reactor` no reactor, or `read_from`
        neither of the two.
    :raises NotAuthenticated: the cluster wants a token, and was given none or a wrong one.
    :raises NotTrusted: the bootstrap's certificate is refused, or this client's by the bootstrap.
    :raises Unavailable: none of the servers had the map within the deadline; the message says why, of each. Or the
        process can have no further descriptor.
    """
    environment = os.environ if dial is None else {}
    try:
        if not IReactorTime.providedBy(reactor):
            raise InvalidArgument(
                f"reactor: found {shown_value(reactor)}, expected a Twisted reactor, before the address"
            )
        clock = steady_clock(reactor)
        dial = dial or client_endpoints.dial_with(reactor, clock)
        given = connection_parameters(
            bootstrap_server,
            deadline=deadline,
            token_file=token_file,
            tls=tls,
            index=index,
            addresses=addresses,
            read_from=read_from,
            environment=environment,
        )
        if given.tls is not None:
            dial = dialing(dial, given.tls, clock)
        servers = [(str(address), client_endpoints.endpoint_of(reactor, address, dial)) for address in given.addresses]
        return started(*client_with(clock, given, servers, dial, random), given.deadline)
    except PyshardError:
        return fail()


def client_with(
    clock: IReactorTime,
    given: ConnectionParameters,
    servers: Sequence[tuple[str, IStreamClientEndpoint]],
    dial: Dial,
    random: Random | None = None,
) -> tuple[Client, Router]:
    """A client, which has no map yet, and its router.

    :param servers: each address that was given, for messages, and the endpoint that leads there.
    :param dial: leads to shards; it and the endpoints know of TLS what is to be known.
    :raises ConfigError: the token file can't be used.
    """
    tokens = client_token_file(given.token_file)
    if tokens is not None:
        servers = [(name, authenticated(endpoint, tokens.secret)) for name, endpoint in servers]
        dial = authenticated_dial(dial, tokens.secret)
    dial = placed_dial(dial, ConnectionPlaces(clock, most_connections(most_files())))
    router = Router(clock, servers, dial, random or SystemRandom(), given.address_mapping, given.read_from)
    return Client(clock, router, given.deadline, given.index), router


def started(client: Client, router: Router, deadline: float) -> Deferred[Client]:
    """Get a client its first map.

    :return: a Deferred of the client; when it fails, the client is closed.
    """
    return Deferred.fromCoroutine(_started(client, router, deadline))


async def _started(client: Client, router: Router, deadline: float) -> Client:
    try:
        await router.start(deadline)
    except PyshardError:
        await router.close()
        raise
    return client
