"""How many boxes of one connection may wait for their answers: at, under and over the limit, none lost, none twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols import amp
from twisted.python.failure import Failure

from pyshard.net.command_connection import BoundedAMP, DirectResponder, Responder
from pyshard.protocol.argument_types import Integer
from pyshard.protocol.boxes import Box, serialize
from pyshard.protocol.chunked_arguments import ChunkedBytes
from pyshard.protocol.command_boxes import Command
from pyshard.settings import settings

MOST, MOST_BYTES = settings.BOXES_UNDER_WAY, settings.BYTES_UNDER_WAY


class Later(Command):
    """Is answered when the test says so."""

    commandName = b"Later"
    arguments = [(b"number", Integer()), (b"data", ChunkedBytes(optional=True))]
    response = [(b"number", Integer())]


def _answer(_: object, box: Box, tag: bytes) -> bytes:
    return serialize({b"number": box[b"number"], amp.ANSWER: tag})


class Side(BoundedAMP):
    """The side that answers.

    :ivar answer_bytes: bytes that each answer will have, as far as it knows.
    """

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.waiting: dict[int, Deferred[Any]] = {}
        self.at_once = False
        self.answer_bytes = 0
        super().__init__(Clock())

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        return [(Later, cls.later)]

    def later(self, number: int, data: bytes | None) -> Deferred[Any]:
        return self._later(number).addCallback(lambda _: {"number": number})

    def _later(self, number: int) -> Deferred[Any]:
        self.begun.append(number)
        self.waiting[number] = Deferred()
        if self.at_once:
            self.answer(number)
        return self.count_owed(self.waiting.get(number) or self.done, self.answer_bytes)

    def answer(self, number: int) -> None:
        """Answer the call with a number."""
        self.done = self.waiting.pop(number)
        self.done.callback(None)


class DirectSide(Side):
    """One that answers without AMP's machinery."""

    @classmethod
    def direct_responders(cls) -> Iterable[tuple[bytes, DirectResponder]]:
        return [(b"Later", (cls.later_directly, _answer))]

    def later_directly(self, box: Box) -> Deferred[Box]:
        return self._later(int(box[b"number"])).addCallback(lambda _: box)


class Line:
    """An answering side whose peer is the test, byte by byte."""

    def __init__(self, direct: bool = False) -> None:
        self.side = DirectSide() if direct else Side()
        self.transport = StringTransport()
        self.side.makeConnection(self.transport)

    def send(self, *numbers: int, size: int = 0) -> None:
        """Send calls, in one piece, each with so many bytes."""
        self.side.dataReceived(b"".join(call(number, size) for number in numbers))

    def answered(self) -> list[int]:
        """The calls that were answered so far, in the order of their answers."""
        return [int(box[b"number"]) for box in amp.parseString(self.transport.value())]

    def closed(self) -> bool:
        """Whether it has closed the connection."""
        return bool(self.transport.disconnecting)

    @property
    def reading(self) -> bool:
        """Whether anything is read from the peer."""
        return self.transport.producerState == "producing"


def call(number: int, size: int = 0) -> bytes:
    """A call of `Later` on the wire."""
    box = amp.AmpBox({b"_command": b"Later", b"_ask": b"%d" % number, b"number": b"%d" % number})
    if size:
        ChunkedBytes().put(box, b"data", b"x" * size)
    serialized: bytes = box.serialize()
    return serialized


@pytest.fixture(params=[False, True], ids=["amp", "direct"])
def line(request: pytest.FixtureRequest) -> Line:
    """A new connection to an answering side, by either way to answer."""
    return Line(request.param)


@pytest.mark.parametrize("spare", [1, 0, -1])
def test_boxes_under_way(line: Line, spare: int) -> None:
    """Under the limit a connection is read on; at it nothing is, and a box over it waits with the peer's bytes."""
    sent = range(MOST - spare)
    line.send(*sent)
    assert line.side.begun == list(sent)[:MOST]
    assert line.reading is (spare > 0)
    line.send(1000)
    assert line.side.begun == [*sent, 1000][:MOST]


