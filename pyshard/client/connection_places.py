"""Places for a client's connections to shards: how many there may be, whose turn it is, and which one gives way.

A map may name thousands of shards, and a process has few files. Rules:

- an attempt to connect takes a place, and its connection keeps it until it has ended;
- where all are taken, attempts wait in line. For each of them the connection is given up that owes no answer and was
  heard of the longest time ago; it is dialed again when something is asked of its shard;
- one that is kept, such as for a snapshot that ends with it, gives way to none;
- while all owe answers, one takes no more calls each `_LOOK` seconds, the oldest first, and ends when it owes none. It
  is cut off if it is silent for `settings.TIMEOUT` seconds: who never answers keeps no place from others.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from operator import attrgetter
from typing import cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from pyshard.net.client_endpoints import Dial
from pyshard.net.dialed_connection import DialedConnection
from pyshard.settings import settings

#: Seconds between two looks for a connection that can give way, while somebody waits.
_LOOK = 0.05
_HEARD = attrgetter("heard")


class ConnectionPlaces:
    """The places of one client.

    :param clock: times the looks.
    :param most: how many places there are.
    """

    def __init__(self, clock: IReactorTime, most: float) -> None:
        self._clock = clock
        self._most = most
        self._taken = 0
        self._connections: dict[DialedConnection, None] = {}  # in the order in which they were made
        self._waiting: deque[Deferred[None]] = deque()
        self._looking: IDelayedCall | None = None

    def take(self) -> Deferred[None]:
        """Take a place; the Deferred fires when there is one. Cancelled, it waits no longer."""
        if self._taken < self._most:
            self._taken += 1
            return succeed(None)
        place: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(place)
        self._make_room()
        return place

    def made(self, connection: DialedConnection) -> None:
        """The place belongs to this connection, until that has ended."""
        if connection.transport is None:
            self.free()
            return
        self._connections[connection] = None
        connection.gone = partial(self._gone, connection)

    def free(self) -> None:
        """Give a place back."""
        if self._waiting:
            self._waiting.popleft().callback(None)
        else:
            self._taken -= 1

    def _gone(self, connection: DialedConnection) -> None:
        del self._connections[connection]
        self.free()

    def _staying(self) -> list[DialedConnection]:
        """The connections that may be told to give way, the oldest first."""
        return [connection for connection in self._connections if not (connection.leaving or connection.kept)]

    def _make_room(self) -> None:
        """Have as many connections give way as are waited for."""
        staying = self._staying()
        going = sum(not connection.owed for connection in self._connections if connection.leaving)
        idle = sorted((connection for connection in staying if not connection.owed), key=_HEARD)
        for connection in idle[: max(0, len(self._waiting) - going)]:
            connection.give_up()
        self._look_again()

    def _look_again(self) -> None:
        if self._looking is None and self._waiting:
            self._looking = self._clock.callLater(_LOOK, self._look)

    def _look(self) -> None:
        self._looking = None
        if not self._waiting:
            return
        staying = self._staying()
        if staying and all(connection.owed for connection in staying):
            staying[0].give_up()
        silent = self._clock.seconds() - settings.TIMEOUT
        for connection in list(self._connections):
            if connection.leaving and connection.owed and connection.heard <= silent:
                connection.abort()
        self._make_room()


@implementer(IStreamClientEndpoint)
class PlacedEndpoint:
    """Connects as another endpoint does, once there is a place. What it connects must be a `DialedConnection`.

    :param endpoint: leads to the peer.
    :param places: the client's.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, places: ConnectionPlaces) -> None:
        self._endpoint = endpoint
        self._places = places

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # the interface's
        """See `IStreamClientEndpoint`."""
        return self._places.take().addCallback(lambda _: self._connect(protocolFactory))

    def _connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        return self._endpoint.connect(factory).addCallbacks(self._made, self._failed)

    def _made(self, connection: IProtocol) -> IProtocol:
        self._places.made(cast(DialedConnection, connection))
        return connection

    def _failed(self, failure: Failure) -> Failure:
        self._places.free()
        return failure


def placed_dial(dial: Dial, places: ConnectionPlaces) -> Dial:
    """A way to dial, with a place for each connection."""
    return lambda host, port: PlacedEndpoint(dial(host, port), places)
