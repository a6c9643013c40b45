"""The time of a simulation, and the clocks of its machines, which don't agree."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall


class SimulatedCall:
    """A call that may be cancelled until it comes."""

    def __init__(self, call: Callable[..., object], arguments: tuple[Any, ...] = ()) -> None:
        self._call: Callable[..., object] | None = call
        self._arguments = arguments

    def come(self) -> None:
        """It is due."""
        call, self._call = self._call, None
        if call is not None:
            call(*self._arguments)

    def cancel(self) -> None:
        """It never comes."""
        self._call = None

    def active(self) -> bool:
        """Whether it is still to come."""
        return self._call is not None


class SimulatedClock:
    """True time. Calls that are due at one moment come in the order in which they were made."""

    def __init__(self) -> None:
        self._now = 0.0
        self._calls: list[tuple[float, int, SimulatedCall]] = []
        self._count = 0

    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def callLater(self, delay: float, call: Callable[..., object], *arguments: Any) -> SimulatedCall:
        """See `IReactorTime`."""
        return self.call_at(self._now + delay, call, *arguments)

    def call_at(self, moment: float, call: Callable[..., object], *arguments: Any) -> SimulatedCall:
        """Have a call come at a moment."""
        made = SimulatedCall(call, arguments)
        self._count += 1
        heappush(self._calls, (moment, self._count, made))
        return made

    def advance(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, call by call.

        :param until: ends it before.
        """
        end = self._now + seconds
        while self._calls and self._calls[0][0] <= end:
            self._now, _, call = heappop(self._calls)
            call.come()
            if until():
                return
        self._now = end


class RunsCalls(Protocol):
    """A machine, as its clock needs it."""

    true_clock: SimulatedClock
    rate: float

    def seconds(self) -> float:
        """Its time."""
        ...

    def run(self, life: int, work: Callable[[], object]) -> None:
        """Do something in a process, unless it has ended; when the machine is awake."""
        ...


class MachineClock:
    """A machine's own clock, which a process's calls go by; those of a process that is gone never come.

    :param machine: whose it is.
    :param life: the number of the process.
    """

    def __init__(self, machine: RunsCalls, life: int) -> None:
        self._machine = machine
        self._life = life

    def seconds(self) -> float:
        """The machine's time."""
        return self._machine.seconds()

    def callLater(self, delay: float, call: Callable[..., Any], *arguments: Any) -> SimulatedCall:
        """See `IReactorTime`."""
        machine, made = self._machine, SimulatedCall(call, arguments)
        machine.true_clock.callLater(delay / machine.rate, machine.run, self._life, made.come)
        return made

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """See `IReactorTime`."""
        return []
