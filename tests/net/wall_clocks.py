"""Real reactors whose wall clock is stepped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from twisted.internet.base import ReactorBase
from twisted.internet.epollreactor import EPollReactor

from pyshard.net.twisted_internals import set_clock

PATIENCE = 20.0  # seconds after which a wait has failed


class Wall:
    """A wall clock that can be stepped."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def seconds(self) -> float:
        """The time that it shows."""
        return time.time() + self.ahead


def by_the(wall: Wall, kind: type[ReactorBase] = EPollReactor) -> ReactorBase:
    """A new reactor that goes by a wall clock."""
    reactor = kind()
    set_clock(reactor, wall.seconds)
    reactor.startRunning()
    return reactor


def until(reactor: ReactorBase, holds: Callable[[], bool]) -> None:
    """Run a reactor, with waits as long as its own, until something holds."""
    began = time.monotonic()
    # Another thread wakes it in the end, so that a test fails rather than hangs.
    late = threading.Timer(PATIENCE, reactor.callFromThread, [int])
    late.start()
    try:
        reactor.runUntilCurrent()
        while not holds():
            reactor.doIteration(reactor.timeout())
            reactor.runUntilCurrent()
            assert time.monotonic() - began < PATIENCE
    finally:
        late.cancel()
        late.join()  # else it is there for a moment longer, where threads are counted
