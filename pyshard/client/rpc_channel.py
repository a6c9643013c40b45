"""RPC to one peer that may not be there yet: commands other than operations, each with its own deadline.

`Stat`, `GetMap`, `Keys`, `CreateIndex` and the like are *calls*. Operations on documents go another way, in batches
(`pyshard.client.shard_link`).

Rules:

- A call that only reads is sent again when its connection breaks. One that may change something is not: it fails with
  `OutcomeUnknown`.
- Every call ends by its deadline.
- A connection that owes answers and gives none for too long is dropped, since its peer may be gone without a word.
- Only a bounded number of calls may be open (`Overloaded`).
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pyshard.client_core.conversation import unknown_call
from pyshard.client_core.unreached_daemon import no_answer
from pyshard.errors import (
    BadRequest,
    ClientClosed,
    OutcomeUnknown,
    Overloaded,
    PyshardError,
    ShuttingDown,
)
from pyshard.net.dialed_connection import DialedConnection
from pyshard.net.reconnecting_dialer import Dialer
from pyshard.protocol.command_boxes import Command, UnreadableAnswer
from pyshard.protocol.commands import SMALL_ANSWERS
from pyshard.protocol.error_answers import UnknownCommand
from pyshard.settings import settings

_T = TypeVar("_T")


class RpcOwner(Protocol):
    """Whose channel it is."""

    @property
    def dialer(self) -> Dialer:
        """Gives the connection to the peer, and drops it."""
        ...

    def peer_name(self) -> str:
        """The peer, as messages call it."""
        ...


class _PendingCall:
    """One call.

    :ivar sent: whether the peer may have it.
    :ivar connection: over which it was last sent.
    """

    def __init__(self, command: type[Command], arguments: dict[str, object], changes: bool) -> None:
        self.command = command
        self.arguments = arguments
        self.changes = changes
        self.sent = False
        self.connection: DialedConnection | None = None
        self.answer: Deferred[dict[str, Any]]


class RpcChannel:
    """Calls one peer. Its owner tells it when the dialer is connected, disconnected or refused.

    :param clock: times the deadlines.
    :param owner: has the dialer, and knows the peer's name.
    :param patience: seconds for which a connection may owe answers and give none.
    :ivar why: why the peer can't be called, in one line.
    """

    def __init__(self, clock: IReactorTime, owner: RpcOwner, patience: float) -> None:
        self._clock = clock
        self._owner = owner
        self._patience = patience
        self._owing: float | None = None  # since when answers are owed and none came
        self._open: list[_PendingCall] = []
        self._connection: DialedConnection | None = None
        self.why = "not reached yet"

    @property
    def has_connection(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @property
    def pending(self) -> bool:
        """Whether a call waits for its answer."""
        return bool(self._open)

    def keep_connection(self, kept: bool) -> None:
        """Have the connection that there is give way to no other one, or let it."""
        if self._connection is not None:
            self._connection.kept = kept

    @property
    def full(self) -> bool:
        """Whether as many calls wait for their answers as may."""
        return len(self._open) >= settings.MAX_QUESTIONS

    def call(self, command: type[Command], seconds: float, changes: bool = False, **arguments: object) -> Deferred[Any]:
        """Call the peer.

        :param seconds: the deadline, from now.
        :param changes: whether the command may change something.
        :return: a Deferred of the answer's arguments by name; cancelled, it fails, and nothing waits for the answer.
        :raises Overloaded: (in the Deferred, as all errors) too many calls wait for their answers already.
        :raises Unavailable: no answer came by then, and nothing was changed.
        :raises OutcomeUnknown: it was sent, the answer was lost, and it may have changed something.
        """
        if self.full:
            return fail(
                Overloaded(
                    f"{len(self._open):,} questions to {self._owner.peer_name()} wait for their answers already; "
                    "wait for some before you ask more"
                )
            )
        call = _PendingCall(command, arguments, changes)
        call.answer = Deferred(lambda _: self._open.remove(call))
        self._open.append(call)
        timer = self._clock.callLater(seconds, self._timed_out, call, seconds)

        def ended(outcome: object) -> object:
            if timer.active():
                timer.cancel()
            return outcome

        call.answer.addBoth(ended)
        connection = self._owner.dialer.acquire()
        if connection is not None:
            self._send_all(connection)
        return call.answer

    def connected(self, connection: DialedConnection) -> None:
        """The peer can be called over this connection; it may have been called over it before."""
        if connection is not self._connection:
            self._connection, self._owing = connection, None
        self.why = "it is connected and silent"
        self._send_all(connection)

    def disconnected(self, why: str) -> None:
        """The peer can't be called now."""
        self._connection = self._owing = None
        self.why = why

    def refused(self, error: PyshardError) -> None:
        """The peer doesn't talk to this side: fail every open call."""
        for call in list(self._open):
            self._end(call, type(error)(f"{self._owner.peer_name()}: {error}"))

    def close(self) -> None:
        """Fail every open call."""
        for call in list(self._open):
            self._end(call, ClientClosed("the client was closed before the answer came"))

    def _send_all(self, connection: DialedConnection) -> None:
        """Send what wasn't sent over this connection, in the order of the calls."""
        for call in list(self._open):
            lost = call.sent and call.changes  # over another connection, whose end is about to be heard of
            if call.connection is not connection and not lost and call in self._open:
                self._send(call, connection)

    def _send(self, call: _PendingCall, connection: DialedConnection) -> None:
        call.sent, call.connection = True, connection
        if self._owing is None:
            self._owing = self._clock.seconds()
        if call.command not in SMALL_ANSWERS:
            connection.expect_large()
        elif not connection.owed:
            connection.expect_small()
        asked = connection.callRemote(call.command, **call.arguments)
        asked.addBoth(self._answer_heard, call, connection)
        asked.addCallbacks(lambda answer: self._end(call, answer), lambda why: self._failed(call, why))

    def _answer_heard(self, outcome: _T, call: _PendingCall, connection: DialedConnection) -> _T:
        if connection is self._connection:
            others = any(other.sent for other in self._open if other is not call)
            self._owing = self._clock.seconds() if others else None
        return outcome

    def _failed(self, call: _PendingCall, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, ShuttingDown):
            call.sent = False  # nothing was done; it goes out again on the next connection
            self.why = str(error)
        elif isinstance(error, PyshardError):
            self._end(call, error)
        elif isinstance(error, UnknownCommand):
            name = call.command.commandName.decode()
            self._end(
                call, BadRequest(f"{self._owner.peer_name()} can't answer {name}; is it the right kind of daemon?")
            )
        elif isinstance(error, UnreadableAnswer):
            self._end(call, self._misunderstood(call, error))
        elif call.changes:
            self._end(call, self._unknown(call, "the connection was lost before the answer came"))

    def _timed_out(self, call: _PendingCall, seconds: float) -> None:
        if call.changes and call.sent:
            self._end(call, self._unknown(call, f"no answer came within {seconds:g} s"))
        else:
            self._end(call, no_answer(self._owner.peer_name(), seconds, self.why))
        if self._owing is not None and self._owing + self._patience <= self._clock.seconds():
            self._owner.dialer.drop()

    def _misunderstood(self, call: _PendingCall, error: UnreadableAnswer) -> PyshardError:
        return self._unknown(call, str(error)) if call.changes else BadRequest(f"{self._owner.peer_name()}: {error}")

    def _unknown(self, call: _PendingCall, why: str) -> OutcomeUnknown:
        return unknown_call(call.command.commandName.decode(), self._owner.peer_name(), why)

    def _end(self, call: _PendingCall, outcome: dict[str, Any] | PyshardError) -> None:
        if call in self._open:
            self._open.remove(call)
            if isinstance(outcome, PyshardError):
                call.answer.errback(outcome)
            else:
                call.answer.callback(outcome)
