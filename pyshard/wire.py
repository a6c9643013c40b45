"""AMP as pyshard speaks it: long values in chunks, boxes with limits, responders that can't hurt the connection.

Rules kept here (and why):

- a value past 65,535 bytes crosses as `ChunkedBytes`, since AMP can't carry it otherwise;
- a box has at most so many keys and bytes, and a peer has so long to finish one, since stock AMP takes any box;
- whatever goes wrong in a responder is answered as an error that its command declares, since AMP closes the
  connection, with every call in flight on it, after any other;
- a peer that breaks the protocol loses its own connection, at once, with one line in the log;
- TLS is the endpoint's business: AMP's own StartTLS and protocol switches aren't answered.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport, ITransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from pyshard.errors import AMP_ERRORS, BadRequest, InternalError, PyshardError
from pyshard.settings import settings

_CHUNK = 65_535
_MESSAGE = 2000  # characters of an error message that cross the wire

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
        count = strings.get(name)
        if count is None and self.optional:
            objects[name.decode()] = None
            return
        if count is None or not count.isdigit() or len(count) > 6:
            raise BadRequest(f"argument {name!r}: found {count!r}, expected the number of its chunks")
        try:
            chunks = [strings[b"%s.%d" % (name, number)] for number in range(int(count))]
        except KeyError as missing:
            raise BadRequest(f"argument {name!r}: {int(count)} chunks were announced, {missing} isn't there") from None
        objects[name.decode()] = b"".join(chunks)

    def toBox(self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, bytes | None], proto: object) -> None:
        data = objects.get(name.decode())
        if data is None and self.optional:
            return
        if data is None:
            raise KeyError(name)
        if len(data) <= _CHUNK:
            chunks = [data] if data else []
        else:
            chunks = [data[begin : begin + _CHUNK] for begin in range(0, len(data), _CHUNK)]
        strings[name] = b"%d" % len(chunks)
        for number, chunk in enumerate(chunks):
            strings[b"%s.%d" % (name, number)] = chunk


class Command(amp.Command):
    """Base of every command: all of pyshard's errors are declared, so none can cost the connection."""

    errors = AMP_ERRORS


@attrs.frozen
class Limits:
    """What one box may be.

    :param keys: how many keys.
    :param size: bytes, keys and values and their lengths.
    :param unfinished: seconds in which a box that was begun must end.
    """

    keys: int = settings.MAX_BOX_KEYS
    size: int = settings.MAX_BOX_BYTES
    unfinished: float = settings.UNFINISHED_BOX


