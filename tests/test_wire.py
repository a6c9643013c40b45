"""AMP with limits: long values, boxes past a limit, responders that fail, peers that send anything at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs
import pytest
from deferreds import result
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols import amp
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, connect

from pyshard.boxes import Limits
from pyshard.errors import AMP_ERRORS, BadRequest, InternalError, PyshardError, ShardFull
from pyshard.settings import settings
from pyshard.wire.command import ChunkedBytes, Command, UnreadableAnswer
from pyshard.wire.connection import BoundedAMP

_T = TypeVar("_T")

CHUNK = 65_535


class Echo(Command):
    """Gives back what it was given."""

    commandName = b"Echo"
    arguments = [(b"data", ChunkedBytes())]
    response = [(b"data", ChunkedBytes())]


class Add(Command):
    """Adds."""

    commandName = b"Add"
    arguments = [(b"a", amp.Integer()), (b"b", amp.Integer(optional=True))]
    response = [(b"sum", amp.Integer())]


class Later(Command):
    """Is answered when the test says so."""

    commandName = b"Later"


class Answering(BoundedAMP):
    """The side that answers."""

    def __init__(self, clock: Clock, limits: Limits | None = None) -> None:
        super().__init__(clock, limits or Limits())
        self.failing: BaseException | None = None
        self.gives: Any = ...
        self.waiting: list[Deferred[Mapping[str, object]]] = []

    def responders(self) -> Iterable[tuple[type[amp.Command], Callable[..., object]]]:
        return [(Echo, self.echo), (Add, self.add), (Later, self.later)]

    def echo(self, data: bytes) -> Mapping[str, object]:
        return {"data": data}

    def add(self, a: int, b: int | None) -> Any:
        if self.failing is not None:
            raise self.failing
        return {"sum": a + (b or 0)} if self.gives is ... else self.gives

    def later(self) -> Deferred[Mapping[str, object]]:
        self.waiting.append(Deferred())
        return self.waiting[-1]


@attrs.frozen
class Pair:
    """Two ends of one connection in memory."""

    clock: Clock
    asking: BoundedAMP
    answering: Answering
    flush: Callable[[], object]

    def ask(self, command: type[amp.Command], **arguments: object) -> Any:
        """The answer to a call; raises what it fails with."""
        asked = self.asking.call(command, 5, **arguments)
        self.flush()
        return result(asked)


@pytest.fixture
def pair() -> Pair:
    """A connected pair."""
    clock = Clock()
    asking, answering = BoundedAMP(clock), Answering(clock)
    pump = connect(answering, FakeTransport(answering, True), asking, FakeTransport(asking, False), clock=clock)
    return Pair(clock, asking, answering, pump.flush)


@attrs.define
class Line:
    """An answering side whose peer is the test, byte by byte."""

    clock: Clock
    protocol: Answering
    transport: StringTransport

    def closed(self) -> bool:
        """Whether it has closed the connection."""
        return bool(self.transport.disconnecting)

    def answers(self) -> list[dict[bytes, bytes]]:
        """The boxes that it sent so far."""
        return [dict(box) for box in amp.parseString(self.transport.value())]


def line(limits: Limits | None = None) -> Line:
    """A new connection to an answering side."""
    clock = Clock()
    protocol, transport = Answering(clock, limits), StringTransport()
    protocol.makeConnection(transport)
    return Line(clock, protocol, transport)


def box(**pairs: object) -> bytes:
    """A box on the wire; each value is an int, a str or bytes."""
    values = {key.encode(): value if isinstance(value, bytes) else str(value).encode() for key, value in pairs.items()}
    serialized: bytes = amp.AmpBox(values).serialize()
    return serialized


def add(tag: str, a: int, b: int) -> bytes:
    """A call of `Add` on the wire."""
    return box(_ask=tag, _command="Add", a=a, b=b)


def test_add_on_the_wire() -> None:
    """What the bytes of a call and its answer are."""
    one = line()
    one.protocol.dataReceived(add("7", 1, 2))
    assert add("7", 1, 2) == b"\0\x04_ask\0\x017\0\x08_command\0\x03Add\0\x01a\0\x011\0\x01b\0\x012\0\0"
    assert one.transport.value() == b"\0\x07_answer\0\x017\0\x03sum\0\x013\0\0"


# -- chunked bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 5_000_000])
def test_any_length_crosses(pair: Pair, length: int) -> None:
    """Bytes of any length arrive as they were sent, there and back."""
    data = bytes(range(251)) * (length // 251 + 1)
    data = data[:length]
    assert pair.ask(Echo, data=data) == {"data": data}


@pytest.mark.parametrize(
    ("data", "strings"),
    [
        (b"", {b"data": b"0"}),
        (b"abc", {b"data": b"1", b"data.0": b"abc"}),
        (b"x" * CHUNK, {b"data": b"1", b"data.0": b"x" * CHUNK}),
        (b"x" * CHUNK + b"y", {b"data": b"2", b"data.0": b"x" * CHUNK, b"data.1": b"y"}),
        (
            b"x" * CHUNK + b"y" * CHUNK + b"zz",
            {b"data": b"3", b"data.0": b"x" * CHUNK, b"data.1": b"y" * CHUNK, b"data.2": b"zz"},
        ),
    ],
    ids=["nothing", "little", "a chunk", "a chunk and a byte", "three chunks"],
)
def test_chunks(data: bytes, strings: dict[bytes, bytes]) -> None:
    """The argument's own key has the number of chunks, ``name.n`` has chunk n."""
    sent: dict[bytes, bytes] = {}
    ChunkedBytes().toBox(b"data", sent, {"data": data}, None)
    assert sent == strings
    arrived: dict[str, object] = {}
    ChunkedBytes().fromBox(b"data", strings, arrived, None)
    assert arrived == {"data": data}


