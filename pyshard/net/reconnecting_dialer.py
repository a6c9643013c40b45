"""A dialer: keeps one connection to a peer for as long as its owner wants it, and dials again with backoff.

The bootstrap has a dialer for each shard; a client has one for each shard that it talks to, and for each address that
it was given. A connection is connected, greeted (`Hello`), approved by the owner, and only then used.

Rules:

- There is one connection at a time, and one attempt at a time.
- Every attempt, the greeting included, ends within `settings.TIMEOUT` seconds.
- An idle connection is pinged before it is used (`pyshard.net.heartbeat`), so that no call is lost on a dead one.
- A connection whose peer is about to stop takes no new calls.
- The pauses between attempts begin anew after a connection that lasted. A peer that greets, and then breaks the
  protocol or hangs up, is dialed as seldom as one that isn't there.
- The states, and which may follow which, stand in `FOLLOWS`; `Dialer` changes its state in one method.
"""

from __future__ import annotations

from enum import Enum
from random import Random
from typing import Protocol, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from pyshard.client_core.conversation import Broken
from pyshard.errors import BadRequest, NotAuthenticated, NotTrusted, PermissionDenied, PyshardError
from pyshard.net.backoff import Backoff
from pyshard.net.dialed_connection import DialedConnection
from pyshard.net.disconnect_reason import reason_of
from pyshard.net.heartbeat import Heartbeat
from pyshard.protocol import commands
from pyshard.protocol.greeting import Greeting
from pyshard.settings import settings

#: Errors by which one side refuses the other until somebody changes something: to dial again is of no use.
_REFUSALS = (NotAuthenticated, PermissionDenied, NotTrusted)

_CLOSE = 1.0  # seconds that a connection may take to write what is left and close


class DialerState(Enum):
    """What a dialer is doing."""

    IDLE = "nothing: there is no connection, and nobody has asked for one"
    DIALING = "connecting"
    GREETING = "connected; the peer's answer to Hello is awaited or being approved"
    CONNECTED = "connected; the connection can be used"
    BACKING_OFF = "waiting before it dials again"
    CLOSED = "nothing, for good"


#: State → the states that may follow it.
FOLLOWS: dict[DialerState, set[DialerState]] = {
    DialerState.IDLE: {DialerState.DIALING, DialerState.BACKING_OFF, DialerState.CLOSED},
    DialerState.DIALING: {DialerState.GREETING, DialerState.IDLE, DialerState.CLOSED},
    DialerState.GREETING: {DialerState.CONNECTED, DialerState.IDLE, DialerState.CLOSED},
    DialerState.CONNECTED: {DialerState.IDLE, DialerState.CLOSED},
    DialerState.BACKING_OFF: {DialerState.IDLE, DialerState.CLOSED},
    DialerState.CLOSED: set(),
}


class DialerOwner(Protocol):
    """Whose connection it is. Nothing is called once the dialer is closed."""

    def wants_connection(self) -> bool:
        """Whether to dial again after a failure or a loss."""
        ...

    def approve(self, connection: DialedConnection, greeting: Greeting) -> object:
        """Look at who answered, and raise when it isn't who it should be.

        :return: a Deferred of when the connection can be used; anything else: it can be used now.
        """
        ...

    def connected(self, connection: DialedConnection) -> None:
        """This connection can be used; told again for one that `Dialer.acquire` had to ping first."""
        ...

    def disconnected(self, reason: str) -> None:
        """An attempt failed, or the connection was lost.

        :param reason: one line for people.
        """
        ...

    def refused(self, error: PyshardError) -> None:
        """The attempt that just failed was refused, such as for a wrong token; told after `disconnected`."""
        ...


