"""The two clocks: one that no step moves, for all that waits; and the machine's wall clock, for dates.

Rules:

- Every deadline, timeout, pause and interval goes by `steady_seconds`. No step of the wall clock moves it, and it goes
  on while the machine is suspended, where the system has such a clock.
- Times to live, and the dates of backups and certificates, go by `wall_seconds`: they mean the same on every machine
  and after a restart.
- No other module reads a clock of the system's. tests/test_clocks.py keeps that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial


def _steady_clock() -> Callable[[], float]:
    """The best clock that there is here: Linux's, which counts the time in suspend, too; else a monotonic one."""
    number = getattr(time, "CLOCK_BOOTTIME", None)
    if number is not None:
        try:
            time.clock_gettime(number)
        except OSError:  # some sandboxes refuse it
            pass
        else:
            return partial(time.clock_gettime, number)  # no function of Python's: it is called all the time
    return time.monotonic


#: Seconds since some moment that is the same for this whole process.
steady_seconds: Callable[[], float] = _steady_clock()


def wall_seconds() -> float:
    """Seconds since 1970."""
    return time.time()


def wall_date() -> datetime:
    """The date and time, in UTC."""
    return datetime.fromtimestamp(wall_seconds(), UTC)
