"""Threads of a blocking client in a test without any: greenlets that take turns, at times that a seed chooses.

A cluster in memory (`pyshard.testing`) has one clock, and everything that happens happens in calls of that clock. A
greenlet runs within such a call until it waits for a socket, for a lock or for a time. So several blocking calls are
under way at once, beside the calls of other clients, and a run with the same seed is the same run.

Rules:

- Another thread may come in wherever the client asks for the time, uses a socket or waits.
- There, too, a thread can be struck, as by a signal: a function is called in the middle of its call. It may raise, or
  make a call of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from random import Random
from types import SimpleNamespace

import pytest
from greenlet import getcurrent, greenlet
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from pyshard.blocking import cluster as blocking_cluster
from pyshard.blocking import operation_waiting_for_thread
from pyshard.blocking.calling_thread_tasks import PlainSocket, Wanted
from pyshard.testing import MemoryNetwork
from pyshard.testing.memory_sockets import MemorySocket, MemorySockets


class GreenThread(greenlet):  # type: ignore[misc]  # greenlet has no annotations
    """One thread.

    :param clock: calls it.
    :param number: its own.
    :ivar passed: how many places it has come to at which another thread may come in.
    """

    def __init__(self, clock: Clock, number: int, function: Callable[[], object]) -> None:
        super().__init__(function)
        self._clock = clock
        self.number = number
        self.passed = 0
        self._strikes: list[Callable[[], object]] = []
        self._points = 0  # how many places the next strike waits for
        self._timer: IDelayedCall = clock.callLater(0, self.switch)

    def strike(self, function: Callable[[], object], points: int) -> None:
        """Have a function called in the middle of what the thread does.

        :param points: how many places of its kind it passes before.
        """
        self._strikes.append(function)
        self._points = points
        if not points:
            self.wake()

    def point(self) -> None:
        """A place at which the thread may be struck."""
        if self._strikes:
            self._points -= 1
            if self._points < 0:
                self._strikes.pop(0)()

    def sleep(self, seconds: float) -> None:
        """Wait until the thread is woken, for some time at most."""
        self._timer = self._clock.callLater(max(0.0, seconds), self.switch)
        assert self.parent is not None
        self.parent.switch()
        self.point()

    def wake(self) -> None:
        """End its wait."""
        if self._timer.active():
            self._timer.reset(0)


class GreenThreads:
    """All threads of a run.

    :param clock: the cluster's.
    :param random: chooses when they take turns.
    :param yields: how often a thread lets others come in where it needn't wait, and a socket takes a part only.
    :param monkeypatch: has the blocking client use these in place of real threads and locks.
    """

    def __init__(self, clock: Clock, random: Random, yields: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = clock
        self._random = random
        self._started = 0
        self._waiting: list[GreenThread] = []  # for sockets
        self._yields = yields
        monkeypatch.setattr(operation_waiting_for_thread, "threading", SimpleNamespace(Lock=lambda: GreenLock(self)))
        monkeypatch.setattr(blocking_cluster, "threading", SimpleNamespace(get_ident=lambda: id(getcurrent())))

    def start(self, function: Callable[[], object]) -> GreenThread:
        """Have a thread call a function, in a moment."""
        self._started += 1
        return GreenThread(self.clock, self._started, function)

    def current(self) -> GreenThread | None:
        """The thread that runs; None: it is none of these."""
        found = getcurrent()
        return found if isinstance(found, GreenThread) else None

    def point(self) -> None:
        """A place at which another thread may come in, and the thread that runs may be struck."""
        thread = self.current()
        if thread is None:
            return
        thread.passed += 1
        if self._random.random() < self._yields:
            thread.sleep(0)
        else:
            thread.point()

    def part(self, whole: int) -> int:
        """How many of some bytes the system takes."""
        return self._random.randrange(whole + 1) if self._random.random() < self._yields else whole

    def wait(self, wanted: Sequence[Wanted], until: float) -> list[PlainSocket]:
        """Wait for sockets; see `Network`."""
        thread = self.current()
        assert thread is not None
        self.point()
        while True:
            ready = [one for one, writing in wanted if isinstance(one, MemorySocket) and one.ready(writing)]
            if ready or self.clock.seconds() >= until:
                return list(ready)
            self._waiting.append(thread)
            try:
                thread.sleep(until - self.clock.seconds())
            finally:
                self._waiting.remove(thread)

    def wake(self) -> None:
        """Have those that wait for sockets look at them."""
        for thread in self._waiting:
            thread.wake()


class GreenLock:
    """A lock between these threads."""

    def __init__(self, threads: GreenThreads) -> None:
        self._threads = threads
        self._locked = False
        self._waiting: list[GreenThread] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """See `threading.Lock`."""
        seconds = self._threads.clock.seconds
        end = seconds() + (sys.maxsize if timeout < 0 else timeout)
        while self._locked:
            thread = self._threads.current()
            if not blocking or seconds() >= end:
                return False
            assert thread is not None
            self._waiting.append(thread)
            try:
                thread.sleep(end - seconds())
            finally:
                self._waiting.remove(thread)
        self._locked = True
        return True

    def release(self) -> None:
        """See `threading.Lock`."""
        if not self._locked:
            raise RuntimeError("release unlocked lock")
        self._locked = False
        for thread in self._waiting:
            thread.wake()


class GreenSocket(MemorySocket):
    """A socket in memory that doesn't always take all that it is to send."""

    def __init__(self, sockets: GreenSockets, made: MemorySocket, threads: GreenThreads) -> None:
        super().__init__(sockets, made._protocol)
        self._threads = threads

    def send(self, data: bytes | memoryview) -> int:
        """See `PlainSocket`."""
        self._threads.point()
        return super().send(data[: self._threads.part(len(data))])

    def receive(self) -> bytes | None:
        """See `PlainSocket`."""
        self._threads.point()
        return super().receive()


class GreenSockets(MemorySockets):
    """Sockets in memory, whose waits let other threads go on."""

    def __init__(self, network: MemoryNetwork, threads: GreenThreads) -> None:
        super().__init__(network)
        self._threads = threads

    def now(self) -> float:
        """See `Network`."""
        self._threads.point()
        return self._threads.clock.seconds()

    def open(self, address: object) -> GreenSocket:
        """See `Network`."""
        self._threads.point()
        return GreenSocket(self, super().open(address), self._threads)

    def arrived(self) -> None:
        """See `MemorySockets`."""
        self._threads.wake()

    def wait(self, wanted: Sequence[Wanted], until: float) -> list[PlainSocket]:
        """See `Network`."""
        return self._threads.wait(wanted, until)
