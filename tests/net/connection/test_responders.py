"""What is answered: responders that fail, arguments that can't be read, commands that nobody knows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from deferreds import result
from net.connection.ends import Add, Echo, Later, Pair, add, box, line
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols import amp

from pyshard.errors import BY_CODE, InternalError, PyshardError, ShardFull
from pyshard.net.command_connection import BoundedAMP, DirectResponder
from pyshard.protocol.boxes import Box, serialize
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.error_answers import UnknownCommand


class Direct(BoundedAMP):
    """Answers `Later` without AMP's machinery: begins with a Deferred, and makes the answer with a function."""

    def __init__(self, work: Deferred[str], end: Callable[[str, bytes], bytes]) -> None:
        self._work, self._end = work, end
        super().__init__(Clock())
        self.wire = StringTransport()
        self.makeConnection(self.wire)

    def told(self) -> list[Box]:
        """What it has answered."""
        return [dict(box) for box in amp.parseString(self.wire.value())]

    @classmethod
    def direct_responders(cls) -> Iterable[tuple[bytes, DirectResponder]]:
        return [(b"Later", (lambda self, _: self._work, lambda self, outcome, tag: self._end(outcome, tag)))]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("outcome", "end", "expected"),
    [
        (
            "x",
            lambda outcome, tag: serialize({b"said": outcome.encode(), b"_answer": tag}),
            {b"said": b"x", b"_answer": b"7"},
        ),
        (ShardFull("no"), None, {b"_error_code": b"SHARD_FULL", b"_error_description": b"no", b"_error": b"7"}),
    ],
)
def test_direct_answers(at_once: bool, outcome: Any, end: Any, expected: Box) -> None:
    """What the work fired with becomes the answer, be it there at once or later; what it failed with, the error."""
    work: Deferred[str] = Deferred()
    one = Direct(work, end)
    fire = work.errback if isinstance(outcome, Exception) else work.callback
    if at_once:
        fire(outcome)
    one.dataReceived(box(_command="Later", _ask="7"))
    if not at_once:
        assert (one.told(), one.answering) == ([], 1)
        fire(outcome)
    assert (one.told(), one.answering) == ([expected], 0)


def test_a_direct_answer_that_nobody_hears() -> None:
    """Nothing is made of it: that may take long, and thousands may have gone while they waited."""
    made: list[str] = []
    work: Deferred[str] = Deferred()
    one = Direct(work, lambda outcome, _: made.append(outcome) or b"")  # type: ignore[func-returns-value]
    one.dataReceived(box(_command="Later", _ask="7"))
    one.connectionLost()
    work.callback("x")
    assert (made, one.told(), one.answering) == ([], [], 0)


def test_a_direct_answer_that_cannot_be_made(logged_errors: Callable[..., list[BaseException]]) -> None:
    """Is logged once and answered as `InternalError`, as whatever goes wrong in a responder."""
    unexpected = ValueError("secret")

    def end(_: str, tag: bytes) -> bytes:
        raise unexpected

    one = Direct(succeed("x"), end)
    one.dataReceived(box(_command="Later", _ask="7"))
    (answer,) = one.told()
    assert (answer[b"_error"], answer[b"_error_code"], one.answering) == (b"7", b"INTERNAL_ERROR", 0)
    assert b"secret" not in answer[b"_error_description"]
    assert logged_errors() == [unexpected]


def test_add_on_the_wire() -> None:
    """What the bytes of a call and its answer are."""
    one = line()
    one.protocol.dataReceived(add("7", 1, 2))
    assert add("7", 1, 2) == b"\0\x04_ask\0\x017\0\x08_command\0\x03Add\0\x01a\0\x011\0\x01b\0\x012\0\0"
    assert one.transport.value() == b"\0\x07_answer\0\x017\0\x03sum\0\x013\0\0"


