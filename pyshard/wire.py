"""AMP as pyshard speaks it: long values in chunks, boxes with limits, responders that can't hurt the connection.

Rules kept here (and why):

- a value past 65,535 bytes crosses as `ChunkedBytes`, since AMP can't carry it otherwise;
- a box has at most so many keys and bytes, and a peer has so long to finish one, since stock AMP takes any box;
- a peer isn't read from while it reads no answers, or while it waits for many, so that neither fills the memory;
- whatever goes wrong in a responder is answered as an error that its command declares, since AMP closes the
  connection, with every call in flight on it, after any other;
- a peer that breaks the protocol loses its own connection, at once, with one line in the log;
- TLS is the endpoint's business: AMP's own StartTLS and protocol switches aren't answered.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from itertools import count
from typing import Any, ClassVar, TypeAlias, TypeVar, cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport, ITransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from pyshard.auth import Role
from pyshard.boxes import Box, BoxBreach, BoxParser, Limits, TlsFound, put_chunks, serialize, take_chunks
from pyshard.errors import AMP_ERRORS, BadRequest, InternalError, PyshardError, from_code
from pyshard.settings import settings

_MESSAGE = 2000  # characters of an error message that cross the wire
_BOXES, _BYTES = settings.BOXES_UNDER_WAY, settings.BYTES_UNDER_WAY
_READ = 128 * 1024 - 64  # bytes that are read at a time: the most that the C library gives without mapping memory
_AT_ONCE = 256 * 1024  # bytes of the largest box that is begun to be written in the turn in which it was made

_T = TypeVar("_T")

#: What the body of a function with ``@inlineCallbacks`` is; to callers the function returns a ``Deferred[_T]``.
Steps: TypeAlias = Generator[Deferred[Any], Any, _T]

#: What a responder gives back: the answer's arguments, now or later.
Arguments: TypeAlias = Mapping[str, object]


class ChunkedBytes(amp.Argument):
    """Bytes of any length: the argument's own key holds how many chunks there are, as a decimal number.

    Chunk n (from 0) is the value of the key ``name.n``; every chunk but the last has 65,535 bytes; empty bytes
    have no chunk.
    """

    def fromBox(self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, object], proto: object) -> None:
        absent = self.optional and name not in strings
        objects[name.decode()] = None if absent else take_chunks(strings, name)

    def toBox(self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, bytes | None], proto: object) -> None:
        data = objects.get(name.decode())
        if data is not None:
            put_chunks(strings, name, data)
        elif not self.optional:
            raise KeyError(name)


class UnreadableAnswer(Exception):
    """The peer answered, but not what the command's answer is: whether it was done can't be known."""


class Command(amp.Command):
    """Base of every command: all of pyshard's errors are declared, so none can cost the connection.

    :cvar role: what a peer must be to have it answered; None: anyone, authenticated or not.
    """

    errors = AMP_ERRORS
    role: ClassVar[Role | None]

    @classmethod
    def parseResponse(cls, box: amp.AmpBox, protocol: object) -> dict[str, Any]:
        """The answer's arguments.

        :raises UnreadableAnswer: one of them is missing or malformed.
        """
        try:
            answer: dict[str, Any] = super().parseResponse(box, protocol)
        except Exception as error:  # noqa: BLE001  # whatever an argument's parser raises about the peer's bytes
            raise UnreadableAnswer(f"the answer to {cls.__name__} can't be read: {_told(error)}") from None
        return answer


def _told(error: Exception) -> str:
    """What an argument's parser had to say, in a sentence."""
    if isinstance(error, PyshardError):
        return str(error)
    return f"{error} is missing" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"


