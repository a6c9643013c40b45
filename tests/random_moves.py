"""Ranges that move at random in a cluster in memory, for runs that must make sense all the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from random import Random

from deferreds import change_state
from faults import BOUNDS

from pyshard.errors import BadRequest
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Phase
from pyshard.model.range_plan import Transfer
from pyshard.model.slot_ranges import common
from pyshard.testing import MemoryCluster


class RandomMoves:
    """The moves of one run.

    :param random: chooses them.
    :ivar seen: how often which phase was seen.
    """

    def __init__(self, cluster: MemoryCluster, random: Random) -> None:
        self._cluster = cluster
        self._random = random
        self._phases: dict[int, Phase] = {}
        self.seen: Counter[Phase] = Counter()

    def look(self) -> None:
        """Count the phases that moves have come to."""
        if self._cluster.bootstrap is not None:
            for move in self._cluster.bootstrap.bootstrap.state.moves:
                if self._phases.get(move.number) is not move.phase:
                    self._phases[move.number] = move.phase
                    self.seen[move.phase] += 1

    def plan(self) -> None:
        """Have a random piece of a shard move to another one."""
        if self._cluster.bootstrap is None or len(self._cluster.names) == 1:
            return
        keeper = self._cluster.bootstrap.bootstrap
        source, target = self._random.sample(keeper.state.map.shards, 2)
        piece = self._random.choice(list(pairwise([0, *BOUNDS, SLOTS])))
        ranges = common(source.ranges, (piece,))
        try:
            change_state(keeper, keeper.state.with_moves([Transfer(source.name, target.name, ranges)]))
        except BadRequest:
            return  # it has none of that, or that moves already

    def cancel(self) -> None:
        """Cancel a move that isn't decided."""
        if self._cluster.bootstrap is None:
            return
        keeper = self._cluster.bootstrap.bootstrap
        undecided = [move for move in keeper.state.moves if not move.has_ended]
        if undecided:
            change_state(keeper, keeper.state.with_move(self._random.choice(undecided).cancelled("somebody said so")))

    def wait_over(self, look: Callable[[], None]) -> None:
        """Let time pass until each move has ended, and the shards own what the map says.

        :param look: called from time to time.
        """
        keeper = self._cluster.bootstrap
        assert keeper is not None
        for _ in range(1200):
            self._cluster.advance(0.1)
            look()
            if not keeper.bootstrap.state.moves:
                return
        raise AssertionError(f"these don't end: {keeper.bootstrap.state.moves}")
