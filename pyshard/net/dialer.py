"""An outgoing connection: dial, say Hello, check who answers, dial again with back-off.

The bootstrap keeps one to each shard; a client keeps one to each shard that it talks to. Rules kept here: one
connection at a time; nobody gets to use it before `Hello` was answered and approved; one that was silent for long is
asked for a sign of life, and before it is used it must have given one, so that nothing is lost with a connection that
ended without a word; nothing is asked any more on one whose peer is about to stop, and it is closed when all answers
are there; every attempt ends within its timeout; back-off has jitter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from pyshard.errors import BadRequest, NotAuthenticated, NotTrusted, PermissionDenied, PyshardError, plain
from pyshard.net.connection import BoundedAMP
from pyshard.net.heartbeat import sign_of_life
from pyshard.protocol import commands
from pyshard.protocol.arguments import Arguments
from pyshard.protocol.boxes import Box
from pyshard.security.tls import handshake_errors
from pyshard.settings import settings

#: By what a peer refuses this side, or this side the peer, until somebody changes something.
_FINAL = (NotAuthenticated, PermissionDenied, NotTrusted)

_ROUNDING = 0.001  # seconds; of a time to wait that is less, rounding may leave so little that it never ends
_CLOSE = 1.0  # seconds that a connection may take to write what is left and close


@attrs.frozen
class Greeting:
    """Who answered, as `pyshard.protocol.commands.Hello` says it."""

    protocol: int
    role: str
    identity: str
    cluster: str
    name: str
    epoch: int
    ephemeral: bool
    connection: str


@implementer(IHandshakeListener)
class PeerConnection(BoundedAMP):
    """The connection of a `Peer`: tells it when it is lost. The other side may ask whether this one is there.

    :ivar leaving: nothing more is to be asked, since the other side is about to stop.
    """

    lost: Callable[[Failure], None] | None = None
    leaving = False
    _handshaken = False

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`; called on connections with TLS only."""
        self._handshaken = True

    def responders(self) -> Iterable[tuple[type[amp.Command], Callable[..., object]]]:
        return [(commands.Ping, dict), (commands.GoAway, self.leave)]

    def leave(self) -> Arguments:
        """Close the connection when the other side owes no answer any more."""
        self.leaving = True
        self._clock.callLater(0, self._close_if_done)  # when this was answered
        return {}

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # First, so that whoever is told below that a call failed doesn't make the next one on this connection.
        if self.lost is not None:
            lost, self.lost = self.lost, None
            lost(reason)
        error = self._not_trusted(reason)
        super().connectionLost(reason if error is None else Failure(error))

    def _not_trusted(self, reason: Failure) -> PyshardError | None:
        """Why TLS could not be had, if that is why the connection is lost before the peer said anything."""
        if self._parser.boxes:
            return None
        if self._tls_found:
            return NotTrusted(f"the peer speaks TLS, and this side was not told to; {handshake_errors.SEE}")
        return handshake_errors.tls_error(
            reason, self.transport, self._handshaken
        ) or handshake_errors.closed_unanswered(reason)

    def _answer_received(self, box: Box) -> None:
        super()._answer_received(box)
        if self.leaving:
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self.transport is not None and not self.owed:
            self.close()


