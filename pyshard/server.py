"""The connections of both daemons (`pyshard.listener` has them come and go).

Rules kept here: each connection has an id of its own (``c1``, ``c2``, …), which stands in the log and in `stat`; a
peer that doesn't read its answers isn't read from; a connection is ended in such a way that no answer is lost: it is
read until the other side has closed, too, since a system that closes a connection with something unread resets it.
Where there are tokens, a peer that hasn't authenticated is a stranger: it is answered `Authenticate` and `Ping`, under
limits of its own, and not for long. Who comes when there are too many is told so, and nothing else, under a stranger's
limits (`pyshard.admission`); whose connection turns out to have ended without a word is cut off. A peer that connects
anew in a session takes the place of its older connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import TypeVar, cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IDelayedCall,
    IHandshakeListener,
    INegotiated,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.tcp import Connection as TCPConnection
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from pyshard import commands
from pyshard.admission import Admission, ConnectionLimits, Holdings, origin_of
from pyshard.auth import Role, Tokens
from pyshard.boxes import BoxParser, Limits
from pyshard.errors import (
    BadRequest,
    NotAuthenticated,
    PermissionDenied,
    PyshardError,
    ShuttingDown,
    TooManyConnections,
)
from pyshard.sessions import LONGEST, SHORTEST, Sessions
from pyshard.settings import settings
from pyshard.tls.failures import ERRORS, explained, failed
from pyshard.tls.handshakes import FailedHandshakes
from pyshard.wire.command import Arguments
from pyshard.wire.connection import BoundedAMP

_T = TypeVar("_T")

#: Seconds that a peer may take to read what is left and close.
CLOSE = 0.5

#: What a box may be that comes from a stranger.
STRANGER = Limits(settings.STRANGER_BOX_KEYS, settings.STRANGER_BOX_BYTES, settings.STRANGER_UNFINISHED_BOX)

_HOW = "give the client a token file: token_file=…, --token-file or the environment variable PYSHARD_TOKEN_FILE"


@implementer(IHandshakeListener)
class ServerConnection(BoundedAMP):
    """A connection that a daemon accepted; subclasses add responders.

    :ivar operations: how many operations came over it.
    :ivar stays: the peer won't close by itself when it is asked to go away.
    :ivar role: what the peer may do; None: it is a stranger.
    :ivar origin: the address that the peer comes from, where there is such a thing.
    :ivar refused: why nothing is done for the peer, if so.
    """

    factory: ServerFactory

    def __init__(self, factory: ServerFactory, clock: IReactorTime) -> None:
        super().__init__(clock, factory.limits if factory.tokens is None else STRANGER)
        self.factory = factory
        self.operations = 0
        self.stays = False
        self.role = Role.ADMIN if factory.tokens is None else None
        self.origin: str | None = None
        self.refused: TooManyConnections | None = None
        self._box_bytes = self._answer_bytes = 0  # of a box that was begun, of answers that weren't read
        self._pinged: float | None = None  # what `heard` was when it was last asked for a sign of life
        self._wrong_tokens = 0
        self._session: bytes | None = None
        self._changes = 0  # under way
        self._finishing: list[Deferred[None]] = []
        self._too_late: IDelayedCall | None = None
        self._handshaking = False  # of TLS
        self._since = clock.seconds()

    def described(self) -> dict[str, object]:
        """What `stat` tells of a connection: id, peer, seconds since it was opened, operations."""
        return {
            "id": self.id,
            "peer": self._peer,
            "age": round(self._clock.seconds() - self._since, 3),
            "operations": self.operations,
        }

    def responders(self) -> Iterable[tuple[type[amp.Command], Callable[..., object]]]:
        return [(commands.Authenticate, self.authenticate), (commands.Ping, self.ping)]

    def ping(self) -> Arguments:
        """See `pyshard.commands.Ping`."""
        return {}

    def authenticate(self, token: bytes) -> Arguments:
        """See `pyshard.commands.Authenticate`. Neither a right token nor a wrong one stands in the log."""
        role = self._role_of(token)
        if role is None:
            self._wrong_tokens += 1
            if self._wrong_tokens <= settings.WRONG_TOKENS:  # thousands more may have come with them
                self._log.warn("connection {id} from {peer}: a wrong token", id=self.id, peer=self._peer)
            if self._wrong_tokens == settings.WRONG_TOKENS:
                self._clock.callLater(0, self.close)  # when this was answered
            raise NotAuthenticated(f"the token is none that this daemon knows; {_HOW}")
        refused = self.factory.admission.known(self, role)
        if refused is not None:
            self.refuse(refused)
            raise refused
        self.role = role
        self.limit(self.factory.limits)
        self._stop_waiting()
        return {"role": role.word}

    def join(self, session: bytes | None) -> Deferred[None]:
        """Make this the newest connection of a session (see `pyshard.sessions`), or of none.

        :return: a Deferred that fires when nothing of the older one can take effect any more.
        :raises BadRequest: that can't be the id of a session, or this is another session's connection.
        """
        if session is None:
            return succeed(None)
        if not SHORTEST <= len(session) <= LONGEST:
            raise BadRequest(f"session: found {len(session)} bytes, expected {SHORTEST} to {LONGEST}")
        if self._session not in (None, session):
            raise BadRequest("this connection belongs to another session already; connect anew")
        self._session = session
        return self.changing(self.factory.sessions.take_over(session, self))

    def changing(self, work: Deferred[_T]) -> Deferred[_T]:
        """Have `finish` wait for something that came over this connection and changes something."""
        self._changes += 1

        def done(outcome: _T) -> _T:
            self._changes -= 1
            self._tell_finished()
            return outcome

        return work.addBoth(done)

    def finish(self) -> Deferred[None]:
        """End the connection now, take up nothing more of what has arrived, and tell when all changes are done."""
        if self.transport is not None:
            self._log.info("connection {id} from {peer}: ended for a newer one", id=self.id, peer=self._peer)
        self._broken = self.paused = True
        self.abort()
        finished: Deferred[None] = Deferred()
        self._finishing.append(finished)
        self._tell_finished()
        return finished

    def refuse(self, why: TooManyConnections) -> None:
        """Answer everything with this error, under a stranger's limits, and end the connection soon."""
        self.refused, self.role = why, None
        self.limit(STRANGER)
        self._stop_waiting()
        self._too_late = self._clock.callLater(settings.REFUSED, self._refused_for_long)

    def holds(self, size: int) -> None:
        self._box_bytes = size
        self.factory.keep(self, size + self._answer_bytes)

    def keeps(self, size: int) -> None:
        self._answer_bytes = size
        self.factory.keep(self, size + self._box_bytes)

    def free(self) -> None:
        """End the connection for what it has the daemon hold."""
        self._cut_off(
            "it has this daemon hold bytes for longer than any other, of a box that was begun or answers that weren't "
            "read, and all together are too many"
        )
        self._broken = self.paused = True
        self._parser = BoxParser(self._parser.limits)
        transport: object = self.transport
        if isinstance(transport, FileDescriptor):  # now, since thousands more may ask before the reactor's next turn
            transport.dataBuffer, transport._tempDataBuffer, transport._tempDataLen = b"", [], 0

    def give_way(self) -> None:
        """End the connection for one more stranger."""
        self._log.info(
            "connection {id} from {peer}: gives way to another one, it has presented no token",
            id=self.id,
            peer=self._peer,
        )
        self.abort()

    def look(self) -> None:
        """Find out, when nothing was heard from the peer for long, whether it is there."""
        now = self._clock.seconds()
        if self.role is None or 0 <= now - self.heard < settings.IDLE:
            return
        if self._unread:
            self._cut_off(f"it has read no answer for {settings.IDLE:g} s")
        elif self._pinged == self.heard:
            self._cut_off(f"nothing was heard for {settings.IDLE:g} s, nor an answer to Ping")
        elif not self.paused:
            self._pinged = self.heard
            self.call_directly(commands.Ping.commandName, {}).addErrback(lambda _: None)

    def refusal(self, name: bytes) -> PyshardError | None:
        if self.role is not Role.ADMIN and (refused := self._forbidden(name)) is not None:
            return refused
        if self.factory.draining:
            return ShuttingDown("this daemon is shutting down; ask again when it is back")
        return super().refusal(name)

    @property
    def owes(self) -> bool:
        """Whether commands of the peer wait for their answers, or answers for the peer to read."""
        return bool(self.answering) or self._unread

    def ask_to_leave(self) -> None:
        """Ask the peer to close the connection when it has its answers."""

        def refused(_: Failure) -> None:
            self.stays = True

        self.call_directly(commands.GoAway.commandName, {}).addErrback(refused)

    def hang_up(self) -> None:
        """Answer nothing more; end this side when what is to be written has been, and read on until the other does."""
        transport: object = self.transport
        if isinstance(transport, TCPConnection):
            self._sends_at_once, self._broken = False, True  # what is read is dropped
            transport.unregisterProducer()
            transport.loseWriteConnection()
            transport.resumeProducing()
        else:  # TLS closes so by itself
            self.close()

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
        self._handshaking = INegotiated.providedBy(self.transport)
        self.factory.come(self)
        if not self._handshaking:
            self._opened()
        elif self.refused is None:
            self._too_late = self._clock.callLater(settings.HANDSHAKE, self.abort)

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`; called on connections with TLS only."""
        self._handshaking = False
        if self.refused is None:
            self._stop_waiting()
        self._opened()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_waiting()
        self.factory.go(self)
        if self._handshaking:
            self._not_opened(reason)
        else:
            self._log.info(
                "connection {id} from {peer}: closed after {operations} operations: {reason}",
                id=self.id,
                peer=self._peer,
                operations=self.operations,
                reason=explained(reason.value) if isinstance(reason.value, ERRORS) else reason.getErrorMessage(),
            )
        super().connectionLost(reason)
        if self._session is not None:
            session = self._session
            self.finish().addCallback(lambda _: self.factory.sessions.forget(session, self))

    def _opened(self) -> None:
        if self.role is None and self.refused is None:
            self._too_late = self._clock.callLater(settings.AUTHENTICATION, self._still_a_stranger)
        self._log.info(
            "connection {id} from {peer}: {what}",
            id=self.id,
            peer=self._peer,
            what="opened" if self.refused is None else f"refused: {self.refused}",
        )

    def _not_opened(self, reason: Failure) -> None:
        """Tell of a handshake that came to nothing."""
        why = failed(reason, self.transport, False)
        self.factory.handshakes.tell(self._clock.seconds(), self.id, self._peer, str(why or reason.getErrorMessage()))

    # ------------------------------------------------------------------ who the peer is

    def _role_of(self, secret: bytes) -> Role | None:
        if self.factory.tokens is None:
            return Role.ADMIN
        if self._wrong_tokens >= settings.WRONG_TOKENS:  # what it sent before it could know that it is closed
            return None
        return self.factory.tokens().role_of(secret)

    def _forbidden(self, name: bytes) -> PyshardError | None:
        """Why the peer may not ask this, if so. What isn't known as harmless is the admin's."""
        if self.refused is not None:
            return self.refused
        command = commands.COMMANDS.get(name)
        needed = Role.ADMIN if command is None else command.role
        if needed is None:
            return None
        if self.role is None:
            return NotAuthenticated(f"this daemon wants a token first; {_HOW}")
        if self.role < needed:
            return PermissionDenied(
                f"{name.decode('ascii', 'replace')} wants a token of role {needed.word}; this client's has role "
                f"{self.role.word}"
            )
        return None

    def _tell_finished(self) -> None:
        if not self._changes:
            finishing, self._finishing = self._finishing, []
            for finished in finishing:
                finished.callback(None)

    def _still_a_stranger(self) -> None:
        self._too_late = None
        self._breach(f"no valid token within {settings.AUTHENTICATION:g} s")

    def _refused_for_long(self) -> None:
        self._too_late = None
        self.hang_up()
        self._too_late = self._clock.callLater(CLOSE, self.abort)

    def _cut_off(self, why: str) -> None:
        self._log.info("connection {id} from {peer}: cut off, {why}", id=self.id, peer=self._peer, why=why)
        self.abort()

    def _stop_waiting(self) -> None:
        waiting, self._too_late = self._too_late, None
        if waiting is not None and waiting.active():
            waiting.cancel()


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
        self.handshakes = FailedHandshakes()
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
