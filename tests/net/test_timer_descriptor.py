"""The timer of Linux's that wakes a reactor."""

from __future__ import annotations

import select
import sys
import time
from typing import cast

import pytest
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from pyshard.net.timer_descriptor import TimerDescriptor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the timers are Linux's")


class Readers:
    """What a reactor waits for."""

    def __init__(self) -> None:
        self.waits: list[TimerDescriptor] = []
        self.rang = 0
        self.next: float | None = None
        self.timer = TimerDescriptor(cast(IReactorFDSet, self), time.monotonic, self.ring)

    def ring(self) -> None:
        """What the timer calls; it may set the next time."""
        self.rang += 1
        if self.next is not None:
            self.timer.ring_by(self.next)

    def addReader(self, reader: TimerDescriptor) -> None:  # noqa: N802  # Twisted's name
        """See `IReactorFDSet`."""
        self.waits.append(reader)

    def removeReader(self, reader: TimerDescriptor) -> None:  # noqa: N802  # Twisted's name
        """See `IReactorFDSet`."""
        self.waits.remove(reader)

    def ready(self, seconds: float) -> bool:
        """Whether it can be read from within so many seconds."""
        return bool(select.select(self.waits, [], [], seconds)[0])

    def ready_before(self, moment: float) -> bool:
        """Whether it can be read from now, though a moment hasn't come yet."""
        return self.ready(0) and time.monotonic() < moment


def test_it_rings() -> None:
    """It can be read from when its time has come, not before; then the reactor waits for it no more."""
    readers = Readers()
    assert verifyObject(IReadDescriptor, readers.timer)
    began = time.monotonic()
    readers.timer.ring_by(began + 0.2)
    assert readers.waits == [readers.timer]
    assert readers.ready(10)
    assert time.monotonic() - began >= 0.2
    readers.timer.doRead()
    assert (readers.rang, readers.waits) == (1, [])


def test_an_earlier_time() -> None:
    """It counts; a later one doesn't put it off, nor does one that has passed long ago."""
    readers = Readers()
    readers.timer.ring_by(time.monotonic() + 60)
    readers.timer.ring_by(-5)
    readers.timer.ring_by(time.monotonic() + 30)
    assert len(readers.waits) == 1
    assert readers.ready(10)


def test_the_next_time() -> None:
    """Who hears it ring sets the next time: the reactor goes on waiting for it."""
    readers = Readers()
    readers.timer.ring_by(0)
    readers.next = time.monotonic() + 0.1
    assert readers.ready(10)
    readers.timer.doRead()
    assert len(readers.waits) == 1
    assert not readers.ready_before(readers.next)
    assert readers.ready(10)


def test_stop() -> None:
    """It doesn't ring any more, and the reactor doesn't wait for it; the next time rings as ever."""
    readers = Readers()
    readers.timer.stop()
    readers.timer.ring_by(time.monotonic() + 0.01)
    readers.timer.stop()
    assert readers.waits == []
    assert select.select([readers.timer], [], [], 0.1)[0] == []
    readers.timer.ring_by(0)
    assert readers.ready(10)


def test_in_a_forked_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does nothing there: neither does the parent's timer ring by another time, nor is it stopped."""
    readers = Readers()
    rings = time.monotonic() + 0.3
    readers.timer.ring_by(rings)
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: 0)
        readers.timer.ring_by(-1)
        readers.timer.stop()
    assert readers.waits == [readers.timer]
    assert not readers.ready_before(rings)
    assert readers.ready(10)


def test_a_time_that_is_put_off_while_it_is_due() -> None:
    """It rings early, and nothing blocks."""
    readers = Readers()
    readers.timer.ring_by(0)
    assert readers.ready(10)
    readers.timer.ring_by(-1)
    readers.timer.doRead()
    assert readers.rang == 1


def test_a_very_long_time() -> None:
    """However far away the time is, it is one that the system takes."""
    readers = Readers()
    readers.timer.ring_by(1e30)
    assert not readers.ready(0.05)


def test_a_reactor_that_has_stopped() -> None:
    """It forgets all that it waits for; one that is started again waits for the next time."""
    readers = Readers()
    readers.timer.ring_by(time.monotonic() + 60)
    readers.waits.clear()
    readers.timer.connectionLost(Failure(ConnectionError()))
    readers.timer.ring_by(time.monotonic() + 60)
    assert len(readers.waits) == 1
