"""Shards that are told the state, and answer when the test wants it."""

from __future__ import annotations

from typing import cast

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.bootstrap.push_rests import PushRests
from pyshard.bootstrap.push_turns import Lane, PushTurns

MIB = 1024 * 1024


class Bench:
    """Shards that answer when the test wants it.

    :ivar size: bytes that the state has.
    :ivar takes: seconds that each push takes to begin.
    :ivar asked: whether others ask.
    :ivar begun: the numbers of shards that were told, in their order.
    :ivar under_way: those that haven't answered.
    """

    def __init__(self, size: int) -> None:
        self.clock = Clock()
        self.size, self.takes, self.asked = size, 0.0, False
        rests = PushRests(self.clock.seconds, lambda: self.asked)
        self.turns: PushTurns[Shard] = PushTurns(self.clock, lambda: self.size, rests)
        self.begun: list[int] = []
        self.under_way: dict[int, Deferred[None]] = {}
        self.shards: dict[int, Shard] = {}

    def add(self, numbers: range, lane: Lane) -> None:
        """Have shards told."""
        for number in numbers:
            self.turns.add(self.shards.setdefault(number, Shard(self, number)), lane)

    def answer(self, number: int) -> None:
        """A shard has the state."""
        self.under_way.pop(number).callback(None)

    def turn(self) -> list[int]:
        """One turn of the reactor: who is told in it."""
        before = len(self.begun)
        for call in [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()]:
            work, arguments = cast(DelayedCall, call).func, cast(DelayedCall, call).args
            call.cancel()  # what that calls for later is for the next turn
            work(*arguments)
        return self.begun[before:]

    def all_turns(self) -> list[int]:
        """As many turns as there is something to do in at once."""
        before = len(self.begun)
        while self.turn():
            pass
        return self.begun[before:]


class Shard:
    """One shard."""

    def __init__(self, bench: Bench, number: int) -> None:
        self.bench, self.number = bench, number

    def push(self) -> Deferred[None]:
        """It is told."""
        self.bench.begun.append(self.number)
        self.bench.clock.rightNow += self.bench.takes
        assert self.number not in self.bench.under_way, "one state at a time"
        told = self.bench.under_way[self.number] = Deferred()
        return told