def test_foreign_chunk_sizes() -> None:
    """A peer may cut as it likes: chunks are joined in their order."""
    arrived: dict[str, object] = {}
    strings = {b"data": b"3", b"data.2": b"c", b"data.0": b"a", b"data.1": b"", b"data.3": b"not announced"}
    ChunkedBytes().fromBox(b"data", strings, arrived, None)
    assert arrived == {"data": b"ac"}


def test_optional_bytes() -> None:
    """Optional bytes that aren't given have no key, and arrive as None; empty ones arrive as empty."""
    argument = ChunkedBytes(optional=True)
    cases: list[tuple[dict[str, bytes | None], dict[bytes, bytes]]] = [
        ({"data": None}, {}),
        ({}, {}),
        ({"data": b""}, {b"data": b"0"}),
    ]
    for given_, strings in cases:
        sent: dict[bytes, bytes] = {}
        argument.toBox(b"data", sent, given_, None)
        assert sent == strings
    arrived: dict[str, object] = {}
    argument.fromBox(b"data", {}, arrived, None)
    assert arrived == {"data": None}
    argument.fromBox(b"data", {b"data": b"0"}, arrived, None)
    assert arrived == {"data": b""}


def test_bytes_that_must_be_given(pair: Pair) -> None:
    """A caller that leaves them out gets an error, and sends nothing."""
    with pytest.raises(amp.InvalidSignature):
        pair.ask(Echo)
    with pytest.raises(KeyError, match="data"):
        pair.ask(Echo, data=None)
    assert pair.ask(Echo, data=b"next") == {"data": b"next"}


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        ({}, "argument b'data': found None, expected the number of its chunks"),
        ({b"data": b""}, "argument b'data': found b'', expected the number of its chunks"),
        ({b"data": b"-1"}, "argument b'data': found b'-1', expected the number of its chunks"),
        ({b"data": b"1.0"}, "argument b'data': found b'1.0', expected the number of its chunks"),
        ({b"data": b" 1"}, "argument b'data': found b' 1', expected the number of its chunks"),
        ({b"data": b"0x1"}, "argument b'data': found b'0x1', expected the number of its chunks"),
        ({b"data": b"\xd9\xa1"}, "argument b'data': found b'\\xd9\\xa1', expected the number of its chunks"),
        ({b"data": b"1000000"}, "argument b'data': found b'1000000', expected the number of its chunks"),
        ({b"data": b"9" * 5000}, f"argument b'data': found {b'9' * 5000!r}, expected the number of its chunks"),
        ({b"data": b"1"}, "argument b'data': 1 chunks were announced, b'data.0' isn't there"),
        ({b"data": b"999999", b"data.0": b""}, "argument b'data': 999999 chunks were announced, b'data.1' isn't there"),
        ({b"data": b"2", b"data.1": b""}, "argument b'data': 2 chunks were announced, b'data.0' isn't there"),
        (
            {b"data": b"3", b"data.0": b"", b"data.2": b""},
            "argument b'data': 3 chunks were announced, b'data.1' isn't there",
        ),
    ],
)
def test_wrong_chunks(strings: dict[bytes, bytes], message: str) -> None:
    """A count that is none, and a chunk that is missing, are the peer's mistake, and cost next to nothing."""
    with pytest.raises(BadRequest) as refused:
        ChunkedBytes().fromBox(b"data", strings, {}, None)
    assert str(refused.value) == message


