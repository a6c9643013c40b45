"""Questions that aren't operations: to a peer that may not be there yet, each with its own deadline.

Rules kept here: a question that only reads is asked again when its connection breaks; one that changes something
is not (`OutcomeUnknown`); every question ends by its deadline; a connection that gives no answer for too long is
dropped, since its peer may be gone without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.protocols import amp
from twisted.python.failure import Failure

from pyshard.errors import (
    BadRequest,
    ClientClosed,
    OutcomeUnknown,
    Overloaded,
    PyshardError,
    ShuttingDown,
    Unavailable,
)
from pyshard.net.dialer import PeerConnection
from pyshard.protocol.commands import Command, UnreadableAnswer
from pyshard.settings import settings

_T = TypeVar("_T")


class _Question:
    """One question. `sent`: whether the peer may have it. `connection`: over which it was last sent."""

    def __init__(self, command: type[Command], arguments: dict[str, object], changes: bool) -> None:
        self.command = command
        self.arguments = arguments
        self.changes = changes
        self.sent = False
        self.connection: PeerConnection | None = None
        self.answer: Deferred[dict[str, Any]]


class Asking:
    """Asks one peer.

    :param clock: times the deadlines.
    :param name: of the peer, for messages.
    :param ready: gives a connection that can be used now; None: `up` will be called with one when there is.
    :param drop: called to have the connection dropped.
    :param patience: seconds for which a connection may owe answers and give none.
    :ivar why: why the peer can't be asked, in one line.
    """

    def __init__(
        self,
        clock: IReactorTime,
        name: Callable[[], str],
        ready: Callable[[], PeerConnection | None],
        drop: Callable[[], None],
        patience: float,
    ) -> None:
        self._clock = clock
        self._name = name
        self._ready = ready
        self._drop = drop
        self._patience = patience
        self._owing: float | None = None  # since when answers are owed and none came
        self._open: list[_Question] = []
        self._connection: PeerConnection | None = None
        self.why = "not reached yet"

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @property
    def pending(self) -> bool:
        """Whether a question waits for its answer."""
        return bool(self._open)

    def ask(self, command: type[Command], seconds: float, changes: bool = False, **arguments: object) -> Deferred[Any]:
        """Ask the peer.

        :param seconds: the deadline, from now.
        :param changes: whether the command may change something.
        :return: a Deferred of the answer's arguments by name; cancelled, it fails, and nothing waits for the answer.
        :raises Overloaded: (in the Deferred, as all errors) too many questions wait for an answer already.
        :raises Unavailable: no answer came by then, and nothing was changed.
        :raises OutcomeUnknown: it was sent, the answer was lost, and it may have changed something.
        """
        if len(self._open) >= settings.MAX_QUESTIONS:
            return fail(
                Overloaded(
                    f"{len(self._open):,} questions to {self._name()} wait for their answers already; "
                    "wait for some before you ask more"
                )
            )
        question = _Question(command, arguments, changes)
        question.answer = Deferred(lambda _: self._open.remove(question))
        self._open.append(question)
        timer = self._clock.callLater(seconds, self._late, question, seconds)

        def ended(outcome: object) -> object:
            if timer.active():
                timer.cancel()
            return outcome

        question.answer.addBoth(ended)
        connection = self._ready()
        if connection is not None:
            self._send_all(connection)
        return question.answer

    def up(self, connection: PeerConnection) -> None:
        """The peer can be asked, over this connection; it may have been asked over it before."""
        if connection is not self._connection:
            self._connection, self._owing = connection, None
        self.why = "it is connected and silent"
        self._send_all(connection)

    def down(self, why: str) -> None:
        """The peer can't be asked now."""
        self._connection = self._owing = None
        self.why = why

    def refuse(self, error: PyshardError) -> None:
        """The peer won't talk to this side: fail every open question."""
        for question in list(self._open):
            self._end(question, type(error)(f"{self._name()}: {error}"))

    def close(self) -> None:
        """Fail every open question."""
        for question in list(self._open):
            self._end(question, ClientClosed("the client was closed before the answer came"))

    def _send_all(self, connection: PeerConnection) -> None:
        """Send what wasn't sent over this connection, in the order in which it was asked."""
        for question in list(self._open):
            lost = question.sent and question.changes  # over another connection, whose end is about to be heard of
            if question.connection is not connection and not lost and question in self._open:
                self._send(question, connection)

    def _send(self, question: _Question, connection: PeerConnection) -> None:
        question.sent, question.connection = True, connection
        if self._owing is None:
            self._owing = self._clock.seconds()
        asked = connection.callRemote(question.command, **question.arguments)
        asked.addBoth(self._heard, question, connection)
        asked.addCallbacks(lambda answer: self._end(question, answer), lambda why: self._failed(question, why))

    def _heard(self, outcome: _T, question: _Question, connection: PeerConnection) -> _T:
        if connection is self._connection:
            others = any(one.sent for one in self._open if one is not question)
            self._owing = self._clock.seconds() if others else None
        return outcome

    def _failed(self, question: _Question, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, ShuttingDown):
            question.sent = False  # nothing was done; it goes out again on the next connection
            self.why = str(error)
        elif isinstance(error, PyshardError):
            self._end(question, error)
        elif isinstance(error, amp.UnhandledCommand | amp.UnknownRemoteError):
            name = question.command.commandName.decode()
            self._end(question, BadRequest(f"{self._name()} can't answer {name}; is it the right kind of daemon?"))
        elif isinstance(error, UnreadableAnswer):
            self._end(question, self._misunderstood(question, error))
        elif question.changes:
            self._end(question, self._unknown(question, "the connection was lost before the answer came"))

    def _late(self, question: _Question, seconds: float) -> None:
        if question.changes and question.sent:
            self._end(question, self._unknown(question, f"no answer came within {seconds:g} s"))
        else:
            self._end(question, Unavailable(f"{self._name()} gave no answer within {seconds:g} s: {self.why}"))
        if self._owing is not None and self._owing + self._patience <= self._clock.seconds():
            self._drop()

    def _misunderstood(self, question: _Question, error: UnreadableAnswer) -> PyshardError:
        return self._unknown(question, str(error)) if question.changes else BadRequest(f"{self._name()}: {error}")

    def _unknown(self, question: _Question, why: str) -> OutcomeUnknown:
        name = question.command.commandName.decode()
        return OutcomeUnknown(f"{name} was sent to {self._name()} and {why}: it may or may not have happened")

    def _end(self, question: _Question, outcome: dict[str, Any] | PyshardError) -> None:
        if question in self._open:
            self._open.remove(question)
            if isinstance(outcome, PyshardError):
                question.answer.errback(outcome)
            else:
                question.answer.callback(outcome)
