"""For whom alone a primary waits long, by value: each change is safe here at once, and members take their time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from random import Random

import pytest

from pyshard.replication.lone_waits import LoneWaits

B, C = "h:2", "h:3"
LEASE = 3.0


class Group:
    """A primary and the members B and C, whose word takes a while.

    :ivar takes: by address: gives how long the next answer takes.
    """

    def __init__(self, takes: Mapping[str, Callable[[], float]]) -> None:
        self.takes = takes
        self.now = 100.0
        self.last = 1
        self.has = dict.fromkeys(takes, 1)
        self.due = dict.fromkeys(takes, 0.0)
        self.waits = LoneWaits()
        self.waits.begin(list(takes), LEASE, self.now)

    def go_on(self, seconds: float, pause: float = 0.0, one_by_one: bool = False) -> None:
        """Changes are made: the next one when all have the last one, and a pause is over; or all the time.

        :param one_by_one: the members have one group more each time, however many they were given, and there are many.
        """
        until, next_change = self.now + seconds, self.now
        while self.now < until:
            self.now += 0.005
            if self.now >= next_change and (one_by_one or min(self.has.values()) == self.last):
                self.last += 1
                next_change = self.now + pause
            for address, has in self.has.items():
                if has < self.last and self.due[address] == 0.0:
                    self.due[address] = self.now + self.takes[address]()
                if has < self.last and self.now >= self.due[address]:
                    self.has[address] = has + 1 if one_by_one else self.last
                    self.due[address] = 0.0
            self.waits.note(self.now, self.last, list(self.has.items()))


def always(seconds: float) -> Callable[[], float]:
    """A member that always takes so long."""
    return lambda: seconds


@pytest.mark.parametrize(
    ("takes", "pause", "one_by_one"),
    [
        (always(1.2), 0.0, False),
        (always(0.35), 0.0, False),
        (always(1.2), 8.0, False),
        (always(0.9), 0.0, True),
        (partial(Random(1).choice, [0.005, 0.005, 0.005, 1.4]), 0.0, False),
    ],
    ids=["just in time", "a little", "few changes", "one group at a time", "now and then"],
)
def test_slow(takes: Callable[[], float], pause: float, one_by_one: bool) -> None:
    """After two periods, but not after one: it may be a moment's."""
    group = Group({B: always(0.01), C: takes})
    group.go_on(33.0, pause, one_by_one)
    assert group.waits.slow is None
    group.go_on(30.0, pause, one_by_one)
    assert group.waits.slow == C


@pytest.mark.parametrize(
    ("first", "second", "pause", "one_by_one"),
    [
        (always(1.2), always(1.0), 0.0, False),
        (always(0.4), always(0.8), 0.0, False),
        (always(0.005), always(0.2), 0.0, False),
        (always(0.005), always(0.02), 0.0, True),
        (always(0.005), always(1.2), 20.0, False),
        (always(0.005), always(1.2), 1000.0, False),
    ],
    ids=["both", "one twice as long", "a fifth of a second", "under load", "seldom", "idle"],
)
def test_not_slow(first: Callable[[], float], second: Callable[[], float], pause: float, one_by_one: bool) -> None:
    """Others take long, too, or it doesn't, or hardly anybody waited for it."""
    group = Group({B: first, C: second})
    for _ in range(6):
        group.go_on(31.0, pause, one_by_one)
        assert group.waits.slow is None


def test_one_long_wait_under_load() -> None:
    """A moment at which a disk stands still makes nobody slow."""
    group = Group({B: always(0.005), C: always(0.01)})
    for _ in range(4):
        group.takes = {B: always(0.005), C: always(1.3)}
        group.go_on(1.3)
        group.takes = {B: always(0.005), C: always(0.01)}
        group.go_on(29.0)
        assert group.waits.slow is None


def test_no_longer_slow() -> None:
    """When a period was well."""
    group = Group({B: always(0.01), C: always(1.2)})
    group.go_on(63.0)
    group.takes = {B: always(0.01), C: always(0.01)}
    group.go_on(63.0)
    assert group.waits.slow is None
