"""A connection that a daemon serves: who the peer is, whether it is still there, and how it is ended.

Rules:

- A peer without a role is a stranger: it is answered `Authenticate` and `Ping` alone, a few times, and not for long.
- A peer that asks much waits for its turn (`pyshard.server.serving_turns`).
- A peer that is refused, as there are too many connections, gets this error for whatever it asks, and is closed soon.
- A peer that was silent for long is pinged, and cut off if it doesn't answer.
- A connection is ended in such a way that no answer is lost.
- Neither a right token nor a wrong one stands in the log.

What comes before, the handshake of TLS, and the lines in the log are `pyshard.server.accepted_connection`'s. Bytes that
are held for it are counted by `pyshard.server.holding_connection`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection as TCPConnection
from twisted.python.failure import Failure

from pyshard.errors import BadRequest, NotAuthenticated, PyshardError, ShuttingDown, TooManyConnections
from pyshard.net.bounded_box_stream import READ
from pyshard.net.command_connection import AnswerMaker, Responder
from pyshard.net.twisted_internals import (
    has_unread,
    peer_has_ended,
    unwrap_reads_and_writes,
    wrap_reads_and_writes,
)
from pyshard.protocol import commands
from pyshard.protocol.boxes import UNHANDLED_CODE, Box
from pyshard.protocol.chunked_arguments import Arguments
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.error_answers import error_box, unknown_command_box
from pyshard.security.tokens_and_roles import Role
from pyshard.server.changes_in_flight import ChangesInFlight
from pyshard.server.first_served import BRING_ON
from pyshard.server.holding_connection import HoldingConnection
from pyshard.server.permissions import HOW, forbidden, not_answered
from pyshard.server.stranger_limits import READ_FROM_STRANGER, STRANGER
from pyshard.settings import settings

if TYPE_CHECKING:
    from pyshard.server.factory import ServerFactory

#: Seconds that a peer may take to read what is left and close.
CLOSE = 0.5

_FAREWELL = 100  # bytes that a peer with TLS may send to say that it ends the connection, and some to spare


class ServerConnection(HoldingConnection):
    """A connection that a daemon serves; subclasses add responders.

    :cvar kind: which kind of daemon it is, as `Hello` tells it.
    :ivar ignores_go_away: the peer doesn't know `GoAway`, so it won't close by itself.
    :ivar role: what the peer may do; None: it is a stranger.
    :ivar changes: what came over it and changes something; `fence` waits for it.
    """

    kind: ClassVar[str]

    def __init__(self, factory: ServerFactory, clock: IReactorTime) -> None:
        super().__init__(factory, clock)
        self._set_role(Role.ADMIN if factory.tokens is None else None)
        self.ignores_go_away = False
        self.changes = ChangesInFlight()
        self._pinged: float | None = None  # what `heard` was when it was last asked for a sign of life
        self._wrong_tokens = 0
        self._left = False  # the peer has ended it, and what it has asked wasn't served
        self._session: bytes | None = None
        self._since = clock.seconds()

    def described(self) -> dict[str, object]:
        """What `stat` tells of a connection: id, peer, seconds since it was opened, operations."""
        return {
            "id": self.id,
            "peer": self._peer,
            "age": round(self._clock.seconds() - self._since, 3),
            "operations": self.operations,
        }

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        return [(commands.Authenticate, cls.authenticate), (commands.Ping, cls.ping)]

    def ping(self) -> Arguments:
        """See `pyshard.protocol.commands.Ping`. What it waited for its turn is none of what is asked next."""
        self.waited = 0.0
        return {}

    def authenticate(self, token: bytes) -> Arguments:
        """See `pyshard.protocol.commands.Authenticate`. Neither a right token nor a wrong one stands in the log."""
        role = self._role_of(token)
        if role is None:
            self._wrong_tokens += 1
            if self._wrong_tokens <= settings.WRONG_TOKENS:  # thousands more may have come with them
                self._log.warn(
                    "connection {connection} from {peer}: a wrong token", connection=self.id, peer=self._peer
                )
            if self._wrong_tokens == settings.WRONG_TOKENS:
                self._clock.callLater(0, self.close)  # when this was answered
            raise NotAuthenticated(f"the token is none that this daemon knows; {HOW}")
        refused = self.factory.admission.promote(self, role)
        if refused is not None:
            self.refuse(refused)
            raise refused
        if self.role is None:
            self.factory.came_to_something(self)
        self.factory.counts.change(self.role, role)
        self._set_role(role)
        self._stop_waiting()
        return {"role": role.word}

    def join_session(self, session: bytes | None) -> Deferred[None]:
        """Make this the newest connection of a session (`pyshard.server.session_fence`); None: of none.

        :return: a Deferred that fires when nothing of the older one can take effect any more.
        :raises BadRequest: this is another session's connection.
        """
        if session is None:
            return succeed(None)
        if self._session not in (None, session):
            raise BadRequest("this connection belongs to another session already; connect anew")
        self._session = session
        return self.changes.add(self.factory.sessions.take_over(session, self))

    def fence(self) -> Deferred[None]:
        """See `Fenceable`: take up nothing more of what has arrived, and fire when all changes are done."""
        if self.transport is not None:
            self._log.info(
                "connection {connection} from {peer}: ended for a newer one", connection=self.id, peer=self._peer
            )
        self._broken = self.paused = True
        self.abort()
        return self.changes.done()

    def refuse(self, why: TooManyConnections) -> None:
        """Answer everything with this error, under a stranger's limits, and end the connection soon."""
        self.refused = why
        self._set_role(None)
        self._stop_waiting()
        self._too_late = self._clock.callLater(settings.REFUSED, self._refused_for_long)

    def evict(self) -> None:
        """End the connection of a stranger, for the next one."""
        self._tell("gives way to another one, it has presented no token")
        self.abort()

    def check_idle(self) -> None:
        """Ping a peer that was silent for long; cut it off if it gave no answer to that."""
        now = self._clock.seconds()
        if self.role is None or now - self.heard < settings.IDLE:
            return
        if self._unread:
            self._cut_off(f"it has read no answer for {settings.IDLE:g} s")
        elif self._pinged == self.heard:
            self._cut_off(f"nothing was heard for {settings.IDLE:g} s, nor an answer to Ping")
        elif not self.paused:
            self._pinged = self.heard
            self.call_directly(commands.Ping.commandName, {}).addErrback(lambda _: None)

    def refusal(self, name: bytes) -> PyshardError | None:
        if self.replicates or self.moves:
            self._note_asked(name)
        if self.role is not Role.ADMIN and (refused := self.refused or forbidden(name, self.role)) is not None:
            return refused
        if self.factory.draining:
            return ShuttingDown("this daemon is shutting down; ask again when it is back")
        return None

    def moves_no_more(self) -> None:
        """It asks for something else than what brings a move on. A subclass may override it."""
        self.moves = False

    def bring_forward(self) -> None:
        """Have it wait for its turn no longer, if it goes first by now (`pyshard.server.first_served`)."""
        self.factory.turns.bring_forward(self)

    def unhandled(self, name: bytes, tag: bytes) -> Box:
        """See `BoundedAMP`. A peer without a role isn't told which commands there are."""
        self._note_asked(name)
        if self.role is None and (refused := self.refused or forbidden(name, None)) is not None:
            self.factory.counts.refusals[refused.code] += 1
            return error_box(refused, tag)
        self.factory.counts.refusals[UNHANDLED_CODE.decode()] += 1
        return unknown_command_box(name, tag, not_answered(name, self.kind))

    @property
    def has_unanswered(self) -> bool:
        """Whether commands of the peer wait for their answers, or answers wait for the peer to read them."""
        return bool(self.answering) or self._unread or self._waits

    def send_go_away(self) -> None:
        """Ask the peer to close the connection when it has its answers."""

        def refused(_: Failure) -> None:
            self.ignores_go_away = True

        self.call_directly(commands.GoAway.commandName, {}).addErrback(refused)

    def half_close(self) -> None:
        """Answer nothing more: end this side when all is written, and read on until the other side ends."""
        transport: object = self.transport
        if isinstance(transport, TCPConnection):
            self._sends_at_once = False
            transport.unregisterProducer()
            transport.loseWriteConnection()
            self.read_and_drop()
        else:  # TLS closes so by itself
            self.close()

    def _lose(self) -> None:
        if self.transport is not None:
            cast(IConsumer, self.transport).unregisterProducer()  # a transport that feeds a producer doesn't close
        super()._lose()

    @property
    def peer_has_ended(self) -> bool:
        """Whether the peer has ended the connection, though not all that it sent was read."""
        return peer_has_ended(self.transport)

    @property
    def is_left(self) -> bool:
        """See `Served`. Whoever has had all answers, and ends the connection, leaves nothing."""
        return self.peer_has_ended and self._has_something

    @property
    def _has_something(self) -> bool:
        farewell = 0 if isinstance(cast(object, self.transport), TCPConnection) else _FAREWELL
        return self._parser.begun or has_unread(self.transport, farewell)

    def end_unserved(self) -> None:
        """See `Served`."""
        silent = self._silent and not has_unread(self.transport)  # a health check, say
        self._left = self._has_something
        self._broken = self.paused = True
        if not self._left and isinstance(cast(object, self.transport), TCPConnection):
            # To abort it would be told to a peer that has ended its own side alone, and waits for the end.
            self.close()
            self._stop_waiting()
            self._too_late = self._clock.callLater(CLOSE, self.abort)  # it may not read what is left
            return
        self._ended_because = self._no_tls = "the peer ended it before its turn came"
        self.abort()
        self._silent = silent

    def serve_arrived(self) -> None:
        self.factory.turns.serve(self)

    def opened(self) -> None:
        self.factory.admit(self)
        if self.refused is not None:
            self._tell_opened()
        elif self.role is None and not self._turned_away:
            self._too_late = self._clock.callLater(settings.AUTHENTICATION, self._still_a_stranger)

    # ------------------------------------------------------------------ what Twisted calls

    def connectionMade(self) -> None:
        super().connectionMade()
        turns = self.factory.turns
        wrap_reads_and_writes(
            self.transport, lambda read: turns.reading(self, read), lambda write: turns.writing(self, write)
        )

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        began, turns = self._clock.seconds(), self.factory.turns
        turns.own_time.look(began)
        if self._left or (self.answering and not reason.check(ConnectionAborted)):
            self.factory.came_to_nothing(self)
        unwrap_reads_and_writes(self.transport)
        self.factory.connection_lost(self)
        super().connectionLost(reason)
        if self._session is not None:
            session = self._session
            self.fence().addCallback(lambda _: self.factory.sessions.forget(session, self))
        turns.count(self.origin, turns.own_time.of(self._clock.seconds() - began))  # whoever connects ends it, too

    # ------------------------------------------------------------------ inside

    def _note_asked(self, name: bytes) -> None:
        """What else is asked than what goes first, known or not, is asked as everybody asks."""
        self.replicates = self.replicates and name == commands.PullGroups.commandName
        if self.moves and name not in BRING_ON:
            self.moves_no_more()

    def _public(self, failure: Failure, name: bytes) -> PyshardError:
        error = super()._public(failure, name)
        self.replicates = False  # also where nobody came to look who asks, such as at a box that can't be read
        self.factory.counts.refusals[error.code] += 1
        return error

    def _answer_later(self, outcome: object, end: AnswerMaker, name: bytes, tag: bytes) -> None:
        self.factory.turns.answer(self, super()._answer_later, outcome, end, name, tag)

    def _set_role(self, role: Role | None) -> None:
        self.role = role
        stranger = role is None
        self._log = self.factory.stranger_log if stranger else self.factory.log
        self.set_limits(STRANGER if stranger else self.factory.limits)
        self.read_at_a_time(READ_FROM_STRANGER if stranger else READ)

    def _role_of(self, secret: bytes) -> Role | None:
        if self.factory.tokens is None:
            return Role.ADMIN
        if self._wrong_tokens >= settings.WRONG_TOKENS:  # what it sent before it could know that it is closed
            return None
        return self.factory.tokens().role_of(secret)

    def _still_a_stranger(self) -> None:
        self._too_late = None
        self._breach(f"no valid token within {settings.AUTHENTICATION:g} s")

    def _refused_for_long(self) -> None:
        self._too_late = None
        self.half_close()
        self._too_late = self._clock.callLater(CLOSE, self.abort)