class Dialer:
    """Keeps one connection to an endpoint for as long as its owner wants it.

    :param clock: times attempts, heartbeats and backoff.
    :param endpoint: where the peer is.
    :param owner: whose connection it is.
    :param random: jitter of the backoff.
    :param session: the id of this side's session with the peer (`pyshard.server.session_fence`); None: there is none.
    :param longest: seconds that no pause between attempts exceeds.
    :ivar state: what it is doing.
    :ivar connection: the connection; None unless the state is CONNECTED.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        owner: DialerOwner,
        random: Random,
        session: bytes | None = None,
        longest: float = settings.RETRY_LONGEST,
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self._owner = owner
        self._session = session
        self._backoff = Backoff(random, longest=longest)
        self._factory = Factory.forProtocol(lambda: DialedConnection(clock))
        self._factory.noisy = False
        self.state = DialerState.IDLE
        self._attempt: Deferred[DialedConnection] | None = None  # while DIALING and GREETING
        self._greeted: DialedConnection | None = None  # while GREETING
        self.connection: DialedConnection | None = None  # while CONNECTED, as are the next three
        self._heartbeat: Heartbeat | None = None
        self._since = 0.0  # when it was connected
        self._awaited = False  # whether the owner is told `connected` after the ping
        self._redial: IDelayedCall | None = None  # while BACKING_OFF

    def dial(self) -> None:
        """Dial, if nothing is done yet. A backoff goes on, however often this is called."""
        if self.state is DialerState.IDLE:
            self._become(DialerState.DIALING)
            connected = cast("Deferred[DialedConnection]", self._endpoint.connect(self._factory))
            attempt = connected.addCallback(self._greet)
            self._attempt = attempt
            attempt.addTimeout(settings.TIMEOUT, self._clock, _timed_out)
            attempt.addCallbacks(self._connected, self._failed)

    def acquire(self) -> DialedConnection | None:
        """Ask for a connection that can be used.

        :return: the connection, if it can be used now. None: the dialer dials or pings, as is needed, and the owner is
            told `connected`.
        """
        connection = self.connection
        if connection is None:
            self.dial()
            return None
        if connection.leaving:
            return None
        assert self._heartbeat is not None
        if self._heartbeat.fresh:
            return connection
        self._awaited = True
        self._heartbeat.ping()
        return None

    def drop(self, why: Exception | None = None) -> None:
        """End the connection: its calls fail, the owner is told, and it is dialed again if it is wanted.

        :param why: the reason that the owner is told; None: that it was closed.
        """
        connection = self.connection
        if connection is not None:
            connection.lost = None
            connection.abort()
            self._lost(Failure(why or ConnectionAborted()))

    def hang_up(self) -> None:
        """End the connection, or the attempt to make one, since nobody wants anything of the peer just now."""
        if self._attempt is not None:
            self._attempt.cancel()
        else:
            self.drop()

    def close(self) -> Deferred[None]:
        """End everything, for good.

        :return: a Deferred that fires when the connection is closed.
        """
        connection, attempt = self.connection or self._greeted, self._attempt
        if self.state is not DialerState.CLOSED:
            self._become(DialerState.CLOSED)
        closed = self._hung_up(connection)
        if attempt is not None:
            attempt.cancel()
        return closed

    # ------------------------------------------------------------------ the state

    def _become(self, state: DialerState) -> None:
        """Change the state; what belonged to the last one is ended or forgotten."""
        assert state in FOLLOWS[self.state], f"{self.state.name} → {state.name}"
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if self._redial is not None and self._redial.active():
            self._redial.cancel()
        if state is not DialerState.GREETING:
            self._attempt = None
        self._redial = self._heartbeat = self._greeted = self.connection = None
        self._awaited = False
        self.state = state

    # ------------------------------------------------------------------ an attempt

    def _greet(self, connection: DialedConnection) -> Deferred[DialedConnection]:
        self._become(DialerState.GREETING)
        self._greeted = connection
        asked = connection.call(commands.Hello, settings.TIMEOUT, protocol=commands.PROTOCOL, session=self._session)

        def answered(answer: dict[str, object]) -> object:
            greeting = Greeting(**answer)  # type: ignore[arg-type]  # AMP has checked the types
            if greeting.protocol != commands.PROTOCOL:
                raise BadRequest(
                    f"the peer speaks version {greeting.protocol} of the protocol, this side {commands.PROTOCOL}"
                )
            return self._owner.approve(connection, greeting)

        def failed(failure: Failure) -> Failure:
            connection.abort()
            return failure

        approved: Deferred[object] = asked.addCallback(answered)
        return approved.addCallbacks(lambda _: connection, failed)

    def _connected(self, connection: DialedConnection) -> None:
        if self.state is DialerState.CLOSED:
            connection.abort()
        elif connection.transport is None:
            self._disconnected("the connection was lost")
        else:
            self._become(DialerState.CONNECTED)
            self._since = self._clock.seconds()
            self.connection = connection
            connection.expect_large()
            self._heartbeat = Heartbeat(connection, self._clock, self)
            connection.lost = self._lost
            self._owner.connected(connection)

    def _failed(self, failure: Failure) -> None:
        if self.state is not DialerState.CLOSED:
            given_up = isinstance(failure.value, CancelledError)
            self._disconnected("it was silent while it was waited for" if given_up else reason_of(failure))
            if isinstance(failure.value, _REFUSALS):
                self._owner.refused(failure.value)

    # ------------------------------------------------------------------ the connection

    def peer_alive(self) -> None:
        """See `HeartbeatOwner`."""
        awaited, self._awaited = self._awaited, False
        if awaited and self.connection is not None:
            self._owner.connected(self.connection)

    def peer_silent(self, seconds: float) -> None:
        """See `HeartbeatOwner`."""
        self.drop(TimeoutError(f"it was silent, and gave no sign of life within {seconds:g} s"))

    def _lost(self, failure: Failure) -> None:
        if self._clock.seconds() - self._since >= settings.RETRY_LONGEST:
            self._backoff.reset()
        connection = self.connection
        left = connection is not None and connection.leaving and not isinstance(failure.value, Broken)
        self._disconnected(connection.why_leaving if connection is not None and left else reason_of(failure))

    def _disconnected(self, reason: str) -> None:
        """Tell the owner, who may dial or close at once; else back off if the connection is wanted."""
        self._become(DialerState.IDLE)
        self._backoff.failed()
        self._owner.disconnected(reason)
        if self.state is DialerState.IDLE and self._owner.wants_connection():
            self._become(DialerState.BACKING_OFF)
            self._redial = self._clock.callLater(self._backoff.pause(), self._backed_off)

    def _backed_off(self) -> None:
        self._become(DialerState.IDLE)
        if self._owner.wants_connection():
            self.dial()

    def _hung_up(self, connection: DialedConnection | None) -> Deferred[None]:
        """Close a connection; the Deferred fires when it is closed, within `_CLOSE` seconds."""
        closed: Deferred[None] = Deferred()
        if connection is None or connection.transport is None:
            closed.callback(None)
            return closed
        too_late = self._clock.callLater(_CLOSE, connection.abort)

        def lost(_: Failure) -> None:
            if too_late.active():
                too_late.cancel()
            closed.callback(None)

        connection.lost = lost
        connection.close()
        return closed


def _timed_out(_: object, seconds: float) -> DialedConnection:
    raise TimeoutError(f"no connection and no word of a pyshard daemon within {seconds:g} s")
