"""One connection to a daemon, as a client has it: bytes in, answers out. Pure.

It knows neither socket nor event loop. Whoever has a connection feeds what arrives, and sends what is to go out.

Rules:

- Answers are matched to questions by their tags, never by their order.
- A connection opens with the token, if there is one, and ``Hello``, in one go. Nothing else is asked before it is
  greeted.
- The peer may ask for a sign of life (``Ping``), and may ask this side to leave (``GoAway``); both are answered. It may
  not ask much (`pyshard.client_core.questions_from_daemons`).
- What breaks the protocol ends the conversation (`Broken`), since what comes after it can't be understood.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from pyshard.client_core.questions_from_daemons import QuestionAllowance
from pyshard.errors import BadRequest, NotTrusted, OutcomeUnknown, PyshardError
from pyshard.protocol import commands
from pyshard.protocol.apply_boxes import apply_bytes
from pyshard.protocol.boxes import (
    ANSWER,
    ASK,
    COMMAND,
    ERROR,
    ERROR_CODE,
    ERROR_DESCRIPTION,
    SMALL,
    Box,
    BoxBreach,
    BoxParser,
    Limits,
    TlsFound,
    serialize,
)
from pyshard.protocol.command_boxes import Command, UnreadableAnswer
from pyshard.protocol.error_answers import error_from_box, unknown_command_box
from pyshard.protocol.greeting import Greeting

#: What became of a question: the answer's box, or the error that came in its place.
Reply = Box | Exception


class Broken(Exception):
    """The conversation is over: the connection ended, or the peer broke the protocol. The message says which."""


class Conversation:
    """One connection's questions and answers.

    :param session: the id of this side's session with the daemon (`pyshard.server.session_fence`); None: there is none.
    :param secret: that of the token to present; None: none.
    :param now: the time, in seconds of any clock that never goes back.
    :ivar outgoing: bytes to be sent, in pieces; whoever sends them takes them out.
    :ivar answers: what came in answer, by tag; whoever asked takes it out.
    :ivar greeting: who answered, once it has.
    :ivar leaving: the peer is about to stop: nothing more is to be asked.
    :ivar heard: when anything last came.
    """

    __slots__ = (
        "_allowance", "_asked", "_hello", "_large", "_parser", "_small", "_tags",
        "answers", "greeting", "heard", "leaving", "outgoing",
    )  # fmt: skip

    def __init__(self, session: bytes | None, secret: bytes | None, now: float, limits: Limits | None = None) -> None:
        self._small, self._large = limits or SMALL, limits or Limits()
        self._parser = BoxParser(self._small)
        self._tags = count(1)
        self._asked: set[bytes] = set()
        self._allowance = QuestionAllowance(now)
        self.answers: dict[bytes, Reply] = {}
        self.outgoing: list[bytes] = []
        self.greeting: Greeting | None = None
        self.leaving = False
        self.heard = now
        opening = [] if secret is None else [self.call(commands.Authenticate, token=secret)]
        opening.append(self.call(commands.Hello, protocol=commands.PROTOCOL, session=session))
        self._hello = opening

    @property
    def owed(self) -> bool:
        """Whether the peer owes answers."""
        return bool(self._asked)

    def ask(self, name: bytes, box: Box) -> bytes:
        """Ask the peer.

        :param name: the command's.
        :param box: its arguments, as they cross the wire.
        :return: the tag under which the answer will stand in `answers`.
        """
        tag = b"%d" % next(self._tags)
        self._asked.add(tag)
        box[COMMAND] = name
        box[ASK] = tag
        self.outgoing.append(serialize(box))
        return tag

    def apply(self, epoch: int, batch: bytes, stale: bool = False) -> bytes:
        """As `ask`, an `Apply`.

        :param stale: whether what it finds may be a little old.
        """
        tag = b"%d" % next(self._tags)
        self._asked.add(tag)
        self._parser.limits = self._large
        self.outgoing.append(apply_bytes(epoch, batch, tag, stale))
        return tag

    def call(self, command: type[Command], **arguments: object) -> bytes:
        """As `ask`, with the arguments as values."""
        if command not in commands.SMALL_ANSWERS:
            self._parser.limits = self._large
        elif not self._asked:
            self._parser.limits = self._small
        return self.ask(command.commandName, command.question(arguments))

    def receive(self, data: bytes, now: float) -> None:
        """Take what has arrived: answers are put down in `answers`, and the peer's own questions are answered.

        :raises Broken: the peer broke the protocol.
        :raises NotTrusted: the peer speaks TLS, and this side doesn't.
        """
        self.heard = now
        parser = self._parser
        if (box := parser.only_box(data)) is not None:  # as is mostly so
            self._take(box)
            return
        parser.feed(data)
        try:
            while (box := parser.next_box()) is not None:
                self._take(box)
        except TlsFound:
            raise NotTrusted(
                'the peer speaks TLS, and this side was not told to; see the documentation, "TLS"'
            ) from None
        except BoxBreach as breach:
            raise Broken(f"the peer broke the protocol: {breach}") from None

    def greeted(self) -> Greeting | None:
        """Who answered; None while the greeting hasn't all come.

        :raises PyshardError: the peer refuses this side, or speaks another version of the protocol.
        :raises Broken: the answer makes no sense.
        """
        if self.greeting is None and all(tag in self.answers for tag in self._hello):
            replies = [self.answers.pop(tag) for tag in self._hello]
            for reply in replies:
                if isinstance(reply, PyshardError):
                    raise reply
            self.greeting = _greeting(replies[-1])
        return self.greeting

    # ------------------------------------------------------------------ inside

    def _take(self, box: Box) -> None:
        tag = box.get(ANSWER) or box.get(ERROR)
        if tag is not None:
            if tag not in self._asked:
                raise Broken("the peer broke the protocol: an answer to what was never asked")
            self._asked.discard(tag)
            if ANSWER in box:
                self.answers[tag] = box
            elif ERROR_CODE in box and ERROR_DESCRIPTION in box:
                self.answers[tag] = error_from_box(box)
            else:
                raise Broken("the peer broke the protocol: an error without its code or description")
        elif COMMAND in box and ASK in box:
            self._answer(box[COMMAND], box[ASK])
        else:
            raise Broken("the peer broke the protocol: a box that is neither a question nor an answer")

    def _answer(self, name: bytes, tag: bytes) -> None:
        if (breach := self._allowance.breach(self._parser.size, self.heard)) is not None:
            raise Broken(f"the peer broke the protocol: {breach}")
        if name == commands.GoAway.commandName:
            self.leaving = True
        elif name != commands.Ping.commandName:
            self.outgoing.append(serialize(unknown_command_box(name, tag)))
            return
        self.outgoing.append(serialize({ANSWER: tag}))


def _greeting(reply: Reply) -> Greeting:
    if isinstance(reply, Exception):
        raise Broken("the peer is no pyshard daemon")
    try:
        greeting = Greeting(**commands.Hello.answer_in(reply))
    except UnreadableAnswer as error:
        raise Broken(str(error)) from None
    if greeting.protocol != commands.PROTOCOL:
        raise BadRequest(f"the peer speaks version {greeting.protocol} of the protocol, this side {commands.PROTOCOL}")
    return greeting


def read_answer(command: type[Command], reply: Reply, changes: bool, peer: str) -> dict[str, Any]:
    """The arguments of an answer, by name.

    :param reply: what came in answer to `command`.
    :param changes: whether the command may have changed something.
    :param peer: the peer, as messages call it.
    :raises PyshardError: it is an error, or can't be read.
    """
    name = command.commandName.decode()
    if isinstance(reply, PyshardError):
        raise reply
    if isinstance(reply, Exception):
        raise BadRequest(f"{peer} can't answer {name}; is it the right kind of daemon?")
    try:
        answer = command.answer_in(reply)
    except UnreadableAnswer as error:
        raise unknown_call(name, peer, str(error)) if changes else BadRequest(f"{peer}: {error}") from None
    return answer


def unknown_call(name: str, peer: str, why: str) -> OutcomeUnknown:
    """The error for a command that was sent and whose outcome isn't known."""
    return OutcomeUnknown(f"{name} was sent to {peer} and {why}: it may or may not have happened")
