"""The thread that wakes a reactor in time."""

from __future__ import annotations

import threading
import time

import pytest

from pyshard.net.reactor_alarm_thread import AlarmThread

PATIENCE = 20.0


class Rung:
    """An alarm and the times at which it rang, in seconds since this was made.

    :ivar stands: whether its clock stands still at 0, however long the test takes for what it does meanwhile.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.stands = False
        self.times: list[float] = []
        self._heard = threading.Condition()
        self.alarm = AlarmThread(self.seconds, self._hear)

    def seconds(self) -> float:
        """Seconds since this was made."""
        return 0.0 if self.stands else time.monotonic() - self.began

    def _hear(self) -> None:
        with self._heard:
            self.times.append(self.seconds())
            self._heard.notify_all()

    def wait(self, number: int) -> None:
        """Wait until it has rung so often."""
        with self._heard:
            assert self._heard.wait_for(lambda: len(self.times) >= number, PATIENCE)

    @property
    def threads(self) -> int:
        """How many threads it has."""
        return int(self.alarm._thread is not None and self.alarm._thread.is_alive())


def test_it_rings_once_for_a_time() -> None:
    """It rings when the time has come, not before, and once, however often it was told."""
    rung = Rung()
    rung.stands = True
    for _ in range(3):
        rung.alarm.ring_by(0.2)
    rung.stands = False
    rung.wait(1)
    time.sleep(0.1)
    (at,) = rung.times
    assert at >= 0.2


def test_an_earlier_time() -> None:
    """It counts from when it is told; a later one doesn't put it off."""
    rung = Rung()
    rung.alarm.ring_by(60)
    rung.alarm.ring_by(0.1)
    rung.alarm.ring_by(30)
    rung.wait(1)
    assert 0.1 <= rung.times[0] < 10


def test_a_time_that_has_passed() -> None:
    """It rings at once."""
    rung = Rung()
    rung.alarm.ring_by(-5)
    rung.wait(1)
    assert rung.times[0] < 10


def test_its_thread() -> None:
    """There is none before it is needed; it ends when there is nothing to wait for, and is started again."""
    rung = Rung()
    assert rung.threads == 0
    for number in (1, 2):
        rung.alarm.ring_by(rung.seconds() + 0.05)
        assert rung.threads == 1
        rung.wait(number)
        end = time.monotonic() + PATIENCE
        while rung.threads:
            assert time.monotonic() < end
            time.sleep(0.02)
    rung.alarm.ring_by(rung.seconds() + 60)
    time.sleep(1.5)
    assert rung.threads == 1


def test_a_thousand_earlier_times() -> None:
    """However often it is told before it runs, nothing blocks and it rings."""
    rung = Rung()
    for number in range(1000):
        rung.alarm.ring_by(1000 - number)
    rung.alarm.ring_by(0.1)
    rung.wait(1)


def test_stop() -> None:
    """What was set doesn't ring any more, the thread ends, and the next time rings as ever."""
    rung = Rung()
    rung.alarm.stop()
    rung.stands = True
    rung.alarm.ring_by(0.3)
    rung.alarm.stop()
    rung.stands = False
    end = time.monotonic() + PATIENCE
    while rung.threads:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert rung.times == []
    rung.alarm.ring_by(0.4)
    rung.wait(1)


def test_in_a_forked_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does nothing there, and waits for no lock that the parent's thread held."""
    rung = Rung()
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: 0)
        rung.alarm.ring_by(-1)
        assert rung.threads == 0
        rung.alarm._lock.acquire()
        rung.alarm.stop()
    rung.alarm._lock.release()
    rung.alarm.ring_by(0)
    rung.wait(1)
