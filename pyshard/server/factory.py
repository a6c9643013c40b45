"""The factory of one daemon's connections: makes them, counts them, and refuses those that are too many.

Rules:

- Each connection has an id of its own (``c1``, ``c2``, …), which stands in the log and in `stat`.
- A connection over the limits is told so (`pyshard.server.connection_admission`). Past a bound of those, it is closed
  at once.
- All connections together hold a bounded number of bytes, each address its share (`pyshard.server.held_bytes_limit`).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from pyshard.protocol.boxes import Limits
from pyshard.security.tls.failure_log import HandshakeFailureLog
from pyshard.security.tokens_and_roles import Tokens
from pyshard.server.connection import ServerConnection
from pyshard.server.connection_admission import Admission, ConnectionLimits, origin_of
from pyshard.server.held_bytes_limit import HeldBytes
from pyshard.server.serving_turns import ServingTurns
from pyshard.server.session_fence import SessionFence
from pyshard.server.silent_connections import SilentConnectionLog
from pyshard.server.stranger_log import stranger_log
from pyshard.settings import settings


class ServerFactory(Factory):
    """Makes and knows the connections of one daemon.

    :param make: gives the protocol for a new connection, from this factory.
    :param clock: the reactor.
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
        clock: IReactorTime,
        limits: Limits | None = None,
        tokens: Callable[[], Tokens] | None = None,
        connections: ConnectionLimits | None = None,
    ) -> None:
        self._make = make
        self.tokens = tokens
        self._ids = count(1)
        self.limits = limits or Limits()
        self.turns: ServingTurns[ServerConnection] = ServingTurns(clock)
        self.stranger_log = stranger_log(clock)
        self.sessions = SessionFence()
        self.admission: Admission[ServerConnection] = Admission(connections or ConnectionLimits(), tokens is not None)
        self.connections: list[ServerConnection] = []
        self.refused: set[ServerConnection] = set()
        self.held: HeldBytes[ServerConnection] = HeldBytes(settings.HELD_BYTES)
        self.failed_handshakes = HandshakeFailureLog()
        self.silent = SilentConnectionLog()
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
        elif (stranger := self.admission.evict_stranger(connection.heard)) is not None:
            stranger.evict()
        return connection

    def update_held(self, connection: ServerConnection, size: int) -> None:
        """Set how many bytes are held for a connection; end those that hold too much."""
        for ended in self.held.update(connection, size, connection.origin):
            ended.release_held()

    def connection_made(self, connection: ServerConnection) -> None:
        """Count a new connection."""
        if connection.refused is not None:
            self.refused.add(connection)
        else:
            self.connections.append(connection)
            self.admission.add(connection, connection.origin, connection.heard)

    def connection_lost(self, connection: ServerConnection) -> None:
        """Forget a connection that has ended."""
        self.turns.forget(connection)
        self.held.update(connection, 0, connection.origin)
        if connection in self.refused:
            self.refused.remove(connection)
        else:
            self.connections.remove(connection)
            self.admission.remove(connection, connection.origin)