# -- responders -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", BY_CODE.values())
def test_errors_cross(pair: Pair, cls: type[PyshardError]) -> None:
    """Each public error arrives as its own class, with its message, and is nothing for the log."""
    pair.answering.failing = cls("what was given: »ä«")
    with pytest.raises(PyshardError) as failed:
        pair.ask(Add, a=1)
    assert (type(failed.value), str(failed.value)) == (cls, "what was given: »ä«")
    pair.answering.failing = None
    assert pair.ask(Add, a=1) == {"sum": 1}


def test_error_of_a_subclass_crosses(pair: Pair) -> None:
    """An error of a class that isn't declared itself arrives as one of its base."""

    class SpecialFull(ShardFull):
        pass

    pair.answering.failing = SpecialFull("why")
    with pytest.raises(ShardFull, match=r"^why$"):
        pair.ask(Add, a=1)


def test_error_in_a_deferred_crosses(pair: Pair) -> None:
    """An error that comes later crosses like one that is raised at once."""
    asked = pair.asking.call(Later, 5)
    pair.flush()
    pair.answering.waiting[0].errback(ShardFull("why"))
    pair.flush()
    with pytest.raises(ShardFull, match=r"^why$"):
        result(asked)


@pytest.mark.parametrize(
    ("message", "arrived"),
    [
        ("", ""),
        ("x" * 2000, "x" * 2000),
        ("x" * 2001, "x" * 2000),
        ("ä" * 100_000, "ä" * 2000),
        ("\N{GRINNING FACE}" * 100_000, "\N{GRINNING FACE}" * 2000),
        ("lone \ud800", "lone ?"),
        ("two\nlines", "two\\nlines"),
    ],
    ids=["empty", "at", "over", "two bytes each", "four bytes each", "surrogate", "lines"],
)
def test_messages_are_cut(pair: Pair, message: str, arrived: str) -> None:
    """A message crosses up to 2,000 characters; a longer one is cut and costs neither answer nor connection."""
    pair.answering.failing = ShardFull(message)
    with pytest.raises(ShardFull) as failed:
        pair.ask(Add, a=1)
    assert str(failed.value) == arrived


@pytest.mark.parametrize("unexpected", [ValueError("secret"), KeyError("x"), amp.ProtocolSwitched(), RecursionError()])
def test_unexpected_exception(
    pair: Pair, unexpected: Exception, logged_errors: Callable[..., list[BaseException]], log_lines: list[str]
) -> None:
    """It is logged once and answered as `InternalError`; the connection and the calls in flight go on."""
    pair.answering.id = "c7"
    pair.answering.failing = unexpected
    in_flight = pair.asking.call(Later, 5)
    failing = pair.asking.call(Add, 5, a=1)
    pair.flush()
    with pytest.raises(InternalError) as failed:
        result(failing)
    assert str(failed.value) == "Add failed unexpectedly; the log of the peer, connection c7, says why"
    assert logged_errors() == [unexpected]
    assert log_lines == ["critical: connection c7: Add failed"]
    pair.answering.waiting[0].callback({})
    pair.flush()
    assert result(in_flight) == {}
    pair.answering.failing = None
    assert pair.ask(Add, a=1, b=2) == {"sum": 3}


@pytest.mark.parametrize("answer", [None, {}, {"sum": "x"}, 5], ids=repr)
def test_answer_that_cannot_be_sent(pair: Pair, answer: Any, logged_errors: Callable[..., list[BaseException]]) -> None:
    """A responder whose answer isn't one is a mistake of this side, and leaves the connection whole as well."""
    pair.answering.gives = answer
    with pytest.raises(InternalError):
        pair.ask(Add, a=1)
    pair.answering.gives = ...
    assert len(logged_errors()) == 1
    assert pair.ask(Echo, data=b"x") == {"data": b"x"}


