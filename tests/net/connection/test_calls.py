"""What is asked, and peers that send anything at all."""

from __future__ import annotations

import socket

import pytest
from deferreds import result
from hypothesis import given
from hypothesis import strategies as st
from net.connection.ends import Add, Later, Pair, add, box, line
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.protocols import amp
from twisted.python.failure import Failure

from pyshard.errors import BadRequest
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol.boxes import serialize
from pyshard.protocol.command_boxes import UnreadableAnswer
from pyshard.settings import settings

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
    for asked, why in ((in_flight, ConnectionDone), (pair.asking.call(Later, 5), ConnectionLost)):
        with pytest.raises(why):
            result(asked)
    assert pair.clock.getDelayedCalls() == []


def test_call_that_cannot_be_sent(pair: Pair) -> None:
    """Arguments that can't be sent fail the call alone."""
    with pytest.raises(TypeError):
        result(pair.asking.call(Add, 5, a="x"))
    assert pair.clock.getDelayedCalls() == []
    assert pair.ask(Add, a=1) == {"sum": 1}


def test_an_end_that_many_have_in_common_is_sent_at_once() -> None:
    """As much as the socket takes, behind what stands before it: that isn't copied into the connection's transport."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as ours:
        theirs = listening.accept()[0]
        ours.setblocking(False)
        transport, asking = Connection(ours, Protocol(), EPollReactor()), BoundedAMP(Clock())
        transport.connected = 1
        asking.makeConnection(transport)
        rest = bytes(1_000_000)
        asking.call_with_rest(Add, 5, rest, a=1).addErrback(lambda _: None)
        left = sum(map(len, transport._tempDataBuffer))
        assert left < len(rest)
        with theirs:
            sent = theirs.recv(len(rest) + 1000 - left, socket.MSG_PEEK)
        assert sent.startswith(b"\0\x01a")


def test_call_whose_end_many_have_in_common(pair: Pair) -> None:
    """It is as any other call: its answer comes, its time is over, and a lost connection fails it."""
    rest = serialize(Add.part({"b": 2}))
    answers = [pair.asking.call_with_rest(Add, 5, rest, a=number) for number in range(3)]
    pair.flush()
    assert [result(answer) for answer in answers] == [{"sum": 2}, {"sum": 3}, {"sum": 4}]
    late = pair.asking.call_with_rest(Later, 5, serialize(Later.part({})))
    pair.flush()
    pair.clock.advance(5)
    with pytest.raises(TimeoutError, match=r"^no answer to Later within 5 s$"):
        result(late)
    pair.answering.abort()
    pair.flush()
    with pytest.raises(ConnectionLost):
        result(pair.asking.call_with_rest(Add, 5, rest, a=1))
    assert pair.clock.getDelayedCalls() == []


def test_what_is_asked_is_heard_of_once(pair: Pair) -> None:
    """The answer's box, or the error; and how it failed, when the connection ends before or was never there."""
    heard: list[object] = []
    pair.asking.ask(b"Add", {b"a": b"1", b"b": b"2"}, heard.append)
    pair.asking.ask(b"Add", {b"a": b"x"}, heard.append)
    pair.asking.ask(b"Later", {}, heard.append)
    pair.flush()
    assert heard[0] == {b"_answer": b"1", b"sum": b"3"}
    pair.asking.connectionLost(Failure(ConnectionDone()))
    pair.asking.ask(b"Add", {b"a": b"1"}, heard.append)
    failures = [one.value for one in heard[1:] if isinstance(one, Failure)]
    assert [type(one) for one in failures] == [BadRequest, ConnectionDone, ConnectionLost]
    assert len(heard) == 4


def test_answer_that_cannot_be_read() -> None:
    """An answer whose arguments can't be read fails its call alone."""
    clock = Clock()
    asking, transport = BoundedAMP(clock), StringTransport()
    asking.makeConnection(transport)
    first, second = asking.call(Add, 5, a=1), asking.call(Add, 5, a=2)
    one, other = amp.parseString(transport.value())
    asking.dataReceived(box(_answer=one[b"_ask"], sum="many") + box(_answer=other[b"_ask"], sum=2))
    with pytest.raises(UnreadableAnswer, match=r'^the answer to Add can.t be read: sum: found "many"'):
        result(first)
    assert result(second) == {"sum": 2}
    assert not transport.disconnecting
