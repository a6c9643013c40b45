"""Endpoints with TLS, around others. They go by the clock that they are given; Twisted's take the global reactor's."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from pyshard.errors import NotTrusted
from pyshard.security.tls.contexts import Contexts, Dialing, Listening, name_of


@implementer(IStreamClientEndpoint)
class ClientEndpoint:
    """Connects as another endpoint does, to a peer that must have a certificate for a host.

    Its Deferred fires before the handshake is complete: why that fails is what the protocol's connection is lost with.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, host: str, contexts: Contexts, clock: IReactorTime) -> None:
        self._endpoint = endpoint
        self._host = host
        self._contexts = contexts
        self._clock = clock

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # the interface's
        """See `IStreamClientEndpoint`."""
        try:
            creator = Dialing(self._contexts, name_of(self._host))
        except NotTrusted:
            return fail()
        factory = TLSMemoryBIOFactory(creator, True, protocolFactory, clock=self._clock)
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting.addCallback(_wrapped)


@implementer(IStreamServerEndpoint)
class ServerEndpoint:
    """Listens as another endpoint does, with TLS."""

    def __init__(self, endpoint: IStreamServerEndpoint, contexts: Contexts, clock: IReactorTime) -> None:
        self._endpoint = endpoint
        self._contexts = contexts
        self._clock = clock

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803  # the interface's
        """See `IStreamServerEndpoint`."""
        factory = TLSMemoryBIOFactory(Listening(self._contexts), False, protocolFactory, clock=self._clock)
        return self._endpoint.listen(factory)


def _wrapped(wrapper: ProtocolWrapper) -> IProtocol:
    protocol: IProtocol = wrapper.wrappedProtocol
    return protocol
