"""Which reactors run by the steady clock, and what of it lives on in a forked child."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from textwrap import dedent

import pytest
from net.wall_clocks import PATIENCE, Wall, by_the
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.base import ReactorBase
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.pollreactor import PollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from pyshard.net.steady_clock import AlarmMaker, SteadyClock, run_steadily, steady_clock, system_alarm, thread_alarm
from pyshard.net.twisted_internals import set_clock

# Since 3.12 Python warns of a fork in a process with threads; here it is what is tested.
_FORKS = ("-W", "ignore:This process:DeprecationWarning")

REACTORS = [EPollReactor, PollReactor, SelectReactor]

#: What may wake a reactor.
ALARMS = pytest.mark.parametrize("alarm", [system_alarm, thread_alarm])


def test_interfaces() -> None:
    """Clock and calls have all that Twisted's interfaces name."""
    clock = SteadyClock(by_the(Wall()))
    assert verifyObject(IReactorTime, clock)
    for delay in (0, 60):
        call = clock.callLater(delay, int)
        assert verifyObject(IDelayedCall, call)
        call.cancel()


def test_which_reactors_get_one() -> None:
    """A reactor that goes by the wall clock gets one steady clock; one with another clock is taken as it is."""
    wall, other, own = EPollReactor(), EPollReactor(), EPollReactor()
    assert isinstance(steady_clock(wall), SteadyClock)
    assert steady_clock(wall) is steady_clock(wall)
    set_clock(other, time.monotonic)
    run_steadily(own)
    for reactor in (Clock(), other, own):
        assert steady_clock(reactor) is reactor


@pytest.mark.parametrize("kind", [*REACTORS, AsyncioSelectorReactor])
def test_a_reactor_that_runs_steadily(kind: type[ReactorBase], monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its timers go by the steady clock, those that wait already included, from where the wall clock is."""
    steady = Clock()
    monkeypatch.setattr("pyshard.net.steady_clock.steady_seconds", steady.seconds)
    reactor, made = kind(), list[object]()
    reactor.callLater(100, made.append, 1)
    run_steadily(reactor)
    run_steadily(reactor)
    assert abs(reactor.seconds() - time.time()) < PATIENCE
    reactor.callLater(101, made.append, 2)
    steady.advance(80)
    reactor.runUntilCurrent()
    assert (made, 0 < (reactor.timeout() or 0) < 21) == ([], True)
    steady.advance(20.5)
    reactor.runUntilCurrent()
    assert made == [1]
    steady.advance(1)
    reactor.runUntilCurrent()
    assert made == [1, 2]


@ALARMS
def test_a_forked_child(alarm: AlarmMaker) -> None:
    """A child with its own reactor has its own clock. What it does with its parent's, the parent never notices."""
    program = """
    import os, sys
    from twisted.internet.epollreactor import EPollReactor
    from pyshard.net import steady_clock
    alarm = getattr(steady_clock, sys.argv[1])
    def runs(reactor, clock):
        made = []
        clock.callLater(0.3, made.append, 1)
        for reactor.late in range(20):
            reactor.iterate(1)
            if made:
                return True
    reactor = EPollReactor()
    reactor.startRunning()
    clock = steady_clock.SteadyClock(reactor, alarm=alarm)
    def in_child():
        for call in clock.getDelayedCalls():
            call.cancel()
        clock.callLater(0.1, int)
        own = EPollReactor()
        own.startRunning()
        return runs(own, steady_clock.SteadyClock(own, alarm=alarm))
    made = []
    clock.callLater(0.5, made.append, 1)
    pid = os.fork()
    if pid == 0:
        os._exit(7 if in_child() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert runs(reactor, clock)
    assert made == [1]
    """
    ended = subprocess.run(
        [sys.executable, *_FORKS, "-c", dedent(program), getattr(alarm, "__name__", "")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=PATIENCE * 2,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
