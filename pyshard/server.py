"""The listening side that both daemons share: connections with ids, a listener that drains when it stops.

Rules kept here: each connection has an id of its own (``c1``, ``c2``, …), which stands in the log and in `stat`; a
peer that doesn't read its answers isn't read from; a stopping daemon accepts nobody, answers what it was asked
before, refuses what comes after (`ShuttingDown`), and then closes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import cast

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IListeningPort,
    IPushProducer,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.boxes import Limits
from pyshard.errors import PyshardError, ShuttingDown
from pyshard.settings import settings
from pyshard.wire import BoundedAMP, Steps

_LOOK = 0.02  # seconds between looks at the answers that a stopping daemon owes
_CLOSE = 1.0  # seconds that a peer may take to read what is left and close


class ServerConnection(BoundedAMP):
    """A connection that a daemon accepted; subclasses add the responders.

    :ivar operations: how many operations came over it.
    """

    factory: ServerFactory

    def __init__(self, factory: ServerFactory, clock: IReactorTime) -> None:
        super().__init__(clock, factory.limits)
        self.factory = factory
        self.operations = 0
        self._since = clock.seconds()

    def described(self) -> dict[str, object]:
        """What `stat` tells of a connection: id, peer, seconds since it was opened, operations."""
        return {
            "id": self.id,
            "peer": self._peer,
            "age": round(self._clock.seconds() - self._since, 3),
            "operations": self.operations,
        }

    def refusal(self, name: bytes) -> PyshardError | None:
        if self.factory.draining:
            return ShuttingDown("this daemon is shutting down; ask again when it is back")
        return super().refusal(name)

    def close(self) -> None:
        """End the connection when what is to be written has been."""
        if self.transport is not None:
            cast(IConsumer, self.transport).unregisterProducer()  # a transport that feeds a producer doesn't close
        super().close()

    def connectionMade(self) -> None:
        super().connectionMade()
        peer = self.transport.getPeer() if self.transport is not None else None
        self._peer = f"{peer.host}:{peer.port}" if isinstance(peer, IPv4Address | IPv6Address) else str(peer)
        if self.transport is not None:
            # While more waits to be written than the transport cares to keep, it pauses this connection: neither is
            # anything read nor is what was read before parsed on. So a peer that asks and never reads fills nothing.
            cast(IConsumer, self.transport).registerProducer(cast(IPushProducer, self), True)
        self.factory.connections.append(self)
        self._log.info("connection {id} from {peer}: opened", id=self.id, peer=self._peer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.connections.remove(self)
        self._log.info(
            "connection {id} from {peer}: closed after {operations} operations: {reason}",
            id=self.id,
            peer=self._peer,
            operations=self.operations,
            reason=reason.getErrorMessage(),
        )
        super().connectionLost(reason)


class ServerFactory(Factory):
    """Makes and knows the connections of one daemon.

    :param make: gives the protocol for a new connection, from this factory.
    :param limits: for each box.
    """

    noisy = False

    def __init__(self, make: Callable[[ServerFactory], ServerConnection], limits: Limits | None = None) -> None:
        self._make = make
        self._ids = count(1)
        self.limits = limits or Limits()
        self.connections: list[ServerConnection] = []
        self.draining = False

    def buildProtocol(self, addr: IAddress | None) -> ServerConnection:  # type: ignore[override]  # Twisted's type is private
        connection = self._make(self)
        connection.id = f"c{next(self._ids)}"
        return connection


class Listener(Service):
    """Listens with a factory while it runs; drains when it stops.

    :param clock: times the draining.
    :param endpoint: where to listen.
    :param drain: seconds to wait for answers that are owed.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamServerEndpoint,
        factory: ServerFactory,
        drain: float = settings.DRAIN,
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self._factory = factory
        self._drain = drain
        self._port: IListeningPort | None = None

    def privilegedStartService(self) -> None:
        """Listen.

        :raises Exception: whatever the endpoint fails with at once, such as CannotListenError, so that the daemon
            doesn't start.
        """
        super().privilegedStartService()
        failures: list[Failure] = []
        self._endpoint.listen(self._factory).addCallbacks(self._listening, failures.append)
        if failures:
            failures[0].raiseException()

    def startService(self) -> None:
        if not self.running and self._port is None:
            self.privilegedStartService()
        super().startService()

    def _listening(self, port: IListeningPort) -> None:
        self._port = port
        self._log.info("listening on {address}", address=port.getHost())

    @inlineCallbacks
    def stopService(self) -> Steps[None]:
        yield maybeDeferred(super().stopService)
        factory, port = self._factory, self._port
        factory.draining, self._port = True, None
        if port is not None:
            yield maybeDeferred(port.stopListening)
        yield self._until(lambda: not any(one.answering for one in factory.connections), self._drain)
        for one in list(factory.connections):
            one.close()
        yield self._until(lambda: not factory.connections, _CLOSE)
        for one in list(factory.connections):
            one.abort()
        factory.draining = False

    @inlineCallbacks
    def _until(self, holds: Callable[[], bool], seconds: float) -> Steps[None]:
        end = self._clock.seconds() + seconds
        while not holds() and self._clock.seconds() < end:
            yield deferLater(self._clock, _LOOK)
