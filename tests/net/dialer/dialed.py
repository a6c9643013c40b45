"""A peer, the daemon that it dials, and what it said."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols import amp
from zope.interface import implementer

from pyshard.net.connection import BoundedAMP
from pyshard.net.dialer import Greeting, Peer, PeerConnection
from pyshard.protocol import commands
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
}


class Daemon(BoundedAMP):
    """The other side."""

    def __init__(self, clock: Clock, hello: object) -> None:
        self._hello = hello
        super().__init__(clock)

    def responders(self) -> Iterable[tuple[type[amp.Command], Callable[..., object]]]:
        if self._hello is not None:
            yield commands.Hello, self.hello
        yield commands.Ping, dict

    def hello(self, protocol: int, session: bytes | None) -> object:
        assert protocol == commands.PROTOCOL
        return self._hello


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


class Bench:
    """A peer, what it is led to, and what it said."""

    def __init__(self, seed: int = 0) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.endpoint = Endpoint(self.network)
        self.daemons: list[Daemon] = []
        self.hello: object = HELLO  # what the daemon answers, at once or in a Deferred; None: it has no Hello
        self.wanted = True
        self.greetings: list[Greeting] = []
        self.approves: Callable[[], object] = lambda: None
        self.ups: list[PeerConnection] = []
        self.downs: list[str] = []
        self.peer = Peer(
            self.clock,
            self.endpoint,
            self._approve,
            lambda: self.wanted,
            self.ups.append,
            self.downs.append,
            Random(seed),
        )

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

    def connected(self) -> PeerConnection:
        """Listen, dial, and come to be connected."""
        self.listen()
        self.peer.ensure()
        self.network.settle()
        assert len(self.ups) == 1
        return self.ups[0]

    def _daemon(self) -> Daemon:
        self.daemons.append(Daemon(self.clock, self.hello))
        return self.daemons[-1]

    def _approve(self, connection: PeerConnection, greeting: Greeting) -> object:
        self.greetings.append(greeting)
        return self.approves()