@pytest.mark.parametrize("spare", [1, 0])
def test_bytes_under_way(line: Line, spare: int) -> None:
    """The same for the bytes of boxes that wait, the whole of each box counted."""
    for number in (10, 11, 12):
        line.send(number, size=MOST_BYTES // 4)
        assert line.reading
    wanted = MOST_BYTES - line.side.under_way - spare
    line.send(13, size=2 * wanted - len(call(13, wanted)))
    assert line.side.under_way == MOST_BYTES - spare
    assert line.reading is (spare > 0)
    line.send(14)
    assert len(line.side.begun) == (5 if spare else 4)


def test_bytes_of_answers(line: Line) -> None:
    """What answers will have counts with the boxes, until they are there: few bytes may ask for many."""
    line.side.answer_bytes = MOST_BYTES // 2
    line.send(1)
    assert line.reading
    line.send(2, 3, 4)
    assert (line.side.begun, line.reading) == ([1, 2], False)
    line.side.answer(1)
    assert (line.side.begun, line.reading) == ([1, 2], False)
    line.side.answer(2)
    assert line.side.begun == [1, 2, 3, 4]
    line.side.answer(4)
    line.side.answer(3)
    assert (line.side.answering, line.side.under_way, line.reading) == (0, 0, True)
    line.side.at_once = True
    line.send(5, 6, 7)
    assert (line.side.under_way, line.reading) == (0, True)


def test_all_are_answered_once_and_in_order(line: Line) -> None:
    """What was sent while nothing was read is taken up in its order when half is answered; none is lost, none twice."""
    numbers = list(range(MOST * 5 + 7))
    stream = b"".join(map(call, numbers))
    middle = len(stream) // 2 + 3  # in the middle of a box
    line.side.dataReceived(stream[:middle])
    line.side.dataReceived(stream[middle:])
    most = 0
    while line.side.waiting:
        most = max(most, line.side.answering)
        line.side.answer(max(line.side.waiting))  # the newest first
    assert line.side.begun == numbers
    assert sorted(line.answered()) == numbers
    assert most == MOST
    assert (line.side.answering, line.side.under_way, line.reading) == (0, 0, True)


def test_read_on_when_half_is_answered(line: Line) -> None:
    """The peer isn't read from again for every single answer."""
    line.send(*range(MOST))
    states = []
    for number in range(MOST):
        line.side.answer(number)
        states.append(line.reading)
    assert states.index(True) == MOST / 2 - 1
    assert all(states[MOST // 2 :])


def test_answers_at_once_never_hold(line: Line) -> None:
    """Boxes that are answered at once may be as many as the peer likes."""
    line.side.at_once = True
    line.send(*range(MOST * 3))
    assert line.answered() == list(range(MOST * 3))
    assert (line.reading, line.side.answering, line.side.under_way) == (True, 0, 0)


def test_a_peer_that_does_not_read_either(line: Line) -> None:
    """Nothing is taken up before both is over: that much is under way, and that the peer doesn't read."""
    line.send(*range(MOST + 1))
    line.side.pauseProducing()  # as the transport does
    for number in range(MOST):
        line.side.answer(number)
    assert (line.side.begun, line.reading) == (list(range(MOST)), False)
    line.side.resumeProducing()
    assert (line.side.begun, line.reading) == (list(range(MOST + 1)), True)


def test_a_peer_that_reads_while_much_is_under_way(line: Line) -> None:
    """The other way round."""
    line.send(*range(MOST + 1))
    line.side.pauseProducing()
    line.side.resumeProducing()
    assert (line.side.begun, line.reading) == (list(range(MOST)), False)
    for number in range(MOST):
        line.side.answer(number)
    assert (line.side.begun, line.reading) == (list(range(MOST + 1)), True)


def test_answers_after_the_connection_ended(line: Line) -> None:
    """What is answered when the connection is gone takes nothing further up."""
    line.send(*range(MOST + 5))
    line.side.connectionLost(Failure(ConnectionDone()))
    for number in range(MOST):
        line.side.answer(number)
    assert line.side.begun == list(range(MOST))
    assert (line.side.answering, line.answered()) == (0, [])


def test_no_time_runs_while_nothing_is_read(line: Line) -> None:
    """A box that was begun isn't late when it is this side that doesn't read on; afterwards its time runs."""
    line.side.dataReceived(b"".join(map(call, range(MOST))) + call(100)[:10])
    clock = line.side._clock
    assert isinstance(clock, Clock)
    clock.advance(settings.UNFINISHED_BOX * 3)
    assert not line.closed()
    for number in range(MOST):
        line.side.answer(number)
    clock.advance(settings.UNFINISHED_BOX * 2)
    assert line.closed()


def test_a_breach_behind_many_boxes(line: Line) -> None:
    """What breaks the protocol is found when it is read, and nothing is done after it."""
    line.side.dataReceived(b"".join(map(call, range(MOST))) + b"\0\0" + call(100))
    assert not line.closed()
    for number in range(MOST):
        line.side.answer(number)
    assert line.closed()
    assert line.side.begun == list(range(MOST))


def test_answers_to_this_sides_own_questions() -> None:
    """They aren't the peer's boxes: however many come, they hold up nothing."""
    line = Line()
    asked = [line.side.call(Later, 5, number=n) for n in range(MOST * 2)]
    tags = [box[b"_ask"] for box in amp.parseString(line.transport.value())]
    line.side.dataReceived(b"".join(amp.AmpBox(_answer=tag, number=b"1").serialize() for tag in tags))
    assert all(one.called for one in asked)
    assert line.reading