class BoundedAMP(amp.AMP):
    """AMP with limits. Both sides of every pyshard connection are one of these.

    A subclass that answers commands overrides `responders`.

    :param clock: times unfinished boxes and calls.
    :param limits: what one box may be.
    :ivar id: names this connection in logs and `stat`; its maker may set it.
    :ivar answering: how many commands of the peer wait for their answer.
    :ivar under_way: how many bytes their boxes have.
    :ivar heard: when anything was last heard from the peer, in the clock's seconds.
    """

    _log = Logger()
    id = "?"
    transport: ITCPTransport | None

    def __init__(self, clock: IReactorTime, limits: Limits | None = None) -> None:
        super().__init__()
        self._clock = clock
        self.heard = clock.seconds()
        self._parser = BoxParser(limits or Limits())
        self._broken = False
        self._tls_found = False  # whether the peer speaks TLS on this connection, which is none of TLS
        self.answering = 0
        self.under_way = 0
        self._holding = False  # whether a box was begun
        self._unread_bytes = 0
        self._full = False  # whether so much is under way that nothing more is taken up
        self._unread = False  # whether the transport holds so much that the peer hasn't read
        self._timer: IDelayedCall | None = None
        self._responders = {command.commandName: (command, function) for command, function in self.responders()}
        self._direct = dict(self.direct_responders())
        self._tags = count(1)
        self._asked: dict[bytes, Deferred[Box]] = {}
        self._sends_at_once = False

    def responders(self) -> Iterable[tuple[type[amp.Command], Callable[..., object]]]:
        """Each command that this side answers, and the function that does.

        The function takes the command's arguments by name and returns its answer's arguments (a mapping), or a
        Deferred of them.
        """
        return ()

    def direct_responders(self) -> Iterable[tuple[bytes, Callable[[Box], Deferred[Box]]]]:
        """The name of each command that is answered without AMP's machinery for arguments, and the function that does.

        The machinery costs more than the work of a small batch. The function takes the box of the command and returns
        a Deferred of the answer's box; on the wire nothing is different.
        """
        return ()

    def refusal(self, name: bytes) -> PyshardError | None:
        """Why a command isn't answered now, if so; a subclass may have reasons."""
        return None

    def holds(self, size: int) -> None:
        """Called with the bytes of a box that was begun; 0 when there is none any more. A subclass may care."""

    def keeps(self, size: int) -> None:
        """Called with the bytes that the peer hasn't read; 0 when there are none any more. A subclass may care."""

    def limit(self, limits: Limits) -> None:
        """Have other limits from the next box on."""
        self._parser.limits = limits

    @property
    def owed(self) -> int:
        """How many answers the peer owes."""
        return len(self._asked) + len(self._outstandingRequests)

    def call_directly(self, name: bytes, box: Box) -> Deferred[Box]:
        """Ask the peer without AMP's machinery for arguments, and without a deadline.

        :param name: the command's.
        :param box: the arguments as they cross the wire.
        :return: a Deferred of the answer's box; fails as that of `call`.
        """
        if self.transport is None or self._broken:
            return fail(ConnectionLost())
        tag = b"+%d" % next(self._tags)  # AMP's own are hexadecimal
        asked = self._asked[tag] = Deferred()
        box[amp.COMMAND] = name
        box[amp.ASK] = tag
        self._send(box)
        return asked

    def call(self, command: type[amp.Command], timeout: float, **arguments: object) -> Deferred[dict[str, Any]]:
        """Ask the peer.

        :param timeout: seconds after which the Deferred fails with TimeoutError; the answer is then ignored.
        :return: a Deferred of the answer's arguments by name; fails with what the peer raised, or with
            the reason for which the connection ended.
        """
        asked: Deferred[dict[str, Any]] = self.callRemote(command, **arguments)
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

    def close(self) -> None:
        """End the connection when what is to be written has been."""
        self._sends_at_once = False  # from here on it is the reactor that writes, and closes behind the last byte
        if self.transport is not None:
            self.transport.loseConnection()

    def abort(self) -> None:
        """End the connection now, whatever is still to be written."""
        self._sends_at_once = False
        self._stop_timer()
        if self.transport is not None:
            self.transport.abortConnection()

    # ------------------------------------------------------------------ what Twisted calls

    def pauseProducing(self) -> None:
        """See `IPushProducer`: the peer doesn't read what is sent to it. Nothing is read from it, nor parsed on."""
        self._unread = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """See `IPushProducer`: the peer has read what was sent to it."""
        self._unread = False
        if self._unread_bytes:
            self._unread_bytes = 0
            self.keeps(0)
        if not self._full and not self._broken:
            super().resumeProducing()

    def makeConnection(self, transport: ITransport) -> None:
        """Like `connectionLost` it passes by what AMP itself does: it logs each connection on lines of its own."""
        amp.BinaryBoxProtocol.makeConnection(self, transport)

    def connectionMade(self) -> None:
        """Send small boxes at once, and let the system notice peers that are gone."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        transport: object = self.transport
        if isinstance(transport, FileDescriptor):
            self._sends_at_once = True
            transport.bufferSize = _READ

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._sends_at_once = False
        self._stop_timer()
        amp.BinaryBoxProtocol.connectionLost(self, reason)
        self.transport = None
        asked, self._asked = self._asked, {}
        for one in asked.values():
            one.errback(reason)

    def dataReceived(self, data: bytes) -> None:
        if self._broken:
            return
        self.heard = self._clock.seconds()
        parser = self._parser
        parser.feed(data)
        try:
            while not self.paused and (box := parser.next_box()) is not None:
                self.ampBoxReceived(box)
                if self.answering >= _BOXES or self.under_way >= _BYTES:
                    self._fill()
        except BoxBreach as breach:
            self._tls_found = isinstance(breach, TlsFound)
            self._breach(str(breach))
        if parser.begun:
            self._holding = True
            self.holds(parser.held)
            if self.paused:  # it is this side that waits
                self._stop_timer()
            elif self._timer is None and not self._broken:
                self._watch()
        elif self._holding:
            self._holding = False
            self._stop_timer()
            self.holds(0)

    def ampBoxReceived(self, box: Box) -> None:
        if amp.ANSWER in box or amp.ERROR in box:
            self._answer_received(box)
        elif amp.COMMAND not in box:
            self._breach("a box that is neither a command nor an answer")
        elif amp.ASK not in box:
            self._breach("a command that wants no answer")
        elif box[amp.COMMAND] in self._direct:
            self._respond_directly(box)
        elif box[amp.COMMAND] not in self._responders:
            self._refuse_unknown(box)
        else:
            super().ampBoxReceived(box)

    def _answer_received(self, box: Box) -> None:
        if amp.ANSWER not in box and not (amp.ERROR_CODE in box and amp.ERROR_DESCRIPTION in box):
            self._breach("an error without its code or description")  # before AMP forgets whose error it is
            return
        asked = self._asked.pop(box[amp.ANSWER] if amp.ANSWER in box else box[amp.ERROR], None)
        if asked is None:
            try:
                super().ampBoxReceived(box)
            except KeyError:
                self._breach("an answer to what was never asked")
        elif amp.ANSWER in box:
            asked.callback(box)
        else:
            asked.errback(_error_of(box))

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
            answer.addCallback(lambda _: self._arguments(command, box))
            answer.addCallback(lambda arguments: function(**arguments))
            answer.addCallback(command.makeResponse, self)
            answer.addErrback(self._declared, name)
            return answer.addBoth(self._answered, size)

        return respond

    # ------------------------------------------------------------------ inside

    def _arguments(self, command: type[amp.Command], box: amp.AmpBox) -> dict[str, object]:
        try:
            arguments: dict[str, object] = command.parseArguments(box, self)
        except PyshardError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever an argument's parser raises about the peer's bytes
            raise BadRequest(f"the arguments can't be read: {_told(error)}") from None
        return arguments

    def _begun(self) -> int:
        """Put down that the box just parsed waits for its answer; its size, which `_ended` is to be given."""
        size = self._parser.size
        self.answering += 1
        self.under_way += size
        return size

    def _ended(self, size: int) -> None:
        """Put down that a box was answered."""
        self.answering -= 1
        self.under_way -= size
        if self._full and self.answering <= _BOXES / 2 and self.under_way <= _BYTES / 2:
            self._full = False
            if not self._unread and not self._broken and self.transport is not None:
                super().resumeProducing()

    def _fill(self) -> None:
        """Take nothing more up until half of what is under way has been answered."""
        self._full = True
        if self.transport is not None:
            super().pauseProducing()

    def _answered(self, outcome: object, size: int) -> object:
        self._ended(size)
        return outcome

    def _admitted(self, name: bytes) -> None:
        refused = self.refusal(name)
        if refused is not None:
            raise refused

    def _declared(self, failure: Failure, name: bytes) -> Failure:
        error = self._public(failure, name)
        return Failure(amp.RemoteAmpError(error.code.encode(), str(error)[:_MESSAGE], False, local=failure))

    def _public(self, failure: Failure, name: bytes) -> PyshardError:
        """The error that a command's failure is answered with."""
        error = failure.value
        if isinstance(error, PyshardError):
            return error
        command = name.decode()
        self._log.failure("connection {connection}: {command} failed", failure, connection=self.id, command=command)
        return InternalError(f"{command} failed unexpectedly; the log of the peer, connection {self.id}, says why")

    def _respond_directly(self, box: Box) -> None:
        name, size = box[amp.COMMAND], self._begun()
        try:
            self._admitted(name)
            answer = self._direct[name](box)
        except Exception:  # noqa: BLE001  # as `_public` has it, every failure is answered
            answer = fail()
        answer.addBoth(self._answer_directly, name, box[amp.ASK], size)

    def _answer_directly(self, outcome: Box | Failure, name: bytes, tag: bytes, size: int) -> None:
        if isinstance(outcome, Failure):
            error = self._public(outcome, name)
            message = str(error)[:_MESSAGE].encode("utf-8", "replace")
            outcome = {amp.ERROR: tag, amp.ERROR_CODE: error.code.encode(), amp.ERROR_DESCRIPTION: message}
        else:
            outcome[amp.ANSWER] = tag
        if self.transport is not None:
            self._send(outcome)
        self._ended(size)

    def _refuse_unknown(self, box: Box) -> None:
        """As AMP does it, but for a long name, whose repr AMP can't send, after which it closes the connection."""
        name = box[amp.COMMAND][:_MESSAGE]
        refusal = {amp.ERROR_CODE: amp.UNHANDLED_ERROR_CODE, amp.ERROR_DESCRIPTION: b"Unhandled Command: %a" % name}
        if self.transport is not None:
            self._send({amp.ERROR: box[amp.ASK], **refusal})

    def _send(self, box: Box) -> None:
        """Write a box; a small one at once, which spares it a turn of the reactor."""
        transport = self.transport
        assert transport is not None
        data = serialize(box)
        if self._sends_at_once and len(data) <= _AT_ONCE:
            data = _send_now(cast(FileDescriptor, transport), data)
        if data:
            transport.write(data)
            if self._unread:
                self._unread_bytes += len(data)
                self.keeps(self._unread_bytes)

    def sendBox(self, box: Box) -> None:
        """See `IBoxSender`: what AMP's machinery answers and asks."""
        super().sendBox(box)
        if self._unread:
            self._unread_bytes += sum(map(len, box.values()))
            self.keeps(self._unread_bytes)

    def _breach(self, what: str) -> None:
        if not self._broken:
            self._broken = True
            self.paused = True  # ends the loop over boxes
            self._log.warn(
                "connection {connection}: closed, the peer broke the protocol: {what}", connection=self.id, what=what
            )
            self.abort()

    def _watch(self) -> None:
        """Give the box that is under way its time; a later box gets its own."""
        boxes = self._parser.boxes

        def over() -> None:
            self._timer = None
            if self._parser.boxes == boxes:
                self._breach(f"a box that was not finished within {self._parser.limits.unfinished:g} s")
            else:
                self._watch()

        self._timer = self._clock.callLater(self._parser.limits.unfinished, over)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


def _send_now(transport: FileDescriptor, data: bytes) -> bytes:
    """Hand bytes to the system without asking the reactor first; what it doesn't take.

    `FileDescriptor.write` has the reactor wait until the socket can be written, which costs two calls of the system
    and a turn of the reactor, though it nearly always can be.
    """
    if transport.dataBuffer or transport._tempDataBuffer:  # these go first
        return data
    sent = transport.writeSomeData(data)
    if isinstance(sent, int) and sent >= 0:
        return data[sent:]
    return data  # the connection is lost: the reactor's own attempt fails too, and ends it


def _error_of(box: Box) -> Exception:
    """The exception for an error's box, as AMP would raise it for a command that declares all of pyshard's errors."""
    code, message = box[amp.ERROR_CODE], box[amp.ERROR_DESCRIPTION].decode("utf-8", "replace")
    if code == amp.UNHANDLED_ERROR_CODE:
        return amp.UnhandledCommand(message)
    return from_code(code.decode("ascii", "replace"), message)
