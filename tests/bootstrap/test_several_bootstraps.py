"""Several bootstraps over one state store: each serves and acts, and only the swaps in the store decide.

The store has faults, late swaps among them. Whatever happens, no move is both committed and cancelled, all bootstraps
and shards come to one state, and no document is lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from random import Random

import pytest
from deferreds import change_state, result, watch
from moving import DOCS, MOVING, QUARTER, until_quiet

from pyshard.bootstrap.bootstrap import Bootstrap, Condition
from pyshard.bootstrap.service import BootstrapService
from pyshard.bootstrap.state_stores.memory_state_store import SwapFault
from pyshard.errors import BadRequest, OutcomeUnknown, PyshardError, Unavailable
from pyshard.model.cluster_state import ClusterState
from pyshard.model.range_moves import Phase
from pyshard.model.range_plan import Transfer
from pyshard.model.slot_ranges import in_ranges
from pyshard.testing import MemoryCluster

SEEDS = int(os.environ.get("PYSHARD_TEST_HISTORIES", "10"))
FIRST_SEED = int(os.environ.get("PYSHARD_TEST_SEED", "0"))
DECIDED = (Phase.COMMITTED, Phase.CANCELLED)


class SharedCluster(MemoryCluster):
    """A cluster with two bootstraps, of which the second one is at port 9193."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.stop_bootstrap()
        self.both = [self.start_one(port) for port in (9192, 9193)]
        self.advance(1)
        self.run(self.connect().write_many(DOCS))

    def start_one(self, port: int) -> BootstrapService:
        """Start a bootstrap that finds the state in the store."""
        bootstrap = Bootstrap(self.state_store, self.clock, f"b{port}")
        endpoint = self.network.listen("localhost", port)
        service = BootstrapService(
            bootstrap, self.clock, endpoint, self.network.dial, self.random, first=lambda: self.state
        )
        service.startService()
        return service

    def close(self) -> None:
        for service in self.both:
            watch(service.stopService())
        super().close()

    def agree(self) -> bool:
        """Whether all have the state that is in the store."""
        shards = [service.shard.configured().state for service in self.services.values()]
        return all(known == self.state for known in [*(each.bootstrap.state for each in self.both), *shards])


@pytest.fixture
def cluster() -> Iterator[SharedCluster]:
    """Both are up."""
    with SharedCluster() as made:
        yield made


def with_moves(transfers: list[Transfer], state: ClusterState) -> ClusterState:
    """The next state, with moves planned."""
    return state.with_moves(transfers)


def check_history(first: ClusterState, states: list[ClusterState]) -> None:
    """Each state is later than the one before, and what is decided of a move stays so."""
    decided: dict[int, Phase] = {}
    before = first
    for state in states:
        assert state.order > before.order
        for move in state.moves:
            if move.number in decided:
                assert move.phase is decided[move.number]
            elif move.has_ended:
                decided[move.number] = move.phase
        before = state


def test_both_serve_and_act(cluster: SharedCluster) -> None:
    """What one of them changes the other one has soon, and so have the shards, without an epoch more than that."""
    one, two = (each.bootstrap for each in cluster.both)
    epoch = cluster.state.epoch
    for number, bootstrap in enumerate((one, two, one, two)):
        cluster.advance(0.2)
        change_state(bootstrap, bootstrap.state.with_index(f"index{number}"))
    cluster.advance(0.2)
    assert cluster.agree()
    assert (cluster.state.epoch, len(cluster.state.indexes)) == (epoch + 4, 4)
    for bootstrap in (one, two):
        assert [each.condition for each in bootstrap.readiness()] == [Condition.READY] * 2
    cluster.kill_shard("shard1")
    cluster.start_shard("shard1")
    cluster.advance(3)
    assert cluster.agree()
    assert cluster.state.epoch == epoch + 5


def test_one_of_them_is_enough(cluster: SharedCluster) -> None:
    """A move goes on when the one that planned it is gone."""
    for number in range(2):
        source, target = ("shard0", "shard1")[:: 1 - 2 * number]
        change_state(cluster.both[0].bootstrap, cluster.state.with_moves([Transfer(source, target, QUARTER)]))
        cluster.advance(0.07)
        cluster.run(cluster.both.pop(0).stopService())
        until_quiet(cluster)
        assert in_ranges(QUARTER[0][0], next(one for one in cluster.state.map.shards if one.name == target).ranges)
        cluster.both.append(cluster.start_one(9194 + number))
        cluster.advance(1)
    assert cluster.agree()


