"""The private reactor: calls for the next turn, timers, calls of other threads, descriptors."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from conftest import TakeErrors
from twisted.internet.abstract import FileDescriptor

from pyshard.blocking.private_reactor import PrivateReactor


@pytest.fixture
def reactor() -> Iterator[PrivateReactor]:
    """A private reactor that runs only when the test runs it."""
    made = PrivateReactor()
    made.startRunning(installSignalHandlers=False)
    yield made
    made.dispose()


def test_what_is_to_be_called_next_is_called_in_its_order(reactor: PrivateReactor) -> None:
    """One turn makes all calls without a delay, in order; calls that they ask for come in the next turn, at once."""
    called: list[str] = []

    def first() -> None:
        called.append("first")
        reactor.callLater(0, called.append, "third")

    reactor.callLater(0, first)
    reactor.callLater(0, called.append, "second")
    assert reactor.call_due() == 0
    assert called == ["first", "second"]
    assert reactor.call_due() is None
    assert called == ["first", "second", "third"]


@pytest.mark.parametrize("turn", ["call_due", "runUntilCurrent"])
def test_timers_and_calls_of_other_threads_have_their_turn(reactor: PrivateReactor, turn: str) -> None:
    """Timers and calls of other threads are made although every turn has calls without a delay."""
    called: list[str] = []

    def again() -> None:
        reactor.callLater(0, again)

    again()
    reactor.callLater(1e-9, called.append, "timer")
    reactor.callFromThread(reactor.callLater, 0, called.append, "thread")
    for _ in range(2):
        getattr(reactor, turn)()
    assert sorted(called) == ["thread", "timer"]


def test_a_turn_tells_how_long_to_wait(reactor: PrivateReactor) -> None:
    """The wait lasts until the next timer; there is none while a call without a delay is queued."""
    reactor.callLater(60, lambda: None)
    wait = reactor.call_due()
    assert wait is not None
    assert 0 < wait <= 60
    reactor.callLater(0, lambda: None)
    assert reactor.timeout() == 0


def test_what_is_to_be_called_next_can_be_cancelled(reactor: PrivateReactor) -> None:
    """A queued call is among the reactor's delayed calls until it is cancelled."""
    called: list[str] = []
    call = reactor.callLater(0, called.append, "no")
    assert reactor.getDelayedCalls() == [call]
    call.cancel()
    assert reactor.getDelayedCalls() == []
    assert reactor.call_due() is None
    assert (called, call.active()) == ([], False)


def test_what_is_to_be_called_next_can_be_put_off(reactor: PrivateReactor) -> None:
    """A queued call that is delayed becomes a timer."""
    called: list[str] = []
    call = reactor.callLater(0, called.append, "later")
    call.reset(60)
    wait = reactor.call_due()
    assert wait is not None
    assert 0 < wait <= 60
    assert (called, call.active()) == ([], True)


def test_a_call_that_fails_stops_no_other(reactor: PrivateReactor, logged_errors: TakeErrors) -> None:
    """The error of a call is logged, as by Twisted's reactors, and the others are made."""
    called: list[str] = []
    reactor.callLater(0, lambda: 1 // 0)
    reactor.callLater(0, called.append, "second")
    reactor.call_due()
    assert called == ["second"]
    assert len(logged_errors(ZeroDivisionError)) == 1


def test_a_call_of_another_thread_wakes_it_once(reactor: PrivateReactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread's call wakes the reactor only while it may sleep, and once for several calls."""
    woken: list[str] = []
    monkeypatch.setattr(reactor.waker, "wakeUp", lambda: woken.append("woken"))
    sleeping: list[float | None] = []

    def sleep(seconds: float | None) -> None:
        sleeping.append(seconds)
        reactor.callFromThread(lambda: None)
        reactor.callFromThread(lambda: None)

    monkeypatch.setattr(reactor, "doIteration", sleep)
    for turn in range(1, 4):
        reactor.wait(60)
        assert len(woken) == turn
        assert reactor.call_due() is None
    assert sleeping == [60, 60, 60]


def test_it_does_not_sleep_over_a_call_of_another_thread(
    reactor: PrivateReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that was queued before the reactor could sleep keeps it from sleeping."""
    woken: list[str] = []
    monkeypatch.setattr(reactor.waker, "wakeUp", lambda: woken.append("woken"))
    sleeping: list[float | None] = []
    monkeypatch.setattr(reactor, "doIteration", sleeping.append)
    reactor.callFromThread(lambda: None)
    reactor.wait(60)
    assert (sleeping, woken) == ([0], [])


def test_another_thread_wakes_it_from_its_sleep(reactor: PrivateReactor) -> None:
    """A sleep without an end lasts until another thread's call, at whatever moment; a thousand times."""
    called: list[int] = []

    def ask() -> None:
        for number in range(1000):
            reactor.callFromThread(called.append, number)

    asking = threading.Thread(target=ask)
    asking.start()
    while len(called) < 1000:
        if reactor.call_due() is None and len(called) < 1000:
            reactor.wait(None)
    asking.join()
    assert called == list(range(1000))


class _End(FileDescriptor):
    """One end of a pipe, with something to do when it is readable."""

    def __init__(self, reactor: PrivateReactor, number: int, read: list[int], others: list[_End], fails: bool) -> None:
        super().__init__(reactor)
        self._number = number
        self._read = read
        self._others = others
        self._fails = fails

    def fileno(self) -> int:
        return self._number

    def doRead(self) -> None:
        os.read(self._number, 1)
        self._read.append(self._number)
        for other in self._others:
            if other is not self:
                other.stopReading()
        if self._fails:
            raise ValueError("a bug")

    def connectionLost(self, reason: object) -> None:
        self._read.append(-self._number)


@pytest.mark.parametrize("fails", [False, True])
def test_descriptors_are_served(reactor: PrivateReactor, fails: bool, logged_errors: TakeErrors) -> None:
    """A descriptor that an earlier event removed isn't read; one that fails is closed, and the reactor goes on."""
    pipes = [os.pipe() for _ in range(2)]
    read: list[int] = []
    ends: list[_End] = []
    ends += [_End(reactor, pipe[0], read, ends, fails) for pipe in pipes]
    for end, (_, writing) in zip(ends, pipes, strict=True):
        end.startReading()
        os.write(writing, b"x")
    reactor.doIteration(1)
    first = read[0]
    assert read == [first, -first] if fails else [first]
    reactor.doIteration(0)
    assert len(read) == (2 if fails else 1)
    assert len(logged_errors(ValueError)) == (1 if fails else 0)
    reactor.removeAll()
    for pipe in pipes:
        for number in pipe:
            os.close(number)
