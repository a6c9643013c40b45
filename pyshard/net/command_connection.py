"""A connection as both sides of pyshard have it: calls commands of the peer, and answers the peer's.

Boxes come and go as `pyshard.net.bounded_box_stream` says.

Rules:

- Answers are matched to calls by their tags, never by their order.
- Whatever goes wrong in a responder is answered with an error that its command declares
  (`pyshard.protocol.error_answers`): AMP would close the connection, and fail every call in flight on it.
- A failure that is none of pyshard's errors stands in this side's log, and the peer is told where to look.
- TLS is the endpoint's business: AMP's own StartTLS and protocol switches aren't answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure

from pyshard.errors import InternalError, PyshardError
from pyshard.message_texts import MAX_MESSAGE
from pyshard.net.bounded_box_stream import BoxStream
from pyshard.protocol.boxes import ANSWER, ASK, COMMAND, ERROR, ERROR_CODE, ERROR_DESCRIPTION, Box, Limits, serialize
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.error_answers import error_box, error_from_box, unknown_command_box

#: What answers a command without AMP's machinery for arguments: begins the work, given the command's box, and makes the
#: bytes of the answer's box, given what the work's Deferred fires with and the tag.
DirectResponder: TypeAlias = tuple[Callable[[Box], Deferred[Any]], Callable[[Any, bytes], bytes]]

_COUNTED = 1024  # bytes of a box that don't count while it waits for its answer

_T = TypeVar("_T")


class BoundedAMP(BoxStream):
    """AMP with limits. Both sides of every pyshard connection are one of these.

    A subclass that answers commands overrides `responders`.

    :param clock: times unfinished boxes and calls.
    :param limits: what one box may be.
    """

    def __init__(self, clock: IReactorTime, limits: Limits | None = None) -> None:
        super().__init__(clock, limits)
        self._responders = {command.commandName: (command, function) for command, function in self.responders()}
        self._direct = dict(self.direct_responders())
        self._tags = count(1)
        self._asked: dict[bytes, Callable[[Box | Failure], object]] = {}

    def responders(self) -> Iterable[tuple[type[Command], Callable[..., object]]]:
        """Each command that this side answers, and the function that does.

        The function takes the command's arguments by name and returns its answer's arguments (a mapping), or a
        Deferred of them.
        """
        return ()

    def direct_responders(self) -> Iterable[tuple[bytes, DirectResponder]]:
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
        tag = b"%d" % next(self._tags)
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
        asked = self.callRemote(command, **arguments)
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
        command, function = found

        def respond(box: amp.AmpBox) -> Deferred[amp.AmpBox]:
            size = self._begun()
            answer: Deferred[Any] = maybeDeferred(self._admitted, name)
            answer.addCallback(lambda _: command.arguments_in(box))
            answer.addCallback(lambda arguments: function(**arguments))
            answer.addCallback(lambda values: amp.AmpBox(command.answer(values)))
            answer.addErrback(self._declared, name)
            if size > _COUNTED and (not answer.called or answer.paused):
                answer = self.held_until(answer, size)
            return answer.addBoth(self._answered, size)

        return respond

    def held_until(self, answer: Deferred[_T], _size: int) -> Deferred[_T]:
        """Note that what was asked waits. A subclass may count its bytes.

        :return: the same Deferred.
        """
        return answer

    # ------------------------------------------------------------------ inside

    def _answered(self, outcome: object, size: int) -> object:
        self._ended(size)
        return outcome

    def _admitted(self, name: bytes) -> None:
        refused = self.refusal(name)
        if refused is not None:
            raise refused.with_traceback(None)  # it may be the same each time, and must not keep the frames of all

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
            work = begin(box) if refused is None else fail(refused)
        except Exception:  # noqa: BLE001  # as `_public` has it, every failure is answered
            work = fail()
        if work.called and not work.paused and not isinstance(work.result, Failure):  # it needs no callback
            self._answer_directly(work.result, end, name, box[ASK])
        else:
            size = self._begun()
            work.addBoth(self._answer_later, end, name, box[ASK])
            work.addBoth(self._answered, size)

    def _answer_directly(self, outcome: object, end: Callable[[Any, bytes], bytes], name: bytes, tag: bytes) -> None:
        if self.transport is None and not isinstance(outcome, Failure):
            return  # nobody hears it, and to encode it may take long
        if isinstance(outcome, Failure):
            answer = serialize(error_box(self._public(outcome, name), tag))
        else:
            try:
                answer = end(outcome, tag)
            except Exception:  # noqa: BLE001  # as above
                answer = serialize(error_box(self._public(Failure(), name), tag))
        if self.transport is not None:
            self._send_bytes(answer)

    def _answer_later(self, outcome: object, end: Callable[[Any, bytes], bytes], name: bytes, tag: bytes) -> None:
        """Answer what wasn't answered at once. A subclass may count what that takes."""
        self._answer_directly(outcome, end, name, tag)

    def _refuse_unknown(self, box: Box) -> None:
        if self.transport is not None:
            self._send(self.unhandled(box[COMMAND], box[ASK]))
