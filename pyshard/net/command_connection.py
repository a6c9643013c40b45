"""A connection as both sides of pyshard have it: calls commands of the peer, and answers the peer's.

Boxes come and go as `pyshard.net.bounded_box_stream` says.

Rules:

- Answers are matched to calls by their tags, never by their order.
- Whatever goes wrong in a responder is answered with an error that its command declares
  (`pyshard.protocol.error_answers`): AMP would close the connection, and fail every call in flight on it.
- A failure that is none of pyshard's errors stands in this side's log, and the peer is told where to look.
- TLS is the endpoint's business: AMP's own StartTLS and protocol switches aren't answered.
- What answers which command is known to a class, not to each connection. Python's garbage collector looks at each
  object of thousands of connections, while everybody waits (tests/server/test_tracked_objects.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure

from pyshard.errors import InternalError, PyshardError
from pyshard.message_texts import MAX_MESSAGE
from pyshard.net.bounded_box_stream import BoxStream
from pyshard.net.twisted_internals import send_both_now
from pyshard.protocol.boxes import (
    ANSWER,
    ASK,
    COMMAND,
    ERROR,
    ERROR_CODE,
    ERROR_DESCRIPTION,
    Box,
    Limits,
    serialize,
    serialize_beginning,
)
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.error_answers import error_box, error_from_box, unknown_command_box

#: What answers a command, given the connection and the command's arguments by name.
Responder: TypeAlias = Callable[..., object]

#: Makes the bytes of an answer's box, given the connection, what the work's Deferred fires with, and the tag.
AnswerMaker: TypeAlias = Callable[[Any, Any, bytes], bytes]

#: What answers a command without AMP's machinery for arguments: begins the work, given the connection and the command's
#: box, and makes the answer.
DirectResponder: TypeAlias = tuple[Callable[[Any, Box], Deferred[Any]], AnswerMaker]

_COUNTED = 1024  # bytes of a box that don't count while it waits for its answer

_T = TypeVar("_T")


class BoundedAMP(BoxStream):
    """AMP with limits. Both sides of every pyshard connection are one of these.

    A subclass that answers commands overrides `responders`.

    :param clock: times unfinished boxes and calls.
    :param limits: what one box may be.
    """

    _responders: ClassVar[dict[bytes, tuple[type[Command], Responder]]] = {}
    _direct: ClassVar[dict[bytes, DirectResponder]] = {}

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        cls._responders = {command.commandName: (command, function) for command, function in cls.responders()}
        cls._direct = dict(cls.direct_responders())

    def __init__(self, clock: IReactorTime, limits: Limits | None = None) -> None:
        super().__init__(clock, limits)
        self._last_tag = 0
        self._asked: dict[bytes, Callable[[Box | Failure], object]] = {}

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        """Each command that this side answers, and the function that does; asked once for each class.

        The function takes the connection, and the command's arguments by name. It returns its answer's arguments (a
        mapping), or a Deferred of them.
        """
        return ()

    @classmethod
    def direct_responders(cls) -> Iterable[tuple[bytes, DirectResponder]]:
        """The name of each command that is answered without AMP's machinery for arguments, and what answers it.

        The machinery costs more than the work of a small batch; on the wire nothing is different.
        """
        return ()

    def refusal(self, name: bytes) -> PyshardError | None:
        """Why a command isn't answered now, if so; a subclass may have reasons."""
        return None

    def excess(self) -> str | None:
        """Count a question of the peer: how it broke the protocol by it, if it did. A subclass may have a limit."""
        return None

    def unhandled(self, name: bytes, tag: bytes) -> Box:
        """The answer to a command that this side doesn't have; a subclass may know better why."""
        return unknown_command_box(name, tag)

    @property
    def owed(self) -> int:
        """How many answers the peer owes."""
        return len(self._asked)

    def call_directly(self, name: bytes, box: Box) -> Deferred[Box]:
        """Ask the peer without AMP's machinery for arguments, and without a deadline.

        :param name: the command's.
        :param box: the arguments as they cross the wire.
        :return: a Deferred of the answer's box; fails as that of `call`.
        """
        asked: Deferred[Box] = Deferred()
        self.ask(name, box, asked.callback)
        return asked

    def ask(self, name: bytes, box: Box, heard: Callable[[Box | Failure], object]) -> None:
        """As `call_directly`, without the cost of a Deferred.

        :param heard: is called once, with the answer's box or how it failed; must not raise.
        """
        if self.transport is None or self._broken:
            heard(Failure(ConnectionLost()))
            return
        self._last_tag += 1
        tag = b"%d" % self._last_tag
        self._asked[tag] = heard
        box[COMMAND] = name
        box[ASK] = tag
        self._send(box)

    def call(self, command: type[Command], timeout: float, **arguments: object) -> Deferred[dict[str, Any]]:
        """Ask the peer.

        :param timeout: seconds after which the Deferred fails with TimeoutError; the answer is then ignored.
        :return: a Deferred of the answer's arguments by name; fails with what the peer raised, or with
            the reason for which the connection ended.
        """
        return self._in_time(self.callRemote(command, **arguments), command, timeout)

    def call_with_rest(
        self, command: type[Command], timeout: float, rest: bytes, **arguments: object
    ) -> Deferred[dict[str, Any]]:
        """As `call`, where many peers are told the same: its bytes are neither made nor copied for each of them.

        :param rest: the bytes with which the question's box ends, made of a `Command.part` of it.
        :param arguments: the others.
        """
        asked: Deferred[Box] = Deferred()
        if self.transport is None or self._broken:
            asked.errback(ConnectionLost())
        else:
            box = command.part(arguments)
            self._last_tag += 1
            box |= {COMMAND: command.commandName, ASK: b"%d" % self._last_tag}
            self._asked[box[ASK]] = asked.callback
            beginning = serialize_beginning(box)
            if self._sends_at_once:
                beginning, rest = send_both_now(self.transport, beginning, rest)  # type: ignore[arg-type]  # it is one
            for part in filter(None, (beginning, rest)):  # what is left is copied for this connection alone
                self._send_bytes(part)
        return self._in_time(asked.addCallback(command.answer_in), command, timeout)

    def _in_time(
        self, asked: Deferred[dict[str, Any]], command: type[Command], timeout: float
    ) -> Deferred[dict[str, Any]]:
        result: Deferred[dict[str, Any]] = Deferred()

        def late() -> None:
            if not result.called:
                result.errback(
                    Failure(TimeoutError(f"no answer to {command.commandName.decode()} within {timeout:g} s"))
                )

        timer = self._clock.callLater(timeout, late)

        def answered(outcome: dict[str, Any] | Failure) -> None:
            if timer.active():
                timer.cancel()
            if not result.called:
                result.callback(outcome) if not isinstance(outcome, Failure) else result.errback(outcome)

        asked.addBoth(answered)
        return result

    def callRemote(  # a name and an order of Twisted
        self,
        commandType: type[Command],  # noqa: N803  # likewise
        *_: object,
        **arguments: object,
    ) -> Deferred[dict[str, Any]]:
        """As `call`, without a deadline; takes our commands, not AMP's."""
        asked = self.call_directly(commandType.commandName, commandType.question(arguments))
        return asked.addCallback(commandType.answer_in)

    # ------------------------------------------------------------------ what Twisted calls

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        asked, self._asked = self._asked, {}
        for heard in asked.values():
            heard(reason)

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """See `IFileDescriptorReceiver`: a Unix socket brings a file, which nobody wants."""
        os.close(descriptor)
        self._breach("it sent a file")

    def ampBoxReceived(self, box: Box) -> None:
        if ANSWER in box or ERROR in box:
            self._answer_received(box)
        elif COMMAND not in box:
            self._breach("a box that is neither a command nor an answer")
        elif ASK not in box:
            self._breach("a command that wants no answer")
        elif box[COMMAND] in self._direct:
            self._respond_directly(box)
        elif (excess := self.excess()) is not None:
            self._breach(excess)
        elif box[COMMAND] not in self._responders:
            self._refuse_unknown(box)
        else:
            super().ampBoxReceived(box)

    def _answer_received(self, box: Box) -> None:
        if ANSWER not in box and not (ERROR_CODE in box and ERROR_DESCRIPTION in box):
            self._breach("an error without its code or description")  # before AMP forgets whose error it is
            return
        heard = self._asked.pop(box[ANSWER] if ANSWER in box else box[ERROR], None)
        if heard is None:
            self._breach("an answer to what was never asked")
        else:
            heard(box if ANSWER in box else Failure(error_from_box(box)))

    def unhandledError(self, failure: Failure) -> None:
        self._log.failure("connection {connection}: unexpected error", failure, connection=self.id)
        self.abort()

    def locateResponder(self, name: bytes) -> Callable[[amp.AmpBox], Deferred[amp.AmpBox]] | None:
        """The responder for a command, in the wrapping that turns every failure into a declared error."""
        found = self._responders.get(name)
        if found is None:
            return None
        return partial(self._respond, *found)

    def held_until(self, answer: Deferred[_T], _size: int) -> Deferred[_T]:
        """Note that what was asked waits. A subclass may count its bytes.

        :return: the same Deferred.
        """
        return answer

    # ------------------------------------------------------------------ inside

    def _respond(self, command: type[Command], function: Responder, box: amp.AmpBox) -> Deferred[amp.AmpBox]:
        size = self._begun()
        answer: Deferred[Any] = maybeDeferred(self._begin, command, function, box)
        if size > _COUNTED and (not answer.called or answer.paused):
            answer = self.held_until(answer, size)
        return answer.addBoth(self._answered, command, size)

    def _begin(self, command: type[Command], function: Responder, box: amp.AmpBox) -> object:
        refused = self.refusal(command.commandName)
        if refused is not None:
            raise refused.with_traceback(None)  # it may be the same each time, and must not keep the frames of all
        return function(self, **command.arguments_in(box))

    def _answered(self, outcome: Any, command: type[Command], size: int) -> amp.AmpBox | Failure:
        """The answer of a command, given what came of it. One callback, as each takes four objects while it waits."""
        try:
            if isinstance(outcome, Failure):
                return self._declared(outcome, command.commandName)
            try:
                return amp.AmpBox(command.answer(outcome))
            except Exception:  # noqa: BLE001  # as `_public` has it, every failure is answered
                return self._declared(Failure(), command.commandName)
        finally:
            self._ended(size)

    def _declared(self, failure: Failure, name: bytes) -> Failure:
        error = self._public(failure, name)
        return Failure(amp.RemoteAmpError(error.code.encode(), str(error)[:MAX_MESSAGE], False, local=failure))

    def _public(self, failure: Failure, name: bytes) -> PyshardError:
        """The error that a command's failure is answered with."""
        error = failure.value
        if isinstance(error, PyshardError):
            return error
        command = name.decode()
        self._log.failure("connection {connection}: {command} failed", failure, connection=self.id, command=command)
        return InternalError(f"{command} failed unexpectedly; the log of the peer, connection {self.id}, says why")

    def _respond_directly(self, box: Box) -> None:
        name = box[COMMAND]
        begin, end = self._direct[name]
        try:
            refused = self.refusal(name)
            work = begin(self, box) if refused is None else fail(refused)
        except Exception:  # noqa: BLE001  # as `_public` has it, every failure is answered
            work = fail()
        if work.called and not work.paused and not isinstance(work.result, Failure):  # it needs no callback
            self._answer_directly(work.result, end, name, box[ASK])
        else:
            size = self._begun()
            work.addBoth(self._end_directly, end, name, box[ASK], size)

    def _answer_directly(self, outcome: object, end: AnswerMaker, name: bytes, tag: bytes) -> None:
        if self.transport is None and not isinstance(outcome, Failure):
            return  # nobody hears it, and to encode it may take long
        if isinstance(outcome, Failure):
            answer = serialize(error_box(self._public(outcome, name), tag))
        else:
            try:
                answer = end(self, outcome, tag)
            except Exception:  # noqa: BLE001  # as above
                answer = serialize(error_box(self._public(Failure(), name), tag))
        if self.transport is not None:
            self._send_bytes(answer)

    def _end_directly(self, outcome: object, end: AnswerMaker, name: bytes, tag: bytes, size: int) -> None:
        try:
            self._answer_later(outcome, end, name, tag)
        finally:
            self._ended(size)

    def _answer_later(self, outcome: object, end: AnswerMaker, name: bytes, tag: bytes) -> None:
        """Answer what wasn't answered at once. A subclass may count what that takes."""
        self._answer_directly(outcome, end, name, tag)

    def _refuse_unknown(self, box: Box) -> None:
        if self.transport is not None:
            self._send(self.unhandled(box[COMMAND], box[ASK]))