def test_answering_counts(pair: Pair) -> None:
    """`answering` is how many commands wait for their answer, however they end."""
    asked = [pair.asking.call(Later, 5) for _ in range(3)]
    pair.flush()
    assert pair.answering.answering == 3
    first, second, third = pair.answering.waiting
    first.callback({})
    second.errback(ShardFull("why"))
    assert pair.answering.answering == 1
    third.callback({})
    assert pair.answering.answering == 0
    pair.flush()
    assert result(asked[0]) == {}
    with pytest.raises(ShardFull):
        result(asked[1])


def test_answer_after_the_connection_ended(pair: Pair) -> None:
    """A responder that is done when nobody waits any more disturbs nobody."""
    asked = pair.asking.call(Later, 5)
    pair.flush()
    pair.asking.abort()
    pair.flush()
    pair.answering.waiting[0].callback({})
    assert pair.answering.answering == 0
    with pytest.raises(ConnectionDone):
        result(asked)


@pytest.mark.parametrize(
    "arguments",
    [{"a": b"one"}, {"a": b""}, {}, {"a": b"9" * 5000}, {"a": b"1", "b": b"\xff"}, {"a": b"1e3"}],
    ids=["word", "empty", "missing", "long", "not ASCII", "float"],
)
def test_arguments_that_cannot_be_read(arguments: dict[str, bytes]) -> None:
    """Arguments that can't be read are the peer's mistake: it is told, nothing is logged, the connection goes on."""
    one = line()
    one.protocol.dataReceived(box(_ask="1", _command="Add", **arguments) + add("2", 1, 2))
    refused, answered = one.answers()
    assert refused[b"_error_code"] == b"BAD_REQUEST"
    assert refused[b"_error_description"].startswith((b"a: found ", b"b: found "))
    assert answered == {b"_answer": b"2", b"sum": b"3"}


def test_arguments_nobody_knows() -> None:
    """Keys that a command doesn't have are ignored."""
    one = line()
    one.protocol.dataReceived(box(_ask="1", _command="Add", a=1, b=2, new="?", _other=""))
    assert one.answers() == [{b"_answer": b"1", b"sum": b"3"}]


@pytest.mark.parametrize("name", ["", "Nothing", "add", "StartTLS", "SwitchTo", "_responders", "echo"])
def test_unknown_command(name: str) -> None:
    """A command that this side doesn't have is refused, also AMP's own StartTLS; the connection goes on as it is."""
    one = line()
    one.protocol.dataReceived(box(_ask="1", _command=name, tls_localCertificate="") + add("2", 1, 2))
    refused, answered = one.answers()
    assert refused == {
        b"_error": b"1",
        b"_error_code": b"UNHANDLED",
        b"_error_description": f'this side has no command "{name}"'.encode(),
    }
    assert answered[b"_answer"] == b"2"
    assert not one.closed()
    assert one.protocol.innerProtocol is None


def test_unknown_command_with_a_long_name() -> None:
    """A name that is too long to be repeated is refused as any other, and the connection stays."""
    one = line()
    one.protocol.dataReceived(box(_ask="1", _command=b"\xff" * 65_535) + add("2", 1, 2))
    refused, answered = one.answers()
    assert refused[b"_error_code"] == b"UNHANDLED"
    assert len(refused[b"_error_description"]) < 10_000
    assert answered[b"_answer"] == b"2"
    assert not one.closed()


def test_unknown_command_for_the_caller(pair: Pair) -> None:
    """The caller hears it."""

    class Nothing(Command):
        commandName = b"Nothing"

    with pytest.raises(UnknownCommand):
        pair.ask(Nothing)
    assert pair.ask(Add, a=1) == {"sum": 1}


def test_a_file_over_a_unix_socket() -> None:
    """It is closed, and so is the connection of whoever sends files."""
    side, wire = BoundedAMP(Clock()), StringTransport()
    side.makeConnection(wire)
    reads, writes = os.pipe()
    side.fileDescriptorReceived(reads)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reads)
    os.close(writes)
    assert wire.disconnected
