"""A listener on a network in memory, with what is served there, for tests of connections and of the listener."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deferreds import result
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock

from pyshard.net.command_connection import BoundedAMP, Responder
from pyshard.protocol.command_boxes import NOTHING, Command
from pyshard.protocol.commands import Ping
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory
from pyshard.server.listener import Listener
from pyshard.settings import settings
from pyshard.testing import MemoryNetwork

WHERE = ("127.0.0.1", 5050)


class Later(Command):
    """Is answered when the test says so."""

    commandName = b"Later"
    arguments = NOTHING
    response = NOTHING


class Connection(ServerConnection):
    """A daemon's side of a connection."""

    def __init__(self, factory: ServerFactory, clock: Clock) -> None:
        super().__init__(factory, clock)
        self.waiting: list[Deferred[Mapping[str, object]]] = []

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        return [(Ping, cls.ping), (Later, cls.later)]

    def ping(self) -> Mapping[str, object]:
        self.operations += 1
        return {}

    def later(self) -> Deferred[Mapping[str, object]]:
        self.waiting.append(Deferred())
        return self.waiting[-1]


class Bench:
    """A listener on a network in memory, and peers of it."""

    def __init__(self, drain: float = settings.DRAIN) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.made: list[Connection] = []
        self.factory = ServerFactory(self._make, self.clock)
        self.listener = Listener(self.clock, self.network.listen(*WHERE), self.factory, drain)

    def _make(self, factory: ServerFactory) -> Connection:
        self.made.append(Connection(factory, self.clock))
        return self.made[-1]

    def connect(self, protocol: type[BoundedAMP] = BoundedAMP) -> BoundedAMP:
        """A new peer, connected."""
        factory = Factory.forProtocol(lambda: protocol(self.clock))
        peer = result(self.network.dial(*WHERE).connect(factory))
        self.network.settle()
        assert isinstance(peer, BoundedAMP)
        return peer

    def ask(self, peer: BoundedAMP, command: type[Command]) -> Deferred[dict[str, object]]:
        """Have a peer ask something, and let it arrive."""
        asked = peer.call(command, 1000)
        self.network.settle()
        return asked

    def stop(self) -> Deferred[None]:
        """Begin to stop."""
        stopping: Deferred[None] = self.listener.stopService()
        self.network.settle()
        return stopping


def built(factory: ServerFactory) -> ServerConnection:
    """A connection that the factory took."""
    connection = factory.buildProtocol(None)
    assert connection is not None
    return connection


def gone(peer: BoundedAMP) -> bool:
    """Whether a peer has lost its connection."""
    return peer.transport is None
