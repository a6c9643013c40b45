"""The private reactor: what is to be called in the next turn, timers, descriptors."""

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
    """One that runs when the test has it run."""
    made = PrivateReactor()
    made.startRunning(installSignalHandlers=False)
    yield made
    made.dispose()


def test_what_is_to_be_called_next_is_called_in_its_order(reactor: PrivateReactor) -> None:
    """One turn calls all of it, and leaves what that asks for to the next turn, for which nothing waits."""
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
    """They are called although something is to be called next in every turn, and what they ask for is as well."""
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
    """Until the next timer; not at all when something is to be called next."""
    reactor.callLater(60, lambda: None)
    wait = reactor.call_due()
    assert wait is not None
    assert 0 < wait <= 60
    reactor.callLater(0, lambda: None)
    assert reactor.timeout() == 0


def test_what_is_to_be_called_next_can_be_cancelled(reactor: PrivateReactor) -> None:
    """It is among the reactor's calls before, and not afterwards."""
    called: list[str] = []
    call = reactor.callLater(0, called.append, "no")
    assert reactor.getDelayedCalls() == [call]
    call.cancel()
    assert reactor.getDelayedCalls() == []
    assert reactor.call_due() is None
    assert (called, call.active()) == ([], False)


def test_what_is_to_be_called_next_can_be_put_off(reactor: PrivateReactor) -> None:
    """It is a timer from then on."""
    called: list[str] = []
    call = reactor.callLater(0, called.append, "later")
    call.reset(60)
    wait = reactor.call_due()
    assert wait is not None
    assert 0 < wait <= 60
    assert (called, call.active()) == ([], True)


def test_a_call_that_fails_stops_no_other(reactor: PrivateReactor, logged_errors: TakeErrors) -> None:
    """It stands in the log, as Twisted's reactors have it."""
    called: list[str] = []
    reactor.callLater(0, lambda: 1 // 0)
    reactor.callLater(0, called.append, "second")
    reactor.call_due()
    assert called == ["second"]
    assert len(logged_errors(ZeroDivisionError)) == 1


def test_a_call_of_another_thread_wakes_it_once(reactor: PrivateReactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only while it may sleep, and the first of several calls alone; afterwards again."""
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
    """A call that was asked for before it said that it may sleep isn't woken for; it is seen."""
    woken: list[str] = []
    monkeypatch.setattr(reactor.waker, "wakeUp", lambda: woken.append("woken"))
    sleeping: list[float | None] = []
    monkeypatch.setattr(reactor, "doIteration", sleeping.append)
    reactor.callFromThread(lambda: None)
    reactor.wait(60)
    assert (sleeping, woken) == ([0], [])


def test_another_thread_wakes_it_from_its_sleep(reactor: PrivateReactor) -> None:
    """Without end is until then, for as long as it takes: a thousand times, at whatever moment."""
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
    """One end of a pipe, that does something when it can be read."""

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
    """One that an event before it took out is not read; one that fails is closed, and the reactor goes on."""
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