def test_wrong_chunks_are_answered() -> None:
    """The peer is told, on a connection that goes on."""
    one = line()
    one.protocol.dataReceived(box(_ask="1", _command="Echo", data=2) + add("2", 1, 2))
    refused, answered = one.answers()
    assert (refused[b"_error"], refused[b"_error_code"]) == (b"1", b"BAD_REQUEST")
    assert refused[b"_error_description"] == b"argument b'data': 2 chunks were announced, b'data.0' isn't there"
    assert answered == {b"_answer": b"2", b"sum": b"3"}
    assert not one.closed()


# -- limits of a box ------------------------------------------------------------------------------------------------


def test_limits_by_default() -> None:
    """Without limits of its own a connection has those of the settings."""
    assert Limits() == Limits(settings.MAX_BOX_KEYS, settings.MAX_BOX_BYTES, settings.UNFINISHED_BOX)


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_keys_of_a_box(spare: int, log_lines: list[str]) -> None:
    """A box with as many keys as the limit is answered, one with one more closes the connection."""
    call = box(_ask="1", _command="Add", a=1, b=2, c=3)
    one = line(Limits(keys=5 + spare, size=1_000_000))
    one.protocol.dataReceived(call * 3)
    assert (one.closed(), len(one.answers())) == ((True, 0) if spare < 0 else (False, 3))
    breach = "warn: connection ?: closed, the peer broke the protocol: a box past 4 keys or 1,000,000 bytes"
    assert log_lines == ([breach] if spare < 0 else [])


@pytest.mark.parametrize("spare", [-1, 0, 1])
@pytest.mark.parametrize("call", [add("1", 1, 2), box(_ask="1", _command="Echo", **{"data": 1, "data.0": b"x" * 5000})])
def test_bytes_of_a_box(call: bytes, spare: int, log_lines: list[str]) -> None:
    """A box as long as the limit, with all lengths and its end, is answered, one byte more closes the connection."""
    size = len(call) + spare
    one = line(Limits(size=size))
    one.protocol.dataReceived(call * 3)
    assert (one.closed(), len(one.answers())) == ((True, 0) if spare < 0 else (False, 3))
    breach = f"warn: connection ?: closed, the peer broke the protocol: a box past 320 keys or {size:,} bytes"
    assert log_lines == ([breach] if spare < 0 else [])


def test_nothing_is_kept_of_a_box_past_its_limit() -> None:
    """A box past its limit is cut while it arrives: what the peer sends on is not looked at."""
    one = line(Limits(size=100_000))
    endless = b"\0\x01k\xff\xff" + b"x" * 65_535
    for _ in range(1000):
        one.protocol.dataReceived(endless)
    assert one.closed()
    assert len(one.protocol._unprocessed) < 200_000
    assert one.transport.value() == b""


def test_one_key_again_and_again() -> None:
    """A box that repeats one key is counted by what was sent, not by what is kept of it."""
    one = line(Limits(keys=10))
    one.protocol.dataReceived(b"\0\x01k\0\x01v" * 11)
    assert one.closed()


def test_long_key(log_lines: list[str]) -> None:
    """A key of more than 255 bytes ends the connection, with one line in the log."""
    one = line()
    one.protocol.dataReceived(b"\x01\x00" + b"k" * 256)
    assert one.closed()
    assert log_lines == [
        "warn: connection ?: closed, the peer broke the protocol: a key of 256 bytes; AMP's keys have at most 255"
    ]


def test_nothing_is_done_after_a_breach() -> None:
    """What stands behind a breach, in the same bytes or later ones, is not done."""
    one = line()
    one.protocol.dataReceived(add("1", 1, 2) + b"\xff\xff" + add("2", 1, 2))
    one.protocol.dataReceived(add("3", 1, 2))
    assert [answer[b"_answer"] for answer in one.answers()] == [b"1"]


