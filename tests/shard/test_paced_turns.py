"""Turns for long work: one step at a time, with rests that leave others most of the time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from deferreds import watch
from shard.reactor_turns import TurningClock
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.shard.paced_turns import PacedTurns


def test_one_after_the_other() -> None:
    """Two works have turns alternately, one in each turn of the reactor, and no timer is left when both are done."""
    clock, seen = TurningClock(), list[str]()
    turns = PacedTurns(clock)

    async def work(name: str, steps: int) -> None:
        for _ in range(steps):
            await turns.next()
            seen.append(name)

    for name, steps in (("a", 3), ("b", 2)):
        Deferred.fromCoroutine(work(name, steps))
    for number in range(5):
        assert len(seen) == number
        clock.turn()
    assert seen == ["a", "b", "a", "b", "a"]
    assert clock.getDelayedCalls() == []


def test_until_something_is_given() -> None:
    """A step in each turn, none before the first one; something that is empty is given, too, and what fails does so."""
    clock, steps = TurningClock(), list[list[str] | None]([None, None, [], None])
    turns = PacedTurns(clock)
    found = watch(Deferred.fromCoroutine(turns.until_given(lambda: steps.pop(0))))
    for left in (4, 3, 2):
        assert (len(steps), found) == (left, [])
        clock.turn()
    assert (steps, found) == ([None], [[]])
    steps.clear()
    ended = watch(Deferred.fromCoroutine(turns.until_given(lambda: steps.pop(0))))
    clock.turn()
    assert isinstance(ended[0], IndexError)
    assert clock.getDelayedCalls() == []


def test_rests() -> None:
    """After a turn the others have three times as long as it took, whoever has the next one."""
    clock, began = Clock(), list[float]()
    turns = PacedTurns(clock)

    async def work() -> None:
        for _ in range(3):
            await turns.next()
            began.append(clock.seconds())
            clock.rightNow += 0.5

    for _ in range(2):
        Deferred.fromCoroutine(work())
    clock.pump([0.25] * 100)
    assert began == [2.0 * number + 0.25 for number in range(6)]


def between(
    steps: int, seconds: float, asks: Callable[[int], bool], hurried: Callable[[int], bool] = lambda _: False
) -> list[float]:
    """Seconds between the beginnings of steps that each take so long.

    :param asks: whether clients ask for something behind a step, by how many have begun.
    :param hurried: see `PacedTurns`; the same.
    """
    clock, began, asked = Clock(), list[float](), [0]
    turns = PacedTurns(clock, lambda: asked[0], lambda: hurried(len(began)))

    async def work() -> None:
        for _ in range(steps):
            await turns.next()
            began.append(clock.seconds())
            clock.rightNow += seconds
            asked[0] += asks(len(began))

    Deferred.fromCoroutine(work())
    clock.pump([0.03125] * 800)
    return [later - earlier for earlier, later in pairwise(began)]


def test_rests_beside_clients() -> None:
    """While clients ask for something, they have 40 times as long as a turn took; while none does, as long as it."""
    assert between(6, 0.03125, lambda begun: 3 <= begun < 5) == [0.0625, 0.0625, 1.28125, 1.28125, 0.0625]


def test_long_turns() -> None:
    """A rest is 2 s at the most, since the clock may have been set meanwhile."""
    assert between(3, 0.5, lambda _: True) == [2.5, 2.5]


def test_hurried_beside_clients() -> None:
    """What would come to nothing has half of the time, whoever asks."""
    assert between(5, 0.03125, lambda _: True, lambda begun: begun >= 3) == [1.28125, 1.28125, 0.0625, 0.0625]
