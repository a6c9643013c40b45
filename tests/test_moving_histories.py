"""Recorded histories while ranges move all the time, under every fault: nothing is lost, doubled, or out of order.

As `test_histories`, but ranges move as they do in a real cluster: planned, copied, sealed and committed, while shards
are killed, connections break, and the bootstrap comes and goes. Shards are killed between the steps of a move, too:
before and after each change of what their store owns, or remembers. Each move ends.

By hand, any number of seeds: PYSHARD_TEST_HISTORIES and PYSHARD_TEST_SEED, see CONTRIBUTING.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeVar

import pytest
from histories import Tally, total
from random_moves import RandomMoves
from test_histories import BLOCK, FIRST, SEEDS, STEPS, LastingStore, Run
from twisted.internet.defer import Deferred

from pyshard.model.range_moves import Phase
from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage import ITSELF, IStore, Sender, Task

_T = TypeVar("_T")


class MortalStore(LastingStore):
    """Dies in the middle of what its shard has it do: nothing it is told comes to an end from then on.

    :ivar steps: how many steps of a move it lives on; None: it lives.
    :ivar dead: whether it is dead, so that its shard is to be killed.
    """

    def __init__(self, identity: str, seconds: Callable[[], float], random: Random) -> None:
        super().__init__(identity, seconds, random)
        self.steps: int | None = None
        self.dead = False

    def revive(self) -> None:
        """Live on, for a shard that starts."""
        self.steps, self.dead = None, False

    def apply(self, tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        return Deferred() if self.dead else super().apply(tasks, limit, room, sender)

    def own(self, ranges: SlotRanges) -> Deferred[None]:
        return self._step(lambda: super(MortalStore, self).own(ranges))

    def change_ranges(self, decide: Callable[[StoreRanges], StoreRanges]) -> Deferred[None]:
        return self._step(lambda: super(MortalStore, self).change_ranges(decide))

    def absorb_staged(self, name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        return self._step(lambda: super(MortalStore, self).absorb_staged(name, group, sequence, limit))

    def set_indexes(self, indexes: Mapping[str, int], next_index: int = 0, text: bytes | None = None) -> Deferred[None]:
        return self._step(lambda: super(MortalStore, self).set_indexes(indexes, next_index, text))

    def remember(self, text: bytes) -> Deferred[None]:
        return self._step(lambda: super(MortalStore, self).remember(text))

    def sweep(self, most: int) -> Deferred[bool]:
        return self._step(lambda: super(MortalStore, self).sweep(most)) if self.ranges.left else super().sweep(most)

    def _step(self, do: Callable[[], Deferred[_T]]) -> Deferred[_T]:
        if self.steps is not None and not self.dead:
            self.steps -= 1
            if self.steps < 0:
                self.dead = True
                if self._random.random() < 0.5:
                    do()
        return Deferred() if self.dead else do()


class MovingRun(Run):
    """One seeded run in which ranges move.

    :ivar moves: what moves.
    :ivar died: how many shards died between two steps of a move.
    """

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.died = 0
        self.mortal: dict[str, MortalStore] = {}
        super().__init__(seed, monkeypatch)
        self.moves = RandomMoves(self.cluster, self.random)

    def step(self) -> None:
        """Some calls, perhaps a fault, perhaps a move, and some time."""
        if self.random.random() < 0.4:
            self.moves.plan()
        if self.random.random() < 0.1:
            self.random.choice(list(self.mortal.values())).steps = self.random.randrange(12)
        super().step()
        if self.random.random() < 0.5:
            for _ in range(self.random.choice([1, 5, 20])):
                self.cluster.advance(0.05)
                self.look()
        if self.random.random() < 0.2:
            self.faults.mend()
        self.look()

    def _store(self, name: str, seconds: Callable[[], float]) -> IStore:
        if name not in self.mortal:
            self.mortal[name] = MortalStore(f"{len(self.mortal):032x}", seconds, self.random)
            self.stores[name] = self.mortal[name]
        self.mortal[name].revive()
        return self.mortal[name]

    def look(self) -> None:
        """Count the phases that moves have come to, and have dead shards start again."""
        for name in [name for name, store in self.mortal.items() if store.dead]:
            self.died += 1
            self.kill(name)
        self.moves.look()

    def fault(self) -> None:
        """One random fault, or the end of one; ranges move by themselves."""
        kind = self.random.choice(["network"] * 4 + ["bootstrap", "cancel", "cancel", "address", "kill", "kill"])
        if kind == "network":
            self.faults.of_network()
        elif kind == "bootstrap":
            self.faults.bootstrap()
        elif kind == "cancel":
            self.moves.cancel()
        elif kind == "address":
            self.change_address()
        else:
            self.kill()

    def finish(self) -> Tally:
        """As `Run.finish`, once each move has ended."""
        self.faults.mend()
        for store in self.mortal.values():
            store.steps = None
        self.look()
        if self.cluster.bootstrap is None:
            self.cluster.start_bootstrap()
        self.moves.wait_over(self.look)
        for name, service in self.cluster.services.items():
            ranges, own = service.shard.store.ranges, self.cluster.state.map.named(name)
            assert own is not None
            assert (ranges.owned, dict(ranges.staged), ranges.left, dict(ranges.sealed)) == (own.ranges, {}, (), {})
            assert not service.followers.names
        return super().finish()


def run(seed: int) -> tuple[Tally, Counter[Phase], int]:
    """One run, to its end: what came of calls, the phases of moves, and how many shards died between two steps."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = MovingRun(seed, monkeypatch)
        for _ in range(STEPS):
            made.step()
        return made.finish(), made.moves.seen, made.died


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, BLOCK))
def test_histories_while_ranges_move(first: int) -> None:
    """Under every fault of every seed, what every call came to can be explained, and each move ends."""
    tallies, seen, died = [], Counter[Phase](), 0
    for seed in range(first, min(first + BLOCK, FIRST + SEEDS)):
        try:
            tally, phases, dead = run(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        tallies.append(tally)
        seen += phases
        died += dead
    print(f"\nseeds from {first}: {total(tallies)}, {seen}, {died} died between two steps")  # noqa: T201  # pytest shows it when it is asked to (-s)
    if len(tallies) == BLOCK:
        assert seen[Phase.COMMITTED] >= BLOCK / 2
        assert seen[Phase.SEALING]
        assert died
