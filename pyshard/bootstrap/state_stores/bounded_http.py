"""HTTP requests to a peer that isn't trusted with this process's memory: each answer has a bound, with its headers.

Rules:

- Twisted's client takes headers and bodies of any length. Here the connection counts what has come since the last
  request went out, and is cut off past the bound.
- An answer's headers have a bound of their own, and are given to Twisted only when it is kept: what is in them takes 35
  times its bytes. So nothing goes before the answer itself, such as a status of 100.
- A body may come in chunks, but not in a million of them: Twisted works on each by itself. A chunk has two ends of
  lines, and etcd's JSON has next to none, so these are counted.
- A connection never waits for its peer to end. One whose answer isn't wanted to its end is cut off, with what the peer
  hasn't read of the request.
"""

from __future__ import annotations

import re
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IConsumer,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol as BodyProtocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from pyshard.net.client_endpoints import Dial
from pyshard.net.disconnect_reason import reason_of


@implementer(IBodyProducer)
class BytesBody:
    """A request's body that is at hand. Twisted's own goes by the global reactor."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:  # noqa: N802  # the interface's
        """See `IBodyProducer`."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:  # the interface's
        """See `IBodyProducer`."""

    def resumeProducing(self) -> None:  # the interface's
        """See `IBodyProducer`."""

    def stopProducing(self) -> None:  # the interface's
        """See `IBodyProducer`."""


#: Bytes of an answer's status and headers, at the most; etcd's have some 300.
LONGEST_HEAD = 16 * 1024

#: Ends of lines that an answer may have, and bytes for each further one. etcd's chunks have 2 KiB or more.
_LINES, _BYTES_OF_A_LINE = 2000, 256

_END_OF_HEAD = re.compile(rb"\n\r?\n")
_NOT_THE_ANSWER = re.compile(rb"HTTP/\d\.\d 1")  # a status of 100 to 199


class NotConnected(Exception):
    """There is no connection, so nothing was sent."""


class IAbortable(Protocol):
    """A transport of Twisted's that can be cut off."""

    def abortConnection(self) -> None:  # the transport's
        """Close it at once."""
        ...


class _CountedConnection(ProtocolWrapper):
    """A connection that is cut off when an answer is too long, and at its end."""

    _received = 0
    _lines = 0  # ends of lines in that
    _head: bytes | None = b""  # what has come of an answer's status and headers; None: they have ended

    def write(self, data: bytes) -> None:
        self._begin()
        super().write(data)

    def writeSequence(self, data: list[bytes]) -> None:  # the transport's
        self._begin()
        super().writeSequence(data)

    def _begin(self) -> None:
        """Expect an answer."""
        self._received, self._lines, self._head = 0, 0, b""

    def dataReceived(self, data: bytes) -> None:  # the protocol's
        self._received += len(data)
        self._lines += data.count(b"\n")
        if self._lines > _LINES + self._received // _BYTES_OF_A_LINE:
            cast("IAbortable", self.transport).abortConnection()
            return
        if self._head is not None:
            self._head += data
            end = _END_OF_HEAD.search(self._head)
            if end is None and len(self._head) <= LONGEST_HEAD:
                return
            if end is None or end.end() > LONGEST_HEAD or _NOT_THE_ANSWER.match(self._head):
                cast("IAbortable", self.transport).abortConnection()
                return
            data, self._head = self._head, None
        if self._received > cast("_CountingFactory", self.factory).longest:
            cast("IAbortable", self.transport).abortConnection()
        else:
            super().dataReceived(data)

    def loseConnection(self) -> None:
        """Cut it off: the transport's own would wait until the peer has read all, and has closed its side of TLS."""
        self.disconnecting = True
        cast("IAbortable", self.transport).abortConnection()


class _CountingFactory(WrappingFactory):
    protocol = _CountedConnection

    def __init__(self, factory: IProtocolFactory, longest: int) -> None:
        super().__init__(factory)
        self.longest = longest

    def doStart(self) -> None:  # noqa: N802  # the factory's
        """Log no line: there is a factory for each connection."""

    def doStop(self) -> None:  # noqa: N802  # the factory's
        """As `doStart`."""


@implementer(IStreamClientEndpoint)
class _CountingEndpoint:
    """Connects as another endpoint does, within some seconds; answers have a bound.

    Its Deferred fails with `NotConnected`.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, clock: IReactorTime, seconds: float, longest: int) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._seconds = seconds
        self._longest = longest

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:  # noqa: N803  # the interface's
        """See `IStreamClientEndpoint`."""
        connecting: Deferred[Any] = self._endpoint.connect(_CountingFactory(protocolFactory, self._longest))
        connecting.addTimeout(self._seconds, self._clock)
        return connecting.addCallbacks(lambda wrapper: wrapper.wrappedProtocol, _not_connected)


def _not_connected(failure: Failure) -> Failure:
    return Failure(NotConnected(reason_of(failure)))


@implementer(IAgentEndpointFactory)
class _CountingEndpoints:
    def __init__(self, dial: Dial, clock: IReactorTime, seconds: float, longest: int) -> None:
        self._dial = dial
        self._clock = clock
        self._seconds = seconds
        self._longest = longest

    def endpointForURI(self, uri: URI) -> _CountingEndpoint:  # noqa: N802  # the interface's
        """See `IAgentEndpointFactory`."""
        endpoint = self._dial(uri.host.decode("ascii"), uri.port)
        return _CountingEndpoint(endpoint, self._clock, self._seconds, self._longest)


class _Body(BodyProtocol):
    """Gathers an answer's body.

    Twisted's own `readBody` wants a transport that can be aborted, and its client gives another one.
    """

    def __init__(self) -> None:
        self.read: Deferred[bytes] = Deferred(lambda _: self.end())
        self._parts: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:  # the protocol's
        self._parts.append(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # it is always given
        if not self.read.called:
            self.read.callback(b"".join(self._parts)) if reason.check(ResponseDone) else self.read.errback(reason)

    def end(self) -> None:
        """Read no more."""
        close(self)


def close(body: BodyProtocol) -> None:
    """Cut off the connection from which a body is read; one whose body is over is left to the next request."""
    if body.transport is not None:
        body.transport.loseConnection()


def read_body(response: IResponse) -> Deferred[bytes]:
    """An answer's body.

    :raises ResponseFailed, PotentialDataLoss: (in the Deferred) it has no end.
    """
    body = _Body()
    response.deliverBody(body)
    return body.read


def bounded_agent(clock: IReactorTime, dial: Dial, seconds: float, longest: int) -> tuple[Agent, HTTPConnectionPool]:
    """What sends requests, over connections that are kept for the next ones.

    :param dial: leads to the peer, with TLS if there is to be some; URLs are ``http:`` in any case.
    :param seconds: that a connection may take; then the request fails with `NotConnected`.
    :param longest: bytes of an answer with its headers; when it is longer, the connection is cut off.
    :return: it, and the pool of its connections.
    """
    pool = HTTPConnectionPool(clock, persistent=True)
    pool.retryAutomatically = False  # a request whose answer is lost may have been done
    endpoints = _CountingEndpoints(dial, clock, seconds, longest)
    return Agent.usingEndpointFactory(clock, endpoints, pool), pool
