"""A sign of life: what counts as one, and a reactor that doesn't run for a while."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols import amp
from twisted.python.failure import Failure

from pyshard.net.command_connection import BoundedAMP
from pyshard.net.heartbeat import sign_of_life


class Line:
    """This side, a peer that is the test, and whether the peer was found to be alive."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.side = BoundedAMP(self.clock)
        self.transport = StringTransport()
        self.side.makeConnection(self.transport)
        self.clock.advance(100)
        self.found: list[bool] = []
        sign_of_life(self.side, self.clock, 5).addCallback(self.found.append)
        (asked,) = amp.parseString(self.transport.value())
        assert asked[b"_command"] == b"Ping"
        self.tag = asked[b"_ask"]

    def turn(self) -> None:
        """Make the calls that are due, as a reactor does in one turn, and not those that they ask for."""
        calls: list[Any] = [one for one in self.clock.getDelayedCalls() if one.getTime() <= self.clock.seconds()]
        for call in calls:
            function = call.func
            call.cancel()
            function()

    def hear(self, **pairs: bytes) -> None:
        """Have the peer send a box."""
        self.side.dataReceived(amp.AmpBox({key.encode(): value for key, value in pairs.items()}).serialize())


@pytest.fixture
def line() -> Line:
    """A peer that was asked after 100 s of silence, and has 5 s."""
    return Line()


def test_an_answer(line: Line) -> None:
    """Who answers is alive, and known to be so at once."""
    line.clock.advance(4)
    line.hear(_answer=line.tag)
    assert (line.found, line.clock.getDelayedCalls()) == ([True], [])


@pytest.mark.parametrize("code", [b"UNHANDLED", b"SHUTTING_DOWN", b"WHATEVER"])
def test_an_error_is_an_answer(line: Line, code: bytes) -> None:
    """So is who answers that he doesn't know the command, as stock AMP does."""
    line.hear(_error=line.tag, _error_code=code, _error_description=b"no")
    assert line.found == [True]


def test_silence(line: Line) -> None:
    """Who says nothing in time isn't."""
    line.clock.advance(4.9)
    assert line.found == []
    line.clock.advance(0.2)
    line.clock.advance(0)
    assert (line.found, line.clock.getDelayedCalls()) == ([False], [])
    line.hear(_answer=line.tag)
    assert line.found == [False]


def test_anything_is_a_sign_of_life(line: Line) -> None:
    """A peer that has half of a long box under way can't answer before the other half, and is alive all the same."""
    line.clock.advance(3)
    line.side.dataReceived(b"\0\7_answer\xff\xff")
    line.clock.advance(2)
    line.clock.advance(0)
    assert line.found == [True]


def test_reactor_that_did_not_run(line: Line) -> None:
    """A process that was stopped over the deadline reads what has come before it judges."""
    line.clock.rightNow += 3600
    line.turn()  # a reactor makes the calls that are due
    line.hear(_answer=line.tag)  # then it reads
    line.turn()
    assert line.found == [True]


@pytest.mark.parametrize("seconds", [0, 5])
def test_lost_connection(line: Line, seconds: float) -> None:
    """Who is gone isn't alive."""
    line.clock.advance(seconds)
    line.side.connectionLost(Failure(ConnectionDone()))
    line.clock.advance(0)
    assert (line.found, line.clock.getDelayedCalls()) == ([False], [])
