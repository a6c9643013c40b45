"""The clock of an event loop, as Twisted's code uses one."""

from __future__ import annotations

import asyncio

import pytest
from aio.loop_cluster import run, until
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface.verify import verifyObject

from pyshard.aio.loop_clock import LoopClock

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@LOOPS
def test_calls(loop: str) -> None:
    """Calls come once, in their order; those without a delay in the next turn, and not at once."""

    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        made: list[object] = []
        began = clock.seconds()
        distant = clock.callLater(60, made.append, 4)
        clock.callLater(0, made.append, 1)
        assert made == []
        await asyncio.sleep(0)
        assert made == [1]
        assert began + 60 <= distant.getTime() <= clock.seconds() + 60
        distant.cancel()
        last = clock.callLater(0.1, made.append, 3)
        clock.callLater(0.001, lambda **names: made.append(names["number"]), number=2)
        await until(lambda: len(made) == 3, "all have come")
        assert made == [1, 2, 3]
        assert not last.active()
        with pytest.raises(AlreadyCalled):
            last.cancel()

    run(main, loop)


def test_a_call_that_is_cancelled() -> None:
    """It doesn't come, and can't be cancelled or moved again."""

    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        made: list[object] = []
        for delay in (0, 0.01):
            call = clock.callLater(delay, made.append, delay)
            assert call.active()
            call.cancel()
            assert not call.active()
            for again in (call.cancel, lambda call=call: call.reset(1), lambda call=call: call.delay(1)):
                with pytest.raises(AlreadyCancelled):
                    again()
        await asyncio.sleep(0.03)
        assert made == []

    run(main)


def test_a_call_that_is_moved() -> None:
    """`reset` and `delay` give it another time, also one that was to come in the next turn."""

    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        made: list[object] = []
        clock.callLater(0, made.append, "later").delay(0.03)
        clock.callLater(60, made.append, "sooner").reset(0.001)
        await until(lambda: len(made) == 2, "both have come")
        assert made == ["sooner", "later"]

    run(main)


class Stalling:
    """A clock that stands still until it was looked at a few times.

    :ivar reads: how often it was looked at.
    """

    def __init__(self) -> None:
        self.reads = 0
        self.ahead = 0.0

    def seconds(self) -> float:
        """The time that it shows."""
        self.reads += 1
        return self.ahead + (0.0 if self.reads < 10 else 0.005)


@LOOPS
def test_a_call_goes_by_the_clock(loop: str) -> None:
    """However early the loop wakes it, it isn't made before the clock shows its time."""

    async def main() -> None:
        stalling = Stalling()
        made: list[int] = []
        LoopClock(asyncio.get_running_loop(), stalling.seconds).callLater(0.005, lambda: made.append(stalling.reads))
        await until(lambda: bool(made), "it has come")
        assert made[0] >= 10

    run(main, loop)


def test_a_call_after_a_suspend() -> None:
    """It comes when the loop wakes it, also when the clock shows a far later time by then, and the clock says so."""

    async def main() -> None:
        stalling = Stalling()
        clock = LoopClock(asyncio.get_running_loop(), stalling.seconds)
        made: list[float] = []
        clock.callLater(0.02, lambda: made.append(clock.seconds()))
        stalling.ahead = 3600
        await until(lambda: bool(made), "it has come")
        assert made[0] >= 3600

    run(main)


def test_what_a_call_raises() -> None:
    """The loop reports it."""
    reported: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        LoopClock(asyncio.get_running_loop()).callLater(0, int, "x")
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert [type(one) for one in reported] == [ValueError]


def test_interfaces() -> None:
    """Clock and calls have all that Twisted's interfaces name; which calls wait a loop doesn't tell."""

    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        assert verifyObject(IReactorTime, clock)
        assert verifyObject(IDelayedCall, clock.callLater(0, int))
        with pytest.raises(NotImplementedError):
            clock.getDelayedCalls()

    run(main)
