"""`connect`: reads the addresses, the token file and the files of TLS, makes a client, and gets its first map."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random, SystemRandom
from typing import Literal

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from pyshard.client.client import Client
from pyshard.client.router import Router
from pyshard.errors import PyshardError
from pyshard.net import client_endpoints
from pyshard.net.authenticating_endpoint import authenticated, authenticated_dial
from pyshard.net.client_endpoints import Dial, Servers
from pyshard.security.tls import Tls, dialing
from pyshard.security.token_file import client_token_file
from pyshard.settings import settings


def connect(
    reactor: IReactorTime,
    bootstrap_server: Servers | None = None,
    *,
    deadline: float = settings.DEADLINE,
    token_file: Path | str | None = None,
    tls: Tls | Literal[False] | None = None,
    dial: Dial | None = None,
    random: Random | None = None,
) -> Deferred[Client]:
    """Connect to a cluster.

    The client belongs to its reactor, and so to the process that made it: in a forked child it is closed.

    :param reactor: the Twisted reactor that is to do the work.
    :param bootstrap_server: ``['host', port]``, ``'host:port'`` or a Twisted client endpoint string; default
        `settings.BOOTSTRAP_SERVER`. Or several of them, in a list or, with commas between, in one str: the map comes
        from the first that has it. A shard's address is good, too, for all but to create and drop indexes.
    :param deadline: seconds that an operation may take, reconnects and retries included, unless it is given another.
    :param token_file: the file whose first token the client presents (SECURITY.md); default: the one that the
        environment variable ``PYSHARD_TOKEN_FILE`` names, if it does; empty: none. It is read again when it changes.
    :param tls: with which files to speak TLS, with the bootstrap and all shards (docs/tls.md); default: those that a
        ``tls:`` string as `bootstrap_server` names, else those that the environment variables ``PYSHARD_TLS_CA``,
        ``PYSHARD_TLS_CERTIFICATE`` and ``PYSHARD_TLS_KEY`` name, else plain TCP; False: plain TCP.
    :param dial: makes the client endpoint of a host and port, without TLS; default: TCP on the reactor.
    :param random: jitter of retries, and the secret ids of the client's sessions; default: the system's.
    :return: a Deferred of the client, fired when it has the cluster's map.
    :raises ConfigError: (in the Deferred) the address, the token file or a file of TLS can't be used.
    :raises NotAuthenticated: the cluster wants a token, and was given none or a wrong one.
    :raises NotTrusted: the bootstrap's certificate is refused, or this client's by the bootstrap.
    :raises Unavailable: none of the servers had the map within the deadline; the message says why, of each.
    """
    environment = os.environ if dial is None else {}
    dial = dial or client_endpoints.dial_with(reactor)
    try:
        given = client_endpoints.parse_all(settings.BOOTSTRAP_SERVER if bootstrap_server is None else bootstrap_server)
        files = client_endpoints.tls_of_all(given, tls, environment)
        if files is not None:
            dial = dialing(dial, files, reactor)
        servers = [(str(address), client_endpoints.endpoint_of(reactor, address, dial)) for address in given]
        tokens = client_token_file(token_file)
    except PyshardError:
        return fail()
    if tokens is not None:
        servers = [(name, authenticated(endpoint, tokens.secret)) for name, endpoint in servers]
        dial = authenticated_dial(dial, tokens.secret)
    router = Router(reactor, servers, dial, random or SystemRandom())
    client = Client(reactor, router, deadline)
    return Deferred.fromCoroutine(_started(client, router, deadline))


async def _started(client: Client, router: Router, deadline: float) -> Client:
    try:
        await router.start(deadline)
    except PyshardError:
        await router.close()
        raise
    return client
