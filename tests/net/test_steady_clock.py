"""Timers that no step of the wall clock moves, on real reactors whose wall clock is stepped."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from textwrap import dedent

import pytest
from conftest import TakeErrors
from net.wall_clocks import PATIENCE, Wall, by_the, until
from twisted.internet.base import ReactorBase
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.pollreactor import PollReactor
from twisted.internet.selectreactor import SelectReactor

from pyshard.errors import Unavailable
from pyshard.net.reactor_alarm_thread import AlarmThread
from pyshard.net.steady_clock import AlarmMaker, SteadyClock, steady_clock, system_alarm, thread_alarm
from pyshard.net.timer_descriptor import TimerDescriptor

# Since 3.12 Python warns of a fork in a process with threads; here it is what is tested.
_FORKS = ("-W", "ignore:This process:DeprecationWarning")

REACTORS = [EPollReactor, PollReactor, SelectReactor]

#: What may wake a reactor.
ALARMS = pytest.mark.parametrize("alarm", [system_alarm, thread_alarm])


@ALARMS
def test_a_clock_that_is_put_back(alarm: AlarmMaker) -> None:
    """Calls come when they should, though the reactor waits for its own timers by the wall clock."""
    wall, made = Wall(), list[object]()
    reactor = by_the(wall)
    clock = SteadyClock(reactor, alarm=alarm)
    began = clock.seconds()
    reactor.callLater(0.1, made.append, "the reactor's own")
    clock.callLater(0.3, made.append, 2)
    clock.callLater(0.2, made.append, 1)
    wall.ahead = -600
    until(reactor, lambda: len(made) == 2)
    assert made == [1, 2]
    assert 0.3 <= clock.seconds() - began < PATIENCE


@ALARMS
def test_a_clock_that_is_put_on(alarm: AlarmMaker) -> None:
    """Calls don't come before they should, and the clock's seconds go on as ever."""
    wall, made = Wall(), list[object]()
    reactor = by_the(wall)
    clock = SteadyClock(reactor, alarm=alarm)
    began = clock.seconds()
    clock.callLater(0.3, made.append, 1)
    wall.ahead = 86_400
    until(reactor, lambda: bool(made))
    assert 0.3 <= clock.seconds() - began < PATIENCE


@pytest.mark.parametrize("kind", REACTORS)
def test_calls_without_a_delay(kind: type[ReactorBase]) -> None:
    """They come in the next turn, in their order, wherever the wall clock is put before that."""
    wall, made = Wall(), list[object]()
    reactor = by_the(wall, kind)
    clock = SteadyClock(reactor)
    for number in range(3):
        clock.callLater(0, made.append, number)
    clock.callLater(0, made.append, "cancelled").cancel()
    assert made == []
    wall.ahead = -600
    reactor.runUntilCurrent()
    assert made == [0, 1, 2]


def test_an_asyncio_reactor() -> None:
    """Twisted's reactor on asyncio's loop has timers by the wall clock, too; calls come when they should."""
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            dedent(
                """
                import time
                from twisted.internet import asyncioreactor
                asyncioreactor.install()
                from twisted.internet import reactor
                from pyshard.net.steady_clock import SteadyClock
                from pyshard.net.twisted_internals import set_clock
                ahead = [0]
                set_clock(reactor, lambda: time.time() + ahead[0])
                clock = SteadyClock(reactor)
                def begin():
                    clock.callLater(0, clock.callLater, 0.2, reactor.stop)
                    ahead[0] = -600
                reactor.callWhenRunning(begin)
                began = time.monotonic()
                reactor.run()
                print(0.19 < time.monotonic() - began)
                """
            ),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("True\n", "")


@ALARMS
def test_calls_that_are_cancelled_or_moved(alarm: AlarmMaker) -> None:
    """They don't come, come sooner or later, and can't be cancelled or moved once they have come."""
    made = list[object]()
    reactor = by_the(Wall())
    clock = SteadyClock(reactor, alarm=alarm)
    clock.callLater(0.1, made.append, "cancelled").cancel()
    sooner = clock.callLater(60, made.append, "sooner")
    later = clock.callLater(0.01, made.append, "later")
    earlier = clock.callLater(60, made.append, "earlier")
    earlier.delay(-59.9)
    sooner.reset(0.2)
    later.reset(0.4)
    assert sorted(call.getTime() for call in clock.getDelayedCalls()) == [
        call.getTime() for call in (earlier, sooner, later)
    ]
    until(reactor, lambda: len(made) == 3)
    assert made == ["earlier", "sooner", "later"]
    assert clock.getDelayedCalls() == []
    with pytest.raises(AlreadyCalled):
        later.cancel()
    cancelled = clock.callLater(1, int)
    cancelled.cancel()
    with pytest.raises(AlreadyCancelled):
        cancelled.reset(1)


@ALARMS
def test_a_call_that_comes_sooner(alarm: AlarmMaker) -> None:
    """The reactor is woken for its new time, where no other call waits."""
    made = list[object]()
    reactor = by_the(Wall())
    SteadyClock(reactor, alarm=alarm).callLater(60, made.append, 1).reset(0.1)
    until(reactor, lambda: bool(made))


@ALARMS
def test_what_a_call_raises(alarm: AlarmMaker, logged_errors: TakeErrors) -> None:
    """It is logged, and the calls that are due as well come all the same."""
    made = list[object]()
    reactor = by_the(Wall())
    clock = SteadyClock(reactor, alarm=alarm)
    clock.callLater(0.01, int, "x")
    clock.callLater(0.01, made.append, 1)
    clock.callLater(0.05, made.append, 2)
    until(reactor, lambda: len(made) == 2)
    assert [type(error) for error in logged_errors(ValueError)] == [ValueError]


@ALARMS
def test_calls_that_are_cancelled_take_no_memory(alarm: AlarmMaker) -> None:
    """Of ten thousand calls that were cancelled long before their time, few are kept."""
    clock = SteadyClock(by_the(Wall()), alarm=alarm)
    kept = [clock.callLater(3600 + number, int) for number in range(10)]
    for _ in range(10_000):
        clock.callLater(3600, int).cancel()
    assert len(clock._queue) < 100
    assert {id(call) for call in clock.getDelayedCalls()} == {id(call) for call in kept}


@ALARMS
def test_nothing_is_left(alarm: AlarmMaker) -> None:
    """When no call waits any more, since all have come or were cancelled, the reactor and the system hold nothing."""
    reactor = by_the(Wall())
    readers, threads = set(reactor.getReaders()), threading.active_count()
    clock = SteadyClock(reactor, alarm=alarm)
    made = list[object]()
    for _ in range(2):
        clock.callLater(0.01, made.append, 1)
        calls = [clock.callLater(60, int), clock.callLater(70, int)]
        until(reactor, lambda: bool(made))
        for call in calls:
            call.cancel()
        assert set(reactor.getReaders()) == readers
        made.clear()
    clock.callLater(0.01, made.append, 1)
    until(reactor, lambda: bool(made))
    assert set(reactor.getReaders()) == readers
    end = time.monotonic() + PATIENCE
    while threading.active_count() > threads:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_no_thread_on_linux() -> None:
    """A reactor waits for a timer of the system's where there is one. Python warns of forks where there are threads."""
    if sys.platform != "linux":
        pytest.skip("the timers are Linux's")
    before = threading.active_count()
    SteadyClock(by_the(Wall())).callLater(60, int)
    assert threading.active_count() == before
    assert isinstance(system_alarm(EPollReactor(), time.monotonic, int), TimerDescriptor)


def test_a_system_without_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere a thread wakes the reactor."""
    monkeypatch.setattr("pyshard.net.timer_descriptor.ctypes.CDLL", lambda *_, **__: object())
    assert isinstance(system_alarm(EPollReactor(), time.monotonic, int), AlarmThread)


def test_no_descriptor_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that can have no alarm says so."""

    def refused(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    reactor = EPollReactor()
    monkeypatch.setattr("pyshard.net.steady_clock.TimerDescriptor", refused)
    monkeypatch.setattr("pyshard.net.reactor_alarm_thread.os.pipe", refused)
    with pytest.raises(Unavailable, match="the system gives the client no timer: Too many open files"):
        steady_clock(reactor)