# -- unfinished boxes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [b"\0", b"\0\x04", b"\0\x04_ask", b"\0\x04_ask\0\x011", b"\0\x04_ask\0\x011\0"])
def test_unfinished_box(begun: bytes, log_lines: list[str]) -> None:
    """A box that was begun and doesn't end is cut when its time is over, and not before."""
    one = line(Limits(unfinished=30))
    one.clock.advance(100)  # a silent peer that began nothing may stay
    one.protocol.dataReceived(begun)
    one.clock.advance(29.9)
    assert not one.closed()
    one.clock.advance(0.2)
    assert one.closed()
    assert log_lines == [
        "warn: connection ?: closed, the peer broke the protocol: a box that was not finished within 30 s"
    ]


def test_box_that_trickles_in() -> None:
    """Bytes that go on coming don't prolong a box's time."""
    one = line(Limits(unfinished=30))
    for byte in add("1", 1, 2)[:30]:
        assert not one.closed()
        one.protocol.dataReceived(bytes([byte]))
        one.clock.advance(1)
    assert one.closed()


def test_slow_peer_that_finishes() -> None:
    """A peer that finishes each box in time may go on for ever, in whatever pieces its boxes come."""
    call = add("1", 1, 2)
    one = line(Limits(unfinished=30))
    for _ in range(10):
        one.protocol.dataReceived(call[:10])
        one.clock.advance(29)
        one.protocol.dataReceived(call[10:])
        one.clock.advance(1000)
    one.protocol.dataReceived(call[:10])
    for _ in range(10):
        one.clock.advance(29)
        one.protocol.dataReceived(call[10:] + call[:10])
    assert not one.closed()
    assert len(one.answers()) == 20


def test_silence_after_a_box_in_pieces() -> None:
    """A peer whose box came in many pieces and was finished may be silent for ever, and no timer stays."""
    one = line(Limits(unfinished=30))
    for byte in add("1", 1, 2):
        one.protocol.dataReceived(bytes([byte]))
    assert one.clock.getDelayedCalls() == []
    one.clock.advance(1000)
    assert not one.closed()


def test_box_behind_another_has_its_own_time() -> None:
    """A box that began in the bytes that ended another is given its whole time, and not more than twice that."""
    call = add("1", 1, 2)
    one = line(Limits(unfinished=30))
    one.protocol.dataReceived(call[:10])
    one.clock.advance(29)
    one.protocol.dataReceived(call[10:] + call[:10])
    one.clock.advance(29.9)
    assert not one.closed()
    one.clock.advance(30)
    assert one.closed()


def test_no_timer_stays_behind() -> None:
    """A connection that ends takes its timer with it."""
    ends: list[Callable[[Answering], object]] = [
        lambda one: one.connectionLost(Failure(ConnectionDone())),
        lambda one: one.abort(),
        lambda one: one.dataReceived(add("1", 1, 2)[1:]),
        lambda one: one.dataReceived(b"\0"),  # an empty box, which is a breach
    ]
    for end in ends:
        one = line()
        one.protocol.dataReceived(b"\0")
        assert len(one.clock.getDelayedCalls()) == 1
        end(one.protocol)
        assert one.clock.getDelayedCalls() == []


# -- responders -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", AMP_ERRORS)
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
        ("two\nlines", "two\nlines"),
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
    assert refused[b"_error_description"].startswith(b"the arguments can't be read: ")
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
        b"_error_description": f"Unhandled Command: {name.encode()!r}".encode(),
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
    """The caller gets AMP's UnhandledCommand."""

    class Nothing(Command):
        commandName = b"Nothing"

    with pytest.raises(amp.UnhandledCommand):
        pair.ask(Nothing)
    assert pair.ask(Add, a=1) == {"sum": 1}


