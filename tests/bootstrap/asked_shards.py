"""A bootstrap with moves, and shards that say of them what a test wants."""

from __future__ import annotations

import attrs
from deferreds import change_state
from model.cluster_state.states import STATE
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.move_driver import MoveDriver
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.model.range_moves import Phase, SourceReport, StoreId, TargetReport
from pyshard.model.range_plan import Transfer
from pyshard.protocol.move_reports import MoveReports

A, B = StoreId("1d", "a"), StoreId("2e", "b")


EVEN = TargetReport(B, complete=True)


TRANSFER = Transfer("low", "high", ((0, 100),))


@attrs.frozen
class AskedShard:
    """One shard of the bench."""

    bench: Bench
    name: str

    def ask_moves(self) -> Deferred[MoveReports | None]:
        """What it says."""
        return self.bench.ask(self.name)

    def settle(self) -> Deferred[None]:
        """It is told half a second later."""
        told: Deferred[None] = Deferred()
        self.bench.clock.callLater(0.5, told.callback, None)
        return told


class Bench:
    """A bootstrap with one move, and what its shards say.

    :ivar source: what `low` says of it; None: it can't be asked.
    :ivar target: what `high` says.
    :ivar waiting: the answer of the shard that is slow; None: that isn't slow.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked: list[str] = []
        self.number = 1
        self.source: SourceReport | None = SourceReport(A)
        self.target: TargetReport | None = TargetReport(B)
        self.waiting: Deferred[MoveReports | None] | None = None
        self.slow = "high"
        self.store = MemoryStateStore(STATE)
        self.saved = self.store.swaps
        self.bootstrap = Bootstrap(self.store, self.clock, "b1", self.store.stored)
        self.driver = MoveDriver(self.bootstrap, self.clock, lambda name: AskedShard(self, name))
        self.driver.startService()

    def ask(self, name: str) -> Deferred[MoveReports | None]:
        """What a shard says."""
        self.asked.append(name)
        if self.waiting is not None and name == self.slow:
            return self.waiting
        if name == "low":
            return succeed(None if self.source is None else MoveReports({self.number: self.source}, {}))
        return succeed(None if self.target is None else MoveReports({}, {self.number: self.target}))

    def plan(self) -> None:
        """Have the move planned."""
        change_state(self.bootstrap, self.bootstrap.state.with_moves([TRANSFER]))

    def pass_time(self, seconds: float = 0.06) -> None:
        """Let questions be asked."""
        for _ in range(round(seconds / 0.01)):
            self.clock.advance(0.01)

    def phase(self) -> Phase | None:
        """That of the move; None: there is none."""
        moves = self.bootstrap.state.moves
        return moves[0].phase if moves else None


@attrs.frozen
class Says:
    """A shard that says one thing of moves, or nothing for now."""

    reports: MoveReports | None

    def ask_moves(self) -> Deferred[MoveReports | None]:
        """What it says."""
        return Deferred() if self.reports is None else succeed(self.reports)

    def settle(self) -> Deferred[None]:
        """It has the state."""
        return succeed(None)
