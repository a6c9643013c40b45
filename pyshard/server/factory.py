"""What makes and knows the connections of one daemon."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from pyshard.protocol.boxes import Limits
from pyshard.security.tls.failure_log import HandshakeFailureLog
from pyshard.security.tokens import Tokens
from pyshard.server.admission import Admission, ConnectionLimits, Holdings, origin_of
from pyshard.server.connection import ServerConnection
from pyshard.server.session_fence import Sessions
from pyshard.settings import settings


class ServerFactory(Factory):
    """Makes and knows the connections of one daemon.

    :param make: gives the protocol for a new connection, from this factory.
    :param limits: for each box.
    :param tokens: gives the tokens that are valid now; None: whoever connects may do everything.
    :param connections: how many there may be.
    :ivar connections: those that are served, and strangers.
    :ivar refused: those that are only told that there are too many.
    """

    _log = Logger()
    noisy = False

    def __init__(
        self,
        make: Callable[[ServerFactory], ServerConnection],
        limits: Limits | None = None,
        tokens: Callable[[], Tokens] | None = None,
        connections: ConnectionLimits | None = None,
    ) -> None:
        self._make = make
        self.tokens = tokens
        self._ids = count(1)
        self.limits = limits or Limits()
        self.sessions = Sessions()
        self.admission: Admission[ServerConnection] = Admission(connections or ConnectionLimits(), tokens is not None)
        self.connections: list[ServerConnection] = []
        self.refused: set[ServerConnection] = set()
        self.held: Holdings[ServerConnection] = Holdings(settings.HELD_BYTES)
        self.failed_handshakes = HandshakeFailureLog()
        self.draining = False
        self._closed_at_once = False

    def buildProtocol(self, addr: IAddress | None) -> ServerConnection | None:  # type: ignore[override]  # Twisted's type is private
        connection = self._make(self)
        connection.origin = origin_of(addr)
        refused = self.admission.refusal(connection.origin, connection.heard)
        if refused is not None and len(self.refused) >= self.admission.limits.refused:
            if not self._closed_at_once:
                self._log.warn("further connections are closed without a word: {why}", why=refused)
            self._closed_at_once = True
            return None
        self._closed_at_once = False
        connection.id = f"c{next(self._ids)}"
        if refused is not None:
            connection.refuse(refused)
        elif (stranger := self.admission.make_room(connection.heard)) is not None:
            stranger.give_way()
        return connection

    def keep(self, connection: ServerConnection, size: int) -> None:
        """Take note of the bytes that are held for a connection; end those that are to make room."""
        for one in self.held.keep(connection, size):
            one.free()

    def come(self, connection: ServerConnection) -> None:
        """Take note of a new connection."""
        if connection.refused is not None:
            self.refused.add(connection)
        else:
            self.connections.append(connection)
            self.admission.come(connection, connection.origin, connection.heard)

    def go(self, connection: ServerConnection) -> None:
        """Take note of one that has ended."""
        self.held.keep(connection, 0)
        if connection in self.refused:
            self.refused.remove(connection)
        else:
            self.connections.remove(connection)
            self.admission.go(connection, connection.origin)