def test_a_shard_that_knows_more(cluster: SharedCluster) -> None:
    """A bootstrap that was told of nothing learns from a shard that there is something, and isn't in its way."""
    cluster.state_store.deaf = True
    one, two = (each.bootstrap for each in cluster.both)
    result(one.change(lambda state: state.with_index("pages")))
    cluster.network.cut("127.0.0.1", 5050)
    cluster.advance(0.3)
    assert two.state == one.state
    cluster.advance(2)
    assert [each.condition for each in two.readiness()] == [Condition.READY] * 2


@pytest.mark.parametrize("fault", SwapFault)
@pytest.mark.parametrize("decision", DECIDED)
def test_late_swap(cluster: SharedCluster, decision: Phase, fault: SwapFault) -> None:
    """A commit or a cancel whose outcome is unknown, while the other bootstrap decides: one of them holds.

    It is applied after the store was read, or was applied before, or never is. Both bootstraps and the shards go by
    what is in the store, and by nothing else.
    """
    store, first = cluster.state_store, cluster.state
    begun = len(store.swaps)
    one, two = cluster.both

    def unsure(state: ClusterState) -> SwapFault | None:
        return fault if any(move.phase is decision for move in state.moves) else None

    result(one.bootstrap.change(lambda state: state.with_moves([Transfer("shard0", "shard1", QUARTER)])))
    while cluster.state.moves[0].phase is not Phase.SEALING:
        cluster.advance(0.001)
    store.fault = unsure
    outcome = watch(one.driver.change_move(1, "cancel")) if decision is Phase.CANCELLED else []
    cluster.advance(0.5)
    if fault is not SwapFault.UNTOLD:  # nobody acts on what isn't in the store
        for service in cluster.services.values():
            assert all(move.phase is not decision for move in service.shard.configured().state.moves)
    rival = watch(two.driver.change_move(1, "cancel"))
    cluster.advance(0.3)
    store.fault = lambda _: None
    store.land()
    until_quiet(cluster)
    check_history(first, store.swaps[begun:])
    cluster.advance(3)
    store.land()
    assert cluster.agree()
    assert {type(each) for each in (*outcome, *rival)} <= {type(None), OutcomeUnknown, BadRequest, Unavailable}
    assert cluster.run(cluster.connect().get_many(list(DOCS))) == list(DOCS.values())


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_at_odds(seed: int) -> None:
    """Both drive moves, and operators cancel at both, while swaps get lost, untold or late, and the store is away."""
    random = Random(seed)
    with SharedCluster(seed) as cluster:
        store, first = cluster.state_store, cluster.state
        begun = len(store.swaps)
        store.fault = lambda _: random.choice([*SwapFault, *[None] * 6])
        client = cluster.connect()
        outcomes: list[Sequence[object]] = []
        for step in range(150):
            one = random.choice(cluster.both)
            if random.random() < 0.1 and not one.bootstrap.state.moves:
                owner = next(each.name for each in cluster.state.map.shards if in_ranges(QUARTER[0][0], each.ranges))
                move = Transfer(owner, "shard1" if owner == "shard0" else "shard0", QUARTER)
                planned = watch(one.bootstrap.change(partial(with_moves, [move])))
                outcomes.append(planned)
            elif random.random() < 0.1 and one.bootstrap.state.moves:
                number = random.choice(one.bootstrap.state.moves).number
                cancelled = watch(one.driver.change_move(number, "cancel"))
                outcomes.append(cancelled)
            elif random.random() < 0.05:
                store.away = random.choice([None, Unavailable("away")])
            if random.random() < 0.2:
                store.land()
            if step % 10 == 0:
                written = watch(client.write(MOVING[step % len(MOVING)], DOCS[MOVING[step % len(MOVING)]]))
                outcomes.append(written)
            cluster.advance(random.choice([0.01, 0.05, 0.2, 0.7]))
        store.away, store.fault = None, lambda _: None
        store.land()
        until_quiet(cluster)
        cluster.advance(12)
        assert all(outcome for outcome in outcomes)
        assert all(isinstance(each, PyshardError | int | None) for outcome in outcomes for each in outcome)
        check_history(first, store.swaps[begun:])
        assert cluster.agree()
        assert cluster.run(client.get_many(list(DOCS))) == list(DOCS.values())
        for own in cluster.state.map.shards:
            ranges = cluster.services[own.name].shard.store.ranges
            assert (ranges.owned, ranges.staged, ranges.sealed, ranges.left) == (own.ranges, {}, {}, ())
