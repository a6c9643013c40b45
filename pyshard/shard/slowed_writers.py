"""Slows writers down whose changes a follower can't catch up with, by half at the most.

A move ends only when its target has nearly all. Where more is written than it can follow, it would never end.

Rules:

- Only who changes slots of a follower that has been behind for long is slowed, and only while that follower asks.
- How much they change is measured first. Then they get half of that for a while, however much they ask for. Then it is
  measured again: they may have become many more. The most that was measured counts, since a disk has slow moments.
- That half is divided fairly between the addresses that they come from: each gets what it had, up to a level. So who
  changes little isn't slowed for the sake of another one.
- A change is made at once, and in order. It is its answer that waits, for a second at the most: clients have so many
  changes in flight, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from pyshard.model.key_slots import LazySlots
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.batch_operations import Run, changes

_MEASURED = 4.0  # seconds for which it is measured how much is changed
_SHARE = 0.5  # of that writers get
_SLOWED = 10.0  # seconds until it is measured again
_LONGEST = 1.0  # seconds that an answer waits at the most
_T = TypeVar("_T")


class WriterPace:
    """How long answers to changes wait, so that writers get half of what they had. Pure; times are in seconds."""

    def __init__(self) -> None:
        self._began: float | None = None  # to measure, or to slow down
        self._counts: dict[str, int] = {}  # by address: operations that were measured
        self._most = 0.0  # operations in a second that were measured
        self._level = 0.0  # operations of an address that are answered in a second; 0: it is being measured
        self._next: dict[str, float] = {}  # by address: when the next answer is due

    def reset(self) -> None:
        """Nobody is behind any more."""
        self._began, self._most, self._level = None, 0.0, 0.0

    def wait(self, operations: int, now: float, address: str = "") -> float:
        """Note changes, and say for how long their answer is to wait.

        :param address: whose they are.
        """
        if self._began is None or now - self._began >= (_SLOWED if self._level else 2 * _MEASURED):
            self._began, self._counts, self._level = now, {}, 0.0
        if not self._level:
            self._counts[address] = self._counts.get(address, 0) + operations
            if now - self._began >= _MEASURED:
                rates = [count / (now - self._began) for count in self._counts.values()]
                self._most = max(self._most, sum(rates))
                self._level = level(rates, _SHARE * self._most)
                self._began, self._next = now, {}
            return 0.0
        due = max(self._next.get(address, now), now)
        self._next[address] = min(due + operations / self._level, now + _LONGEST)
        return due - now


def level(rates: Iterable[float], total: float) -> float:
    """Up to which rate each may have its own, so that all have a total together. There is one rate at least."""
    share, waiting = total, sorted(rates)
    while waiting and (share := total / len(waiting)) > waiting[0]:
        total -= waiting.pop(0)
    return share


class SlowedWriters:
    """The writers of one shard.

    :param behind: gives the slots of followers that have been behind for long.
    :param clock: times answers.
    """

    def __init__(self, behind: Callable[[], SlotRanges], clock: IReactorTime) -> None:
        self._behind = behind
        self._clock = clock
        self._pace = WriterPace()

    def answer(self, runs: Sequence[Run], applied: Deferred[_T], address: str = "") -> Deferred[_T]:
        """Have the answer to a batch wait, if it changes what a follower can't catch up with.

        :param applied: fires when the batch is applied.
        :param address: whose it is.
        """
        ranges = self._behind()
        if not ranges:
            self._pace.reset()
            return applied
        operations = sum(_changed(run, ranges) for run in runs if changes(run))
        seconds = self._pace.wait(operations, self._clock.seconds(), address) if operations else 0.0
        if seconds <= 0:
            return applied
        waited: Deferred[None] = Deferred()
        self._clock.callLater(seconds, waited.callback, None)
        return applied.addBoth(lambda outcome: waited.addCallback(lambda _: outcome))


def _changed(run: Run, ranges: SlotRanges) -> int:
    return sum(in_ranges(slot, ranges) for slot in LazySlots(run.keys, run.index.encode()))
