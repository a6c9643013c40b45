"""Endpoints with TLS, around others.

Twisted's own go by the global reactor's clock; these go by the clock that they are given.
"""

from __future__ import annotations

import os
from typing import Any

from service_identity.hazmat import DNS_ID
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import (
    IFileDescriptorReceiver,
    IListeningPort,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from pyshard.errors import NotTrusted
from pyshard.security.tls.bounded_tls_connection import TlsConnection
from pyshard.security.tls.contexts import TlsContext
from pyshard.security.tls.verification import PeerName, name_of, verify_peer


@implementer(IFileDescriptorReceiver)
class TlsTransport(BufferingTLSTransport):
    """TLS over one connection, on either side. It cuts off a peer that sends files, as over a Unix socket."""

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """See `IFileDescriptorReceiver`: Twisted would log a line for each file."""
        os.close(descriptor)
        self.abortConnection()


class TlsFactory(TLSMemoryBIOFactory):
    """Puts TLS between connections and the protocols of another factory."""

    protocol = TlsTransport


@implementer(IOpenSSLClientConnectionCreator)
class ClientConnectionCreator:
    """Makes the connections of a side that dials.

    :param name: who the peer must be.
    """

    def __init__(self, context: TlsContext, name: PeerName) -> None:
        self._context = context
        self._name = name

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> TlsConnection:  # noqa: N803
        """See `IOpenSSLClientConnectionCreator`."""
        connection = TlsConnection(self._context.current())
        if isinstance(self._name, DNS_ID):
            connection.set_tlsext_host_name(self._name.hostname)
        return verify_peer(connection, self._name)


@implementer(IOpenSSLServerConnectionCreator)
class ServerConnectionCreator:
    """Makes the connections of a side that listens."""

    def __init__(self, context: TlsContext) -> None:
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> TlsConnection:  # noqa: N802, N803
        """See `IOpenSSLServerConnectionCreator`."""
        connection = TlsConnection(self._context.current())
        return verify_peer(connection, None) if self._context.demanding else connection


@implementer(IStreamClientEndpoint)
class TlsClientEndpoint:
    """Connects as another endpoint does, to a peer that must have a certificate for a host.

    Its Deferred fires before the handshake is complete. If the handshake fails, the protocol's `connectionLost` says
    why.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, host: str, context: TlsContext, clock: IReactorTime) -> None:
        self._endpoint = endpoint
        self._host = host
        self._context = context
        self._clock = clock

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # the interface's
        """See `IStreamClientEndpoint`."""
        try:
            creator = ClientConnectionCreator(self._context, name_of(self._host))
        except NotTrusted:
            return fail()
        factory = TlsFactory(creator, True, protocolFactory, clock=self._clock)
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting.addCallback(_wrapped)


@implementer(IStreamServerEndpoint)
class TlsServerEndpoint:
    """Listens as another endpoint does, with TLS."""

    def __init__(self, endpoint: IStreamServerEndpoint, context: TlsContext, clock: IReactorTime) -> None:
        self._endpoint = endpoint
        self._context = context
        self._clock = clock
        self.certificate_expiry = context.expiry

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803  # the interface's
        """See `IStreamServerEndpoint`."""
        creator = ServerConnectionCreator(self._context)
        factory = TlsFactory(creator, False, protocolFactory, clock=self._clock)
        return self._endpoint.listen(factory)


def _wrapped(wrapper: ProtocolWrapper) -> IProtocol:
    protocol: IProtocol = wrapper.wrappedProtocol
    return protocol
