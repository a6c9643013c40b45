"""A dialer, its owner, and the daemon that it dials."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from zope.interface import implementer

from pyshard.errors import PyshardError
from pyshard.net.command_connection import BoundedAMP, Responder
from pyshard.net.dialed_connection import DialedConnection
from pyshard.net.reconnecting_dialer import Dialer
from pyshard.protocol import commands
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.greeting import Greeting
from pyshard.testing import MemoryNetwork

WHERE = ("127.0.0.1", 5050)

HELLO: dict[str, object] = {
    "protocol": commands.PROTOCOL,
    "role": "shard",
    "identity": "1d",
    "cluster": "c1",
    "name": "low",
    "epoch": 7,
    "ephemeral": True,
    "connection": "c1",
    "incarnation": "2e",
}


class Daemon(BoundedAMP):
    """The other side."""

    def __init__(self, clock: Clock, hello: object) -> None:
        self._hello = hello
        super().__init__(clock)

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        return [(commands.Hello, cls.hello), (commands.Ping, lambda _: {})]

    def hello(self, protocol: int, session: bytes | None) -> object:
        assert protocol == commands.PROTOCOL
        return self._hello


class OtherDaemon(Daemon):
    """One that doesn't know `Hello`."""

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        return [(commands.Ping, lambda _: {})]


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Notes when it is dialed; leads into the network, or nowhere."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network
        self.dials: list[float] = []
        self.hangs = False
        self.cancelled = 0

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # the interface's
        self.dials.append(self.network.clock.seconds())
        return Deferred(self._cancel) if self.hangs else self.network.connect(WHERE, protocolFactory)

    def _cancel(self, _: Deferred[IProtocol]) -> None:
        self.cancelled += 1


class Owner:
    """Wants the connection, approves of everybody, and notes what it is told."""

    def __init__(self) -> None:
        self.wanted = True
        self.greetings: list[Greeting] = []
        self.approves: Callable[[], object] = lambda: None
        self.ups: list[DialedConnection] = []
        self.downs: list[str] = []
        self.refusals: list[PyshardError] = []
        self.on_down: Callable[[], object] = lambda: None

    def wants_connection(self) -> bool:
        return self.wanted

    def approve(self, connection: DialedConnection, greeting: Greeting) -> object:
        self.greetings.append(greeting)
        return self.approves()

    def connected(self, connection: DialedConnection) -> None:
        self.ups.append(connection)

    def disconnected(self, reason: str) -> None:
        self.downs.append(reason)
        self.on_down()

    def refused(self, error: PyshardError) -> None:
        self.refusals.append(error)


class Bench(Owner):
    """A dialer, whose owner this is, and what it is led to."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.endpoint = Endpoint(self.network)
        self.daemons: list[Daemon] = []
        self.hello: object = HELLO  # what the daemon answers, at once or in a Deferred; None: it has no Hello
        self.dialer = Dialer(self.clock, self.endpoint, self, Random(seed))

    @property
    def dials(self) -> list[float]:
        """When it was dialed."""
        return self.endpoint.dials

    def listen(self) -> None:
        """Have a daemon where the endpoint leads."""
        self.network.listen(*WHERE).listen(Factory.forProtocol(self._daemon))

    def refuse(self) -> None:
        """Have nobody there any more; connections that there are stay."""
        del self.network.listeners[WHERE]

    def connect(self) -> DialedConnection:
        """Listen, dial, and come to be connected."""
        self.listen()
        self.dialer.dial()
        self.network.settle()
        assert len(self.ups) == 1
        return self.ups[0]

    def _daemon(self) -> Daemon:
        self.daemons.append((OtherDaemon if self.hello is None else Daemon)(self.clock, self.hello))
        return self.daemons[-1]