# -- boxes that make no sense ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "what"),
    [
        (box(_command="Add", a=1), "a command that wants no answer"),
        (box(_answer="1", sum=3), "an answer to what was never asked"),
        (box(_answer="+1", sum=3), "an answer to what was never asked"),
        (box(_error="1", _error_code="X", _error_description=""), "an answer to what was never asked"),
        (box(_ask="1"), "a box that is neither a command nor an answer"),
        (box(a=1), "a box that is neither a command nor an answer"),
        (b"\0\0", "a box that is neither a command nor an answer"),
        (box(_error="1"), "an error without its code or description"),
    ],
    ids=["no ask", "answer", "direct answer", "error", "only ask", "nothing of AMP", "empty", "error without code"],
)
def test_boxes_that_make_no_sense(sent: bytes, what: str, log_lines: list[str]) -> None:
    """Each costs the peer its connection, at once, with one line in the log."""
    one = line()
    one.protocol.dataReceived(sent + add("2", 1, 2))
    assert (one.closed(), one.answers()) == (True, [])
    assert log_lines == [f"warn: connection ?: closed, the peer broke the protocol: {what}"]


@pytest.mark.parametrize("missing", [b"_error_code", b"_error_description"])
def test_half_an_error_fails_its_call(missing: bytes) -> None:
    """An error without its code or description ends the connection, and with it the call that it answers."""
    clock = Clock()
    asking, transport = BoundedAMP(clock), StringTransport()
    asking.makeConnection(transport)
    asked = asking.call(Add, 5, a=1)
    (sent,) = amp.parseString(transport.value())
    half = amp.AmpBox(_error=sent[b"_ask"], _error_code=b"X", _error_description=b"why")
    del half[missing]
    asking.dataReceived(half.serialize())
    assert transport.disconnecting
    asking.connectionLost(Failure(ConnectionLost()))
    with pytest.raises(ConnectionLost):
        result(asked)


def test_answer_twice(pair: Pair) -> None:
    """The second answer to one question is one to none."""
    asked = pair.asking.callRemote(Later)
    pair.flush()
    pair.answering.waiting[0].callback({})
    pair.flush()
    assert result(asked) == {}
    assert pair.answering.transport is not None
    pair.answering.transport.write(box(_answer="1"))
    pair.flush()
    assert pair.asking.transport is None


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param(add("1", 1, 2) + box(_ask="2", _command="Nothing") + add("3", 4, 5), id="calls"),
        pytest.param(box(_ask="1", _command="Echo", **{"data": 2, "data.0": b"x" * 300, "data.1": b"y"}), id="chunks"),
        pytest.param(add("1", 1, 2) + box(_command="Add", a=1) + add("2", 1, 2), id="a breach"),
        pytest.param(add("1", 1, 2) + b"\x01\x00" + add("2", 1, 2), id="a long key"),
    ],
)
def test_split_anywhere(calls: bytes) -> None:
    """Bytes mean the same in whatever pieces they arrive: whole, cut in two anywhere, or one by one."""
    whole = line()
    whole.protocol.dataReceived(calls)
    assert whole.transport.value()
    for cut in range(len(calls) + 1):
        two = line()
        two.protocol.dataReceived(calls[:cut])
        two.protocol.dataReceived(calls[cut:])
        assert (two.transport.value(), two.closed()) == (whole.transport.value(), whole.closed())
    single = line()
    for byte in calls:
        single.protocol.dataReceived(bytes([byte]))
    assert (single.transport.value(), single.closed()) == (whole.transport.value(), whole.closed())


_boxes = st.dictionaries(
    st.sampled_from(["_ask", "_command", "_answer", "_error", "_error_code", "a", "b", "data", "data.0"]),
    st.sampled_from([b"Add", b"Echo", b"1", b"2", b""]) | st.binary(max_size=20),
).map(lambda pairs: box(**pairs))


@given(st.lists(st.binary(max_size=100) | _boxes, max_size=8))
def test_garbage(pieces: list[bytes]) -> None:
    """Whatever a peer sends, it is answered, waited for, or loses its connection; nothing is logged as an error.

    That nothing is logged, every test checks (tests/conftest.py).
    """
    one = line()
    for piece in pieces:
        one.protocol.dataReceived(piece)
    one.answers()  # whole boxes
    assert one.closed() or not one.protocol._broken
    one.clock.advance(2 * settings.UNFINISHED_BOX + 1)
    assert one.closed() == (one.protocol._broken)
    one.protocol.connectionLost(Failure(ConnectionDone()))
    assert one.clock.getDelayedCalls() == []


@given(st.binary(min_size=1, max_size=200))
def test_garbage_costs_only_its_own_connection(garbage: bytes) -> None:
    """Another connection of the same daemon doesn't notice."""
    bad, good = line(), line()
    good.protocol.dataReceived(add("1", 1, 2)[:10])
    bad.protocol.dataReceived(garbage)
    good.protocol.dataReceived(add("1", 1, 2)[10:])
    assert good.answers() == [{b"_answer": b"1", b"sum": b"3"}]
    bad.protocol.abort()


