"""A range moves between two real shards with two replicas each, beside writes, and a primary is killed meanwhile."""

from __future__ import annotations

import threading

import pytest
from functional.cluster import PATIENCE, until
from functional.cluster_operator import Operator, check_full_count
from functional.replicated_pair import NewReplicatedPair, ReplicatedPair

from pyshard import Pyshard
from pyshard.errors import OutcomeUnknown, Unavailable
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.range_moves import Phase
from pyshard.model.slot_ranges import SlotRanges, in_ranges

pytestmark = pytest.mark.functional

QUARTER: SlotRanges = ((SLOTS // 4, SLOTS // 2),)
DOCUMENTS = {f"document {number}": number for number in range(20_000)}
KEYS = [f"key {number}" for number in range(40)]


class Writer:
    """Writes rising numbers to each of `KEYS`, in turns, while it is entered as a context.

    :ivar acknowledged: key → the last number that was acknowledged.
    :ivar tried: key → the last number that was tried.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.acknowledged: dict[str, int] = {}
        self.tried: dict[str, int] = {}

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        number = 0
        with Pyshard(self._server) as app:
            while not self._over.is_set():
                number += 1
                for key in KEYS:
                    self.tried[key] = number
                    try:
                        app.write(key, number, deadline=PATIENCE)
                    except (OutcomeUnknown, Unavailable):
                        continue
                    self.acknowledged[key] = number


@pytest.fixture
def pair(new_replicated_pair: NewReplicatedPair) -> ReplicatedPair:
    """A cluster with documents."""
    made = new_replicated_pair()
    made.start()
    with Pyshard(made.server) as app:
        app.write_many(DOCUMENTS)
    return made


@pytest.mark.parametrize("shard", ["a", "b"], ids=["source", "target"])
def test_a_primary_is_killed(pair: ReplicatedPair, shard: str) -> None:
    """The move comes to its end with the next primary. Nothing is lost or doubled, and all replicas are equal."""
    operator = Operator(pair)
    with Writer(pair.server) as writer:
        until(lambda: len(writer.acknowledged) == len(KEYS), "all keys are written")
        (number,) = operator.move("a", "b", QUARTER)
        until(lambda: [move.phase for move in pair.state().moves] != [Phase.PLANNED], "the move begins")
        victim = pair.primary(shard)
        victim.kill()
        until(lambda: pair.primary(shard) is not victim, "another replica leads")
        operator.wait_over()
        before = dict(writer.acknowledged)
        until(lambda: all(writer.acknowledged[key] > before[key] for key in KEYS), "all keys are written again")
        victim.start()
        pair.wait_whole()
    (move,) = [move for move in operator.moves() if move.number == number]
    assert move.phase is Phase.COMMITTED, move.why
    owned = {own.name: own.ranges for own in pair.state().map.shards}
    assert owned == {"a": ((0, SLOTS // 4),), "b": ((SLOTS // 4, SLOTS),)}
    with Pyshard(pair.server, deadline=PATIENCE) as app:
        assert app.get_many(list(DOCUMENTS)) == list(DOCUMENTS.values())
        for key in KEYS:
            assert app.get(key) in range(writer.acknowledged[key], writer.tried[key] + 1)
        assert check_full_count(app) == len(DOCUMENTS) + len(KEYS)
    assert any(in_ranges(slot_of(key.encode()), QUARTER) for key in KEYS)
    pair.check_equal()
