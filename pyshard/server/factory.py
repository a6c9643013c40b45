"""The factory of one daemon's connections: makes them, counts them, and refuses those that are too many.

Rules:

- Each connection has an id of its own (``c1``, ``c2``, …), which stands in the log and in `stat`.
- A handshake of TLS in progress has a place apart (`pyshard.server.handshake_places`).
- An address that connects again and again, and comes to nothing, has its connections closed at once
  (`pyshard.server.connection_attempts`). So has one that had far too much of the daemon's time.
- A connection over the limits is told so (`pyshard.server.connection_admission`). Past a bound of those, it is closed
  at once.
- The lines about connections have a bound, and so have those about strangers (`pyshard.server.paced_log`).
- All connections together hold a bounded number of bytes, each address its share (`pyshard.server.held_bytes_limit`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import count
from math import inf

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory

from pyshard import __version__
from pyshard.clocks import wall_seconds
from pyshard.compiled import IN_USE
from pyshard.metrics.collector_time import COLLECTOR_TIME
from pyshard.metrics.connection_counts import CLOSED, LIMIT, ConnectionCounts
from pyshard.net.open_files import most_files
from pyshard.net.twisted_internals import turn_number
from pyshard.protocol.boxes import Limits
from pyshard.security.tls.failure_log import HandshakeFailureLog
from pyshard.security.tokens_and_roles import Tokens
from pyshard.server.accepted_connection import AcceptedConnection
from pyshard.server.accepts_in_turn import AcceptsInTurn
from pyshard.server.busiest_connections import BusiestConnections
from pyshard.server.connection import ServerConnection
from pyshard.server.connection_admission import Admission, ConnectionLimits, origin_of
from pyshard.server.connection_attempts import ConnectionAttempts
from pyshard.server.handshake_places import HandshakePlaces
from pyshard.server.held_bytes_limit import HeldBytes
from pyshard.server.holding_connection import HoldingConnection
from pyshard.server.paced_log import paced_log
from pyshard.server.serving_turns import ServingTurns
from pyshard.server.session_fence import SessionFence
from pyshard.server.silent_connection_log import SilentConnectionLog
from pyshard.settings import settings

_ACCEPTED_BESIDE = 2  # connections that are accepted in one turn while several addresses ask
_LEFT = 1.0  # times as long as it took to close connections at once, none is accepted while others ask
_LEFT_BEHIND_OFTEN = (
    8.0  # the same for those that were made of an address that connects often: it ends and uses them, too
)
_MOST_DEBT = 0.25  # seconds that an address may have to wait, and still connect


class ServerFactory(Factory):
    """Makes and knows the connections of one daemon.

    :param make: gives the protocol for a new connection, from this factory.
    :param clock: the reactor.
    :param limits: for each box.
    :param tokens: gives the tokens that are valid now; None: whoever connects may do everything.
    :param connections: how many there may be.
    :param wall_seconds: the time since 1970, for `stat`.
    :ivar handshakes: those whose handshake of TLS isn't complete.
    :ivar connections: those that are served, and strangers; the oldest first.
    :ivar busiest: those of them that `stat` tells of.
    :ivar refused: those that are only told that there are too many.
    :ivar certificate_expiry: gives when the daemon's TLS certificate expires, in seconds since 1970; None: it has none.
    :ivar counts: what is counted of connections and refusals.
    """

    noisy = False

    def __init__(
        self,
        make: Callable[[ServerFactory], ServerConnection],
        clock: IReactorTime,
        limits: Limits | None = None,
        tokens: Callable[[], Tokens] | None = None,
        connections: ConnectionLimits | None = None,
        wall_seconds: Callable[[], float] = wall_seconds,
    ) -> None:
        self._make = make
        self._wall_seconds = wall_seconds
        self.tokens = tokens
        self._ids = count(1)
        self.limits = limits or Limits()
        self.turns: ServingTurns[ServerConnection] = ServingTurns(clock, turn_number(clock))
        self.log = paced_log(clock, settings.CONNECTION_LINES, "connections")
        self.stranger_log = paced_log(clock, settings.STRANGER_LINES, "peers without a role")
        self.sessions = SessionFence()
        self.admission: Admission[ServerConnection] = Admission(connections or ConnectionLimits(), tokens is not None)
        self.handshakes: HandshakePlaces[AcceptedConnection] = HandshakePlaces(self.admission.limits.handshakes)
        self.connections: dict[ServerConnection, None] = {}
        self.busiest = BusiestConnections(self.connections, clock.seconds)
        self.refused: set[ServerConnection] = set()
        self.counts = ConnectionCounts()
        self.held: HeldBytes[HoldingConnection] = HeldBytes(settings.HELD_BYTES)
        self.failed_handshakes = HandshakeFailureLog(self.stranger_log)
        self.silent = SilentConnectionLog()
        self.draining = False
        self.certificate_expiry: Callable[[], float | None] = lambda: None
        self._clock = clock
        self._started = clock.seconds()
        self._accepts = AcceptsInTurn(clock, self._admits)
        self._attempts = ConnectionAttempts()
        self._connects = ConnectionAttempts(beside=300, alone=inf, forgotten=200)  # whatever comes of them
        self._closed_at_once = False

    def accept_in_turn(self, accept: Callable[[int], None]) -> float:
        """Accept a few connections; what that takes is time spent for their addresses.

        :param accept: as that of `AcceptsInTurn.run`.
        :return: seconds for which none is to be accepted: while others ask, to close many, or to make many of one
            address, takes a bounded part of the time.
        """
        nobodys = COLLECTOR_TIME.seconds
        self.turns.own_time.look(self._clock.seconds())
        seconds = self._accepts.run(accept, _ACCEPTED_BESIDE if self.turns.contended else settings.ACCEPTED_AT_ONCE)
        seconds = self.turns.own_time.of(max(0.0, seconds - (COLLECTOR_TIME.seconds - nobodys)))
        origins = self._accepts.origins
        for origin, times in Counter(origins).items():
            self.turns.count(origin, seconds * times / len(origins))
        if not self.turns.contended:
            return 0.0
        now = self._clock.seconds()
        if any(self._connects.is_often(origin, now) for origin in set(origins)):
            return _LEFT_BEHIND_OFTEN * seconds
        return _LEFT * seconds if self._accepts.closed else 0.0

    def buildProtocol(self, addr: IAddress | None) -> ServerConnection:  # type: ignore[override]  # Twisted's type is private
        connection = self._make(self)
        connection.id = f"c{next(self._ids)}"
        connection.origin = origin_of(addr)
        return connection

    def may_connect(self, peer: IAddress) -> bool:
        """Whether anybody may connect from an address: not if it had too much of late, or connects too often."""
        return self._accepts.may_connect(peer)

    def came_to_something(self, connection: AcceptedConnection) -> None:
        """Note that a connection is used: its peer has presented a token, or, where there are none, sent anything."""
        self._attempts.succeeded(connection.origin, connection.heard)

    def came_to_nothing(self, connection: AcceptedConnection) -> None:
        """Note that a connection that was used has ended, and its peer didn't wait for the answer."""
        self._attempts.add(connection.origin, self._clock.seconds())

    def handshake_begun(self, connection: AcceptedConnection) -> None:
        """Give a handshake of TLS a place, if need be another one's."""
        ended = self.handshakes.add(connection, connection.origin)
        if ended is not None:
            ended.end_handshake("its place was needed by another connection before the handshake was complete")

    def admit(self, connection: ServerConnection) -> None:
        """Give a connection a place among those that are served, or refuse it, or turn it away."""
        self.handshakes.remove(connection, connection.origin)
        refused = self.admission.refusal(connection.origin, connection.heard)
        if refused is None:
            self._closed_at_once = False
            stranger = self.admission.evict_stranger(connection.origin, connection.heard)
            if stranger is not None:
                stranger.evict()
            self.connections[connection] = None
            self.counts.add(connection.role)
            self.admission.add(connection, connection.origin, connection.heard)
        elif len(self.refused) < self.admission.limits.refused:
            self._closed_at_once = False
            self.refused.add(connection)
            self.counts.refused[LIMIT] += 1
            connection.refuse(refused)
        else:
            self.counts.refused[CLOSED] += 1
            self._tell_closed_at_once(str(refused))
            connection.turn_away()

    def update_held(self, connection: HoldingConnection, size: int) -> None:
        """Set how many bytes are held for a connection; end those that hold too much."""
        for ended in self.held.update(connection, size, connection.origin):
            ended.release_held()

    def connection_lost(self, connection: ServerConnection) -> None:
        """Forget a connection that has ended."""
        self.turns.forget(connection)
        self.held.update(connection, 0, connection.origin)
        self.handshakes.remove(connection, connection.origin)
        self.refused.discard(connection)
        if connection in self.connections:
            del self.connections[connection]
            self.counts.remove(connection.role)
            self.admission.remove(connection, connection.origin)

    def described(self) -> dict[str, object]:
        """What `stat` tells of any daemon: its version, its clock, its connections, and what it has refused."""
        expiry = self.certificate_expiry()
        return ({} if expiry is None else {"certificate_expiry": expiry}) | {
            "version": __version__,
            "time": round(self._wall_seconds(), 3),
            "files": most_files(),
            "most_connected": self.admission.limits.total,
            "compiled": IN_USE,
            "uptime": round(self._clock.seconds() - self._started, 3),
            "connected": len(self.connections),
            "connections": self.busiest.described(),
            **self.counts.described(),
        }

    def _admits(self, origin: str) -> bool:
        now = self._clock.seconds()
        if self.turns.debt(origin) > _MOST_DEBT:
            why = f"{origin} has had more than its share of this daemon's time while others ask"
        elif not self._attempts.admits(origin, now, self.turns.contended):
            why = f"{origin} connects again and again, and comes to nothing"
        elif not self._connects.admits(origin, now, self.turns.contended):
            why = f"{origin} connects again and again while others ask"
        else:
            self._attempts.add(origin, now)
            self._connects.add(origin, now)
            return True
        self.counts.refused[CLOSED] += 1
        self._tell_closed_at_once(why)
        return False

    def _tell_closed_at_once(self, why: str) -> None:
        """Log that connections are closed without a word, until one isn't."""
        if not self._closed_at_once:
            self.stranger_log.warn("further connections are closed without a word: {why}", why=why)
        self._closed_at_once = True
