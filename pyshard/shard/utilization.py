"""Which part of the time others ask for small things: what a large thing leaves to them depends on it. Pure.

A client that asks one thing after the other has something on its way nearly all of the time. One that asks now and then
hasn't, and to leave it much time would cost a bulk load most of its rate for next to nothing.

Rules:

- time counts as used in which something small is on its way, and a moment after each thing that was asked for, however
  soon it is answered;
- time in which something large is on its way doesn't count at all: what is small may be held up by that, however little
  it would use. Nor would it be known how much others ask who wait for that;
- older time has less weight, to a third in a quarter of a second;
- where little time has counted, as before anybody was seen, others are taken to ask all the time. So somebody new has
  time left at once, and it is soon known whether it is used.
"""

from __future__ import annotations

from math import exp

#: Seconds that count as used after something was asked for: a client that was answered asks again in less, mostly.
MOMENT = 0.001

_MEMORY = 0.25  # seconds in which time loses its weight, to a third
_STEP = 0.002  # seconds that are weighed together
_TAKEN_FOR_GRANTED = 0.005  # seconds of use that are added to what was seen

# Others are left more than they use: a busy machine has clients ask late, and who was held up has less than it wants.
# One that asks again within the time that its answers take is left all that anybody is.
_MORE = 1.5


class Utilization:
    """How much others ask. All times are in seconds of one steady clock.

    :param now: when it begins to look.
    """

    def __init__(self, now: float) -> None:
        self._counted_to = self._moment_ends = now
        self._counted = self._used = 0.0  # weighed seconds that count, and those of them that were used
        self._passed = self._new = self._new_used = 0.0  # seconds since these were weighed; the same of them

    def ask(self, now: float) -> None:
        """Note that something small is asked for; the time up to now must be counted."""
        self._moment_ends = now + MOMENT

    def count(self, now: float, small: bool, large: bool) -> None:
        """Count the time since the last call.

        :param small: whether something small was on its way in that time.
        :param large: whether something large was.
        """
        began, self._counted_to = self._counted_to, now
        self._passed += now - began
        if not large:
            self._new += now - began
            if small or now <= self._moment_ends:
                self._new_used += now - began
            elif began < self._moment_ends:
                self._new_used += self._moment_ends - began
        if self._passed > _STEP:  # to weigh each read's would cost some percent of the read
            weight = exp(-self._passed / _MEMORY)
            each = _MEMORY * (1.0 - weight) / self._passed
            self._counted = self._counted * weight + self._new * each
            self._used = self._used * weight + self._new_used * each
            self._passed = self._new = self._new_used = 0.0

    @property
    def fraction(self) -> float:
        """Which part of the time others ask, but for the last moment: more than 0, and 1 at the most."""
        return (self._used + _TAKEN_FOR_GRANTED) / (self._counted + _TAKEN_FOR_GRANTED)


def times_left(fraction: float, most: float) -> float:
    """How many times as long as a large thing took the time after it is left to others.

    :param fraction: which part of the time they ask, of `Utilization`.
    :param most: how many times if they ask all the time.
    """
    left = min(_MORE * fraction, most / (most + 1.0))  # which part of the time
    return left / (1.0 - left)