class Peer:
    """Keeps one connection to an endpoint for as long as somebody wants it.

    :param clock: times attempts and back-off.
    :param endpoint: where the peer is.
    :param approve: is given the `Greeting` of each new connection and raises when it is not who it should be; may
        return a Deferred of when the connection can be used.
    :param wanted: whether to dial again after a failure or a loss.
    :param on_up: called with each connection that can be used, and again with one of which `ready` had to make sure.
    :param on_down: called with the reason, in one line, after each failed attempt and lost connection.
    :param random: jitter.
    :param on_refused: called after `on_down` with the error by which the peer refused this side for good, such as that
        the token is wrong, or this side the peer, whose certificate it doesn't trust; to dial again is of no use then.
    :param session: the id of this side's session with the peer (see `pyshard.server.session_fence`);
        None: there is none.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        approve: Callable[[PeerConnection, Greeting], object],
        wanted: Callable[[], bool],
        on_up: Callable[[PeerConnection], None],
        on_down: Callable[[str], None],
        random: Random,
        on_refused: Callable[[PyshardError], None] | None = None,
        session: bytes | None = None,
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self._approve = approve
        self._wanted = wanted
        self._on_up = on_up
        self._on_down = on_down
        self._on_refused = on_refused
        self._random = random
        self._session = session
        self._failures = 0
        self._dialing: Deferred[PeerConnection] | None = None
        self._retry: IDelayedCall | None = None
        self._closed = False
        self._beat: IDelayedCall | None = None  # the next look whether there was anything to be heard
        self._asked: PeerConnection | None = None  # for a sign of life
        self._awaited = False  # whether `on_up` is to be called when it is given
        self._greeting: PeerConnection | None = None  # connected, and not approved yet
        self.connection: PeerConnection | None = None
        self._factory = Factory.forProtocol(lambda: PeerConnection(clock))
        self._factory.noisy = False

    def ensure(self) -> None:
        """Dial, unless there is a connection or an attempt already, or one is due after back-off."""
        if not self._closed and self.connection is None and self._dialing is None and self._retry is None:
            self._dial()

    def ready(self) -> PeerConnection | None:
        """The connection, if it can be used now; else `on_up` will be called with one that can."""
        connection = self.connection
        if connection is None:
            self.ensure()
        elif connection.leaving:
            return None
        elif self._silent(connection) < settings.HEARTBEAT:
            return connection
        else:
            self._awaited = True
            self._make_sure(connection)
        return None

    def drop(self, why: Exception | None = None) -> None:
        """End the connection (`on_down` is called, its calls fail); it is dialed again if it is wanted."""
        connection = self.connection
        if connection is not None:
            connection.lost = None
            connection.abort()
            self._lost(Failure(why or ConnectionAborted()))

    def close(self) -> Deferred[None]:
        """End everything, for good; nothing is called any more.

        :return: a Deferred that fires when the connection is closed.
        """
        self._closed = True
        self._stop_beating()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        closed: Deferred[None] = Deferred()
        connection, self.connection = self.connection or self._greeting, None
        if connection is None or connection.transport is None:
            closed.callback(None)
        else:
            too_late = self._clock.callLater(_CLOSE, connection.abort)

            def lost(_: Failure) -> None:
                if too_late.active():
                    too_late.cancel()
                closed.callback(None)

            connection.lost = lost
            connection.close()
        if self._dialing is not None:
            self._dialing.cancel()
        return closed

    def _dial(self) -> None:
        self._retry = None
        dialing = cast("Deferred[PeerConnection]", self._endpoint.connect(self._factory))
        attempt = dialing.addCallback(self._greet)
        self._dialing = attempt
        attempt.addTimeout(settings.TIMEOUT, self._clock, _too_late)
        attempt.addCallbacks(self._up, self._failed)

    def _greet(self, connection: PeerConnection) -> Deferred[PeerConnection]:
        self._greeting = connection
        asked = connection.call(commands.Hello, settings.TIMEOUT, protocol=commands.PROTOCOL, session=self._session)

        def greeted(answer: dict[str, object]) -> object:
            greeting = Greeting(**answer)  # type: ignore[arg-type]  # AMP has checked the types
            if greeting.protocol != commands.PROTOCOL:
                raise BadRequest(
                    f"the peer speaks version {greeting.protocol} of the protocol, this side {commands.PROTOCOL}"
                )
            return self._approve(connection, greeting)

        def refused(failure: Failure) -> Failure:
            connection.abort()
            return failure

        approved: Deferred[object] = asked.addCallback(greeted)
        return approved.addCallbacks(lambda _: connection, refused)

    def _up(self, connection: PeerConnection) -> None:
        self._dialing = self._greeting = None
        if self._closed or connection.transport is None:
            if not self._closed:
                self._down("the connection was lost")
            else:
                connection.abort()
            return
        self._failures = 0
        self.connection = connection
        connection.lost = self._lost
        self._beat_in(settings.HEARTBEAT)
        self._on_up(connection)

    def _failed(self, failure: Failure) -> None:
        self._dialing = self._greeting = None
        if not self._closed:
            self._down(reason_of(failure))
            if self._on_refused is not None and isinstance(failure.value, _FINAL):
                self._on_refused(failure.value)

    def _lost(self, failure: Failure) -> None:
        self._stop_beating()
        left = self.connection is not None and self.connection.leaving
        self.connection, self._awaited = None, False
        self._down("it shut down" if left else reason_of(failure))

    def _down(self, reason: str) -> None:
        self._failures += 1
        self._on_down(reason)
        if self._wanted() and not self._closed and self._retry is None and self._dialing is None:
            longest = min(settings.RETRY_FIRST * 2.0 ** min(self._failures - 1, 20), settings.RETRY_LONGEST)
            self._retry = self._clock.callLater(longest * (0.5 + self._random.random() / 2), self._redial)

    def _silent(self, connection: PeerConnection) -> float:
        """Seconds since anything was heard; without end when the clock was put back meanwhile."""
        seconds = self._clock.seconds() - connection.heard
        return seconds if seconds >= 0 else float("inf")

    def _beat_in(self, seconds: float) -> None:
        self._beat = self._clock.callLater(seconds, self._look)

    def _stop_beating(self) -> None:
        beat, self._beat = self._beat, None
        if beat is not None:
            beat.cancel()

    def _look(self) -> None:
        """Ask for a sign of life if there was silence for long."""
        self._beat = None
        if self.connection is not None:
            silent = self._silent(self.connection)
            if silent >= settings.HEARTBEAT:
                self._make_sure(self.connection)
            left = settings.HEARTBEAT - silent if silent < settings.HEARTBEAT else settings.HEARTBEAT
            self._beat_in(max(left, _ROUNDING))

    def _make_sure(self, connection: PeerConnection) -> None:
        if self._asked is not connection:
            self._asked = connection
            sign_of_life(connection, self._clock, settings.TIMEOUT).addCallback(self._made_sure, connection)

    def _made_sure(self, alive: bool, connection: PeerConnection) -> None:
        if self._asked is connection:
            self._asked = None
        if connection is not self.connection:
            return
        if not alive:
            self.drop(TimeoutError(f"it was silent, and gave no sign of life within {settings.TIMEOUT:g} s"))
        elif self._awaited:
            self._awaited = False
            self._on_up(connection)

    def _redial(self) -> None:
        self._retry = None
        if self._wanted():
            self._dial()


def _too_late(_: object, seconds: float) -> PeerConnection:
    raise TimeoutError(f"no connection and greeting within {seconds:g} s")


def reason_of(failure: Failure) -> str:
    """Why a connection could not be had or was lost, in one line without class names where they say nothing."""
    return plain(_reason(failure.value))


def _reason(error: BaseException | None) -> str:
    if isinstance(error, (PyshardError, DNSLookupError)):
        return str(error)
    if isinstance(error, ConnectError):
        return str(error.args[0]).lower() if error.args and error.args[0] else str(error)
    if isinstance(error, ConnectionClosed):
        return "the connection was closed"
    if isinstance(error, handshake_errors.ERRORS):
        return handshake_errors.in_words(error)
    if isinstance(error, amp.UnhandledCommand):
        return "the peer is no pyshard daemon"
    return str(error) or type(error).__name__
