"""How boxes leave: at once where the system takes them, else in order by way of the reactor."""

from __future__ import annotations

from typing import cast

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorFDSet, ITransport
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.task import Clock
from twisted.protocols import amp
from twisted.python.failure import Failure

from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol.boxes import serialize


class _Reactor:
    """As much of a reactor as a descriptor uses; counts how often it is asked to wait until one can be written."""

    def __init__(self) -> None:
        self.asked = 0

    def addWriter(self, writer: object) -> None:
        self.asked += 1

    def removeWriter(self, writer: object) -> None:
        pass


class _Socket(FileDescriptor):
    """A descriptor of which the system takes as many bytes as the test says, one number for each attempt."""

    connected = 1

    def __init__(self, *takes: int | Exception) -> None:
        self.waker = _Reactor()
        super().__init__(cast(IReactorFDSet, self.waker))
        self.takes = list(takes)
        self.sent = b""

    def writeSomeData(self, data: bytes) -> int | Exception:
        taken = self.takes.pop(0)
        if isinstance(taken, int):
            self.sent += bytes(data[:taken])
            return min(taken, len(data))
        return taken


def _connected(*takes: int | Exception) -> tuple[BoundedAMP, _Socket]:
    protocol, socket = BoundedAMP(Clock()), _Socket(*takes)
    protocol.makeConnection(cast(ITransport, socket))
    return protocol, socket


def _box(number: int, size: int = 100) -> dict[bytes, bytes]:
    return {b"n": b"%d" % number, b"data": b"x" * size}


FIRST, SECOND, THIRD = (serialize(_box(number)) for number in range(3))


def test_a_box_leaves_at_once() -> None:
    """What the system takes whole never comes to the reactor."""
    protocol, socket = _connected(1000, 1000)
    protocol._send(_box(0))
    protocol._send(_box(1))
    assert (socket.sent, socket.waker.asked) == (FIRST + SECOND, 0)


def test_an_answer_of_amps_own_machinery_leaves_at_once() -> None:
    """So does what AMP answers, which would by itself be left to the transport, for one more turn of the reactor."""
    protocol, socket = _connected(1000)
    answered = amp.AmpBox(_answer=b"7", text=b"here")
    protocol.sendBox(answered)
    assert (socket.sent, socket.waker.asked) == (answered.serialize(), 0)


def test_an_answer_of_amps_own_machinery_when_nobody_hears_it() -> None:
    """What AMP is told then it doesn't log."""
    protocol, _ = _connected()
    protocol.connectionLost(Failure(ConnectionDone()))
    with pytest.raises(ConnectionLost):
        protocol.sendBox(amp.AmpBox(_answer=b"7"))


@pytest.mark.parametrize("taken", [0, 1, len(FIRST) - 1])
def test_what_is_not_taken_goes_before_what_comes_later(taken: int) -> None:
    """The rest of a box waits for the reactor, and the boxes behind it with it."""
    protocol, socket = _connected(taken, 1000, 1000)
    for number in range(2):
        protocol._send(_box(number))
    assert socket.sent == FIRST[:taken]
    assert socket.waker.asked
    socket.doWrite()
    assert socket.sent == FIRST + SECOND
    protocol._send(_box(2))
    assert socket.sent == FIRST + SECOND + THIRD
    assert socket.takes == []


def test_while_part_of_a_write_waits_nothing_passes_it() -> None:
    """When the reactor's write was taken in part only, a box goes behind the rest."""
    protocol, socket = _connected(0, 10, 1000, 1000)
    protocol._send(_box(0))
    socket.doWrite()
    protocol._send(_box(1))
    assert socket.sent == FIRST[:10]
    socket.doWrite()
    socket.doWrite()
    assert socket.sent == FIRST + SECOND


def test_a_large_box_is_left_to_the_reactor() -> None:
    """A box of more than 256 KiB isn't written in the turn in which it was made."""
    protocol, socket = _connected()
    protocol._send({b"%d" % number: b"x" * 65_535 for number in range(5)})
    assert (socket.sent, socket.waker.asked) == (b"", 1)


def test_a_connection_that_is_lost_in_the_attempt() -> None:
    """The reactor finds out, and tells the protocol in a turn of its own."""
    protocol, socket = _connected(CONNECTION_LOST, CONNECTION_LOST)
    protocol._send(_box(0))
    assert socket.waker.asked
    assert socket.doWrite() is CONNECTION_LOST


@pytest.mark.parametrize("end", ["close", "abort", "connectionLost"])
def test_nothing_leaves_at_once_from_a_connection_that_ends(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From then on it is the reactor that writes, and closes behind the last byte."""
    protocol, socket = _connected()
    for name in ("loseConnection", "abortConnection"):
        monkeypatch.setattr(socket, name, lambda: None, raising=False)
    if end == "connectionLost":
        protocol.connectionLost(Failure(CONNECTION_LOST))
        protocol.transport = cast("None", socket)  # as if somebody still had it
    else:
        getattr(protocol, end)()
    protocol._send(_box(0))
    assert socket.sent == b""
