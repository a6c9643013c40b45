"""A connection that a daemon accepted, from the first packet to the last line: its TLS handshake, its place, its log.

Rules:

- A peer has a bounded time for its handshake. Until that is complete it has no place among those that are served
  (`pyshard.server.handshake_places`).
- A connection over which nothing came has no line in the log, unless this side ended it. One that was turned away has
  none either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IHandshakeListener,
    INegotiated,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from pyshard.errors import TooManyConnections
from pyshard.metrics.connection_counts import HANDSHAKE
from pyshard.net.command_connection import BoundedAMP
from pyshard.security.tls.handshake_errors import ERRORS, in_words, nothing_received, tls_error
from pyshard.server.connection_admission import origin_of
from pyshard.server.served_connection import SMALL
from pyshard.settings import settings

if TYPE_CHECKING:
    from pyshard.server.factory import ServerFactory


@implementer(IHandshakeListener)
class AcceptedConnection(BoundedAMP):
    """A connection that a daemon accepted, whoever the peer is.

    :ivar origin: what counts as the address that the peer comes from (`pyshard.server.connection_admission.origin_of`).
    :ivar account: what its time is counted for (`pyshard.server.serving_turns`).
    :ivar short_up_to: bytes of the largest box that took a short time, as far as is known (the same).
    :ivar replicates: it is a replica's of this shard, which asks for groups of its log and nothing else.
    :ivar moves: what brings on a move of this shard is asked over it, by an admin, and the move is under way.
    :ivar handshaking: its handshake of TLS isn't complete.
    :ivar operations: how many operations came over it.
    :ivar waited: seconds for which it has waited for its turn, since somebody has set this to 0.
    :ivar refused: why nothing is done for the peer, if so.
    """

    factory: ServerFactory
    is_producer = True

    def __init__(self, factory: ServerFactory, clock: IReactorTime) -> None:
        super().__init__(clock)
        self.factory = factory
        self.origin = origin_of(None)  # until its factory says it
        self.account = ""
        self.short_up_to = SMALL
        self.operations = 0
        self.waited = 0.0
        self.replicates = self.moves = False
        self._waits_since: float | None = None
        self.refused: TooManyConnections | None = None
        self._peer = "?"
        self._too_late: IDelayedCall | None = None
        self.handshaking = False
        self._no_tls: str | None = None  # why this side ended the handshake
        self._silent = True  # the peer has sent nothing yet, and no line tells of the connection
        self._turned_away = False
        self._ended_because: str | None = None  # in the log, where the reason of the transport doesn't say it

    def opened(self) -> None:
        """Called when the connection is there, with its handshake complete. A subclass may override it."""

    def end_handshake(self, why: str) -> None:
        """End the connection, since its handshake isn't complete."""
        self._no_tls = why
        self.abort()

    def turn_away(self) -> None:
        """End the connection at once, without a word to anybody.

        One without TLS is closed, since to abort it would look to its peer as if nobody listened here. One with TLS
        would wait for the peer to close it, too.
        """
        self._turned_away = True
        if INegotiated.providedBy(self.transport):
            self.abort()
        else:
            self.close()

    def abort(self) -> None:
        self._silent = False  # it is this side that ends it
        super().abort()

    @property
    def peer(self) -> str:
        """The peer's address, for the log."""
        return self._peer

    def wait_for_turn(self) -> None:
        self._note_waiting()
        super().wait_for_turn()

    def wait_unread(self) -> None:
        self._note_waiting()
        super().wait_unread()

    def take_turn(self) -> None:
        since, self._waits_since = self._waits_since, None
        if since is not None:
            self.waited += self._clock.seconds() - since
        super().take_turn()

    # ------------------------------------------------------------------ what Twisted calls

    def connectionMade(self) -> None:
        super().connectionMade()
        peer = self.transport.getPeer() if self.transport is not None else None
        self._peer = f"{peer.host}:{peer.port}" if isinstance(peer, IPv4Address | IPv6Address) else str(peer)
        if self.transport is not None:
            # While more waits to be written than the transport cares to keep, it pauses this connection: neither is
            # anything read nor is what was read before parsed on. So a peer that asks and never reads fills nothing.
            cast(IConsumer, self.transport).registerProducer(cast(IPushProducer, self), True)
        self.handshaking = INegotiated.providedBy(self.transport)
        if self.handshaking:
            late = f"the handshake took longer than {settings.HANDSHAKE:g} s"
            self._too_late = self._clock.callLater(settings.HANDSHAKE, self.end_handshake, late)
            self.factory.handshake_begun(self)
        else:
            self.opened()

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`; called on connections with TLS only."""
        self.handshaking = False
        self._stop_waiting()
        self.opened()

    def dataReceived(self, data: bytes) -> None:
        if self._silent:
            self._tell_opened()
            if self.factory.tokens is None and self.refused is None:
                self.factory.came_to_something(self)
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_waiting()
        if not self._turned_away:
            self._tell_closed(reason)
        super().connectionLost(reason)

    # ------------------------------------------------------------------ inside

    def _note_waiting(self) -> None:
        if self._waits_since is None:
            self._waits_since = self._clock.seconds()

    def _tell(self, what: str) -> None:
        self._log.info("connection {connection} from {peer}: {what}", connection=self.id, peer=self._peer, what=what)

    def _tell_opened(self) -> None:
        """Log that there is a connection: not before something comes, so that health checks cost no lines."""
        self._silent = False
        self._tell("opened" if self.refused is None else f"refused: {self.refused}")

    def _tell_closed(self, reason: Failure) -> None:
        if self._closed_without_a_byte():
            self.factory.silent.add(self._clock.seconds(), self._peer)
        elif self.handshaking:
            why = self._no_tls or str(tls_error(reason, self.transport, False) or reason.getErrorMessage())
            self.factory.counts.refused[HANDSHAKE] += 1
            self.factory.failed_handshakes.add(self._clock.seconds(), self.id, self._peer, why)
        else:
            self._tell(f"closed after {self.operations} operations: {self._ended_because or _why_closed(reason)}")

    def _closed_without_a_byte(self) -> bool:
        """Whether the peer closed the connection, and has sent nothing, not even the beginning of a handshake."""
        if not self._silent or self.factory.draining:
            return False
        return not self.handshaking or nothing_received(self.transport)

    def _stop_waiting(self) -> None:
        waiting, self._too_late = self._too_late, None
        if waiting is not None and waiting.active():
            waiting.cancel()


def _why_closed(reason: Failure) -> str:
    """Why a connection has ended that this side didn't cut off, in words that don't sound like a fault of anybody's."""
    error = reason.value
    if isinstance(error, ERRORS):
        return in_words(error)
    if isinstance(error, ConnectionDone):
        return "it was ended by one of both sides"
    if isinstance(error, ConnectionLost):  # as by every program that ends without a farewell
        return "the peer has gone"
    return reason.getErrorMessage()
