"""Recorded histories while ranges move all the time, under every fault: nothing is lost, doubled, or out of order.

As `test_histories`, but ranges move as they do in a real cluster: planned, copied, sealed and committed, while shards
are killed, connections break, and the bootstrap comes and goes. Each move ends.

By hand, any number of seeds: PYSHARD_TEST_HISTORIES and PYSHARD_TEST_SEED, see CONTRIBUTING.md.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from faults import BOUNDS
from histories import Tally, total
from test_histories import BLOCK, FIRST, SEEDS, STEPS, Run

from pyshard.errors import BadRequest
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Phase
from pyshard.model.range_plan import Transfer
from pyshard.model.slot_ranges import common


class MovingRun(Run):
    """One seeded run in which ranges move.

    :ivar seen: how often which phase was seen.
    """

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: Counter[Phase] = Counter()
        self._phases: dict[int, Phase] = {}
        super().__init__(seed, monkeypatch)

    def step(self) -> None:
        """Some calls, perhaps a fault, perhaps a move, and some time."""
        if self.random.random() < 0.4:
            self.plan()
        super().step()
        if self.random.random() < 0.5:
            for _ in range(self.random.choice([1, 5, 20])):
                self.cluster.advance(0.05)
                self.look()
        if self.random.random() < 0.2:
            self.faults.mend()
        self.look()

    def look(self) -> None:
        """Count the phases that moves have come to."""
        if self.cluster.bootstrap is not None:
            for move in self.cluster.bootstrap.bootstrap.state.moves:
                if self._phases.get(move.number) is not move.phase:
                    self._phases[move.number] = move.phase
                    self.seen[move.phase] += 1

    def fault(self) -> None:
        """One random fault, or the end of one; ranges move by themselves."""
        kind = self.random.choice(["network"] * 4 + ["bootstrap", "cancel", "cancel", "address", "kill", "kill"])
        if kind == "network":
            self.faults.of_network()
        elif kind == "bootstrap":
            self.faults.bootstrap()
        elif kind == "cancel":
            self.cancel()
        elif kind == "address":
            self.change_address()
        else:
            self.kill()

    def plan(self) -> None:
        """Have a random piece of a shard move to another one."""
        if self.cluster.bootstrap is None or len(self.cluster.names) == 1:
            return
        keeper = self.cluster.bootstrap.bootstrap
        source, target = self.random.sample(keeper.state.map.shards, 2)
        piece = self.random.choice(list(pairwise([0, *BOUNDS, SLOTS])))
        ranges = common(source.ranges, (piece,))
        try:
            keeper.change(keeper.state.with_moves([Transfer(source.name, target.name, ranges)]))
        except BadRequest:
            return  # it has none of that, or that moves already

    def cancel(self) -> None:
        """Cancel a move that isn't decided."""
        if self.cluster.bootstrap is None:
            return
        keeper = self.cluster.bootstrap.bootstrap
        undecided = [move for move in keeper.state.moves if not move.has_ended]
        if undecided:
            keeper.change(keeper.state.with_move(self.random.choice(undecided).cancelled("somebody said so")))

    def finish(self) -> Tally:
        """As `Run.finish`, once each move has ended."""
        self.faults.mend()
        if self.cluster.bootstrap is None:
            self.cluster.start_bootstrap()
        keeper = self.cluster.bootstrap
        assert keeper is not None
        for _ in range(1200):
            self.cluster.advance(0.1)
            self.look()
            if not keeper.bootstrap.state.moves:
                break
        else:
            raise AssertionError(f"these don't end: {keeper.bootstrap.state.moves}")
        for name, service in self.cluster.services.items():
            ranges, own = service.shard.store.ranges, keeper.bootstrap.state.map.named(name)
            assert own is not None
            assert (ranges.owned, dict(ranges.staged), ranges.left, dict(ranges.sealed)) == (own.ranges, {}, (), {})
            assert not service.followers.names
        return super().finish()


def run(seed: int) -> tuple[Tally, Counter[Phase]]:
    """One run, to its end."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = MovingRun(seed, monkeypatch)
        for _ in range(STEPS):
            made.step()
        return made.finish(), made.seen


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, BLOCK))
def test_histories_while_ranges_move(first: int) -> None:
    """Under every fault of every seed, what every call came to can be explained, and each move ends."""
    tallies, seen = [], Counter[Phase]()
    for seed in range(first, min(first + BLOCK, FIRST + SEEDS)):
        try:
            tally, phases = run(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        tallies.append(tally)
        seen += phases
    print(f"\nseeds from {first}: {total(tallies)}, {seen}")  # noqa: T201  # pytest shows it when it is asked to (-s)
    if len(tallies) == BLOCK:
        assert seen[Phase.COMMITTED] >= BLOCK / 2
        assert seen[Phase.SEALING]