# -- calls ----------------------------------------------------------------------------------------------------------


def test_call_in_time(pair: Pair) -> None:
    """An answer within the timeout is the result, and no timer stays."""
    asked = pair.asking.call(Later, 5)
    pair.flush()
    pair.clock.advance(4.9)
    pair.answering.waiting[0].callback({})
    pair.flush()
    assert result(asked) == {}
    assert pair.clock.getDelayedCalls() == []


def test_call_too_late(pair: Pair) -> None:
    """A call fails when its timeout is over; an answer that comes later is ignored, and the connection goes on."""
    asked = pair.asking.call(Later, 5)
    pair.flush()
    pair.clock.advance(4.9)
    assert not asked.called
    pair.clock.advance(0.2)
    with pytest.raises(TimeoutError, match=r"^no answer to Later within 5 s$"):
        result(asked)
    pair.answering.waiting[0].callback({})
    pair.flush()
    assert pair.ask(Add, a=1) == {"sum": 1}


def test_call_that_loses_its_connection(pair: Pair) -> None:
    """Calls in flight fail with the reason for which the connection ended, later ones at once."""
    in_flight = pair.asking.call(Later, 5)
    pair.flush()
    pair.answering.abort()
    pair.flush()
    for asked in (in_flight, pair.asking.call(Later, 5)):
        with pytest.raises(ConnectionDone):
            result(asked)
    assert pair.clock.getDelayedCalls() == []


def test_call_that_cannot_be_sent(pair: Pair) -> None:
    """Arguments that can't be sent fail the call alone."""
    with pytest.raises(TypeError):
        result(pair.asking.call(Add, 5, a="x"))
    assert pair.clock.getDelayedCalls() == []
    assert pair.ask(Add, a=1) == {"sum": 1}


def test_answer_that_cannot_be_read() -> None:
    """An answer whose arguments can't be read fails its call alone."""
    clock = Clock()
    asking, transport = BoundedAMP(clock), StringTransport()
    asking.makeConnection(transport)
    first, second = asking.call(Add, 5, a=1), asking.call(Add, 5, a=2)
    one, other = amp.parseString(transport.value())
    asking.dataReceived(box(_answer=one[b"_ask"], sum="many") + box(_answer=other[b"_ask"], sum=2))
    with pytest.raises(UnreadableAnswer, match=r"the answer to Add can't be read: ValueError: .*many"):
        result(first)
    assert result(second) == {"sum": 2}
    assert not transport.disconnecting


# -- the transport --------------------------------------------------------------------------------------------------


def test_tcp_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small boxes go out at once, and the system looks whether the peer is still there."""
    options: dict[str, bool] = {}
    protocol = BoundedAMP(Clock())
    transport = FakeTransport(protocol, False)
    monkeypatch.setattr(transport, "setTcpNoDelay", lambda on: options.update(delay=not on))
    monkeypatch.setattr(transport, "setTcpKeepAlive", lambda on: options.update(alive=on))
    protocol.makeConnection(transport)
    assert options == {"delay": False, "alive": True}


def test_closing_without_a_connection() -> None:
    """Closing and aborting a connection that is no more, or never was, does nothing."""
    one = line()
    for protocol in (BoundedAMP(Clock()), one.protocol):
        protocol.close()
        protocol.abort()
        if protocol is one.protocol:
            protocol.connectionLost(Failure(ConnectionDone()))
            protocol.close()
            protocol.abort()
            assert protocol.transport is None


def test_unhandled_error_ends_the_connection(pair: Pair, logged_errors: Callable[..., list[BaseException]]) -> None:
    """A caller that handles no error of a call loses the connection, and the log says why."""
    pair.answering.failing = ShardFull("why")
    pair.asking.callRemote(Add, a=1)
    pair.flush()
    (error,) = logged_errors()
    assert (type(error), str(error)) == (ShardFull, "why")
    assert pair.asking.transport is None


def test_connections_are_not_logged_by_amp(pair: Pair, log_lines: list[str]) -> None:
    """Opening and closing a connection says nothing by itself."""
    pair.asking.close()
    pair.flush()
    assert pair.answering.transport is None
    assert log_lines == []
