"""Authentication of an outgoing connection: an endpoint that presents a token before anybody gets the connection.

Rule: the secret is asked for anew for each connection, since the token file may have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from pyshard.net.client_endpoints import Dial
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.settings import settings

#: Gives the secret of the token to present, anew for each connection; None: present none.
Credential: TypeAlias = Callable[[], bytes] | None


@implementer(IStreamClientEndpoint)
class AuthenticatingEndpoint:
    """Connects as another endpoint does, then authenticates.

    What it connects must be a `BoundedAMP`. Its Deferred fails with what the peer answers, such as `NotAuthenticated`;
    the connection is closed then.

    :param endpoint: leads to the peer.
    :param credential: gives the secret.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, credential: Callable[[], bytes]) -> None:
        self._endpoint = endpoint
        self._credential = credential

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # the interface's
        """See `IStreamClientEndpoint`."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        connection = cast("BoundedAMP", await self._endpoint.connect(factory))
        try:
            await connection.call(commands.Authenticate, settings.TIMEOUT, token=self._credential())
        except BaseException:
            connection.abort()
            raise
        return cast(IProtocol, connection)


def authenticated(endpoint: IStreamClientEndpoint, credential: Credential) -> IStreamClientEndpoint:
    """The endpoint, with authentication if there is something to present."""
    return endpoint if credential is None else AuthenticatingEndpoint(endpoint, credential)


def authenticated_dial(dial: Dial, credential: Credential) -> Dial:
    """A way to dial, with authentication if there is something to present."""
    return lambda host, port: authenticated(dial(host, port), credential)