class BoundedAMP(amp.AMP):
    """AMP with limits. Both sides of every pyshard connection are one of these.

    A subclass that answers commands overrides `responders`.

    :param clock: times unfinished boxes and calls.
    :param limits: what one box may be.
    :ivar id: names this connection in logs and `stat`; its maker may set it.
    :ivar answering: how many commands of the peer wait for their answer.
    """

    _log = Logger()
    id = "?"
    transport: ITCPTransport | None

    def __init__(self, clock: IReactorTime, limits: Limits = Limits()) -> None:
        super().__init__()
        self._clock = clock
        self._limits = limits
        self._keys = 0
        self._size = 0
        self._boxes = 0
        self._broken = False
        self.answering = 0
        self._timer: IDelayedCall | None = None
        self._responders = {command.commandName: (command, function) for command, function in self.responders()}

    def responders(self) -> Iterable[tuple[type[amp.Command], Callable[..., object]]]:
        """Each command that this side answers, and the function that does.

        The function takes the command's arguments by name and returns its answer's arguments (a mapping), or a
        Deferred of them.
        """
        return ()

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
        if self.transport is not None:
            self.transport.loseConnection()

    def abort(self) -> None:
        """End the connection now, whatever is still to be written."""
        self._stop_timer()
        if self.transport is not None:
            self.transport.abortConnection()

    # ------------------------------------------------------------------ what Twisted calls

    def makeConnection(self, transport: ITransport) -> None:
        """Like `connectionLost` it passes by what AMP itself does: it logs each connection on lines of its own."""
        amp.BinaryBoxProtocol.makeConnection(self, transport)

    def connectionMade(self) -> None:
        """Send small boxes at once, and let the system notice peers that are gone."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_timer()
        amp.BinaryBoxProtocol.connectionLost(self, reason)
        self.transport = None

    def dataReceived(self, data: bytes) -> None:
        if self._broken:
            return
        super().dataReceived(data)
        if self.paused or (self._currentBox is None and not self._unprocessed):  # paused: it is this side that waits
            self._stop_timer()
        elif self._timer is None and not self._broken:
            self._watch()

    def proto_init(self, string: bytes) -> str:
        self._keys, self._size = 0, 2  # the bytes that end the box
        result: str = super().proto_init(string)  # a key, which `proto_key` counts
        return result

    def proto_key(self, string: bytes) -> str:
        if string:
            self._keys += 1
            self._count(string)
        else:
            self._boxes += 1
        result: str = super().proto_key(string)
        return result

    def proto_value(self, string: bytes) -> str:
        self._count(string)
        result: str = super().proto_value(string)
        return result

    def lengthLimitExceeded(self, length: int) -> None:
        self._breach(f"a key of {length:,} bytes; AMP's keys have at most 255")

    def ampBoxReceived(self, box: amp.AmpBox) -> None:
        if amp.COMMAND in box and amp.ASK not in box:
            self._breach("a command that wants no answer")
            return
        if amp.ERROR in box and not (amp.ERROR_CODE in box and amp.ERROR_DESCRIPTION in box):
            self._breach("an error without its code or description")  # before AMP forgets whose error it is
            return
        try:
            super().ampBoxReceived(box)
        except (KeyError, amp.NoEmptyBoxes):
            self._breach("a box that is no command, or answers what was never asked")

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
            self.answering += 1
            answer: Deferred[Any] = maybeDeferred(self._arguments, command, box)
            answer.addCallback(lambda arguments: function(**arguments))
            answer.addCallback(command.makeResponse, self)
            answer.addErrback(self._declared, command)
            return answer.addBoth(self._answered)

        return respond

    # ------------------------------------------------------------------ inside

    def _arguments(self, command: type[amp.Command], box: amp.AmpBox) -> dict[str, object]:
        try:
            arguments: dict[str, object] = command.parseArguments(box, self)
        except PyshardError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever an argument's parser raises about the peer's bytes
            raise BadRequest(f"the arguments can't be read: {type(error).__name__}: {error}") from None
        return arguments

    def _answered(self, outcome: object) -> object:
        self.answering -= 1
        return outcome

    def _declared(self, failure: Failure, command: type[amp.Command]) -> Failure:
        error = failure.value
        if not isinstance(error, PyshardError):
            name = command.commandName.decode()
            self._log.failure("connection {connection}: {command} failed", failure, connection=self.id, command=name)
            error = InternalError(f"{name} failed unexpectedly; the log of the peer, connection {self.id}, says why")
        return Failure(amp.RemoteAmpError(error.code.encode(), str(error)[:_MESSAGE], False, local=failure))

    def _count(self, string: bytes) -> None:
        self._size += len(string) + 2
        if self._keys > self._limits.keys or self._size > self._limits.size:
            self._breach(f"a box past {self._limits.keys:,} keys or {self._limits.size:,} bytes")

    def _breach(self, what: str) -> None:
        if not self._broken:
            self._broken = True
            self.paused = True  # ends the parser's loop
            self._log.warn(
                "connection {connection}: closed, the peer broke the protocol: {what}", connection=self.id, what=what
            )
            self.abort()

    def _watch(self) -> None:
        """Give the box that is under way its time; a later box gets its own."""
        boxes = self._boxes

        def over() -> None:
            self._timer = None
            if self._boxes == boxes:
                self._breach(f"a box that was not finished within {self._limits.unfinished:g} s")
            else:
                self._watch()

        self._timer = self._clock.callLater(self._limits.unfinished, over)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
