"""Which assignments a shard takes on, and which it refuses."""

from __future__ import annotations

import attrs
import pytest
from shard.states import HALF, HIGH, LOW, NEXT, STATE, split_at, with_low
from work import steps

from pyshard.errors import BadRequest, ForeignCluster, PyshardError, StaleEpoch, WrongIdentity
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Phase, RangeMove
from pyshard.model.shard_map import ShardMap
from pyshard.model.slot_ranges import without
from pyshard.shard.assignment import Assignment, accept

NOW = Assignment("low", STATE)


@pytest.mark.parametrize(
    ("current", "state", "documents"),
    [
        pytest.param(None, STATE, 0, id="the first"),
        pytest.param(None, STATE, 5, id="the first, with documents (a store that kept them)"),
        pytest.param(NOW, STATE, 5, id="the same again"),
        pytest.param(NOW, NEXT, 5, id="a newer epoch"),
        pytest.param(NOW, attrs.evolve(STATE, epoch=100), 5, id="a much newer epoch"),
        pytest.param(NOW, attrs.evolve(NEXT, indexes={}, next_index=9), 5, id="other indexes"),
        pytest.param(NOW, with_low(NEXT, limit=1), 5, id="a lower limit than it holds"),
        pytest.param(NOW, with_low(NEXT, host="10.0.0.1", port=1), 5, id="another address"),
        pytest.param(NOW, with_low(NEXT, durable=True), 5, id="durable"),
        pytest.param(NOW, split_at(100, 8), 0, id="another range, without documents"),
    ],
)
def test_accepted(current: Assignment | None, state: ClusterState, documents: int) -> None:
    """What a shard takes on."""
    assert accept(current, "low", state, "1d", documents) == Assignment("low", state)


_FOREIGN = "this shard is 'low' of cluster c1; cluster c2 can't have it"
_MOVED = "this shard holds 5 documents for [0.0, 0.5); they don't move to [0.0, 1e-05) by themselves"


@pytest.mark.parametrize(
    ("current", "name", "state", "identity", "error", "message"),
    [
        pytest.param(
            None,
            "mid",
            STATE,
            "1d",
            BadRequest,
            "name: found 'mid', expected the name of a shard in the cluster state",
            id="a name nobody has",
        ),
        pytest.param(
            None,
            "low",
            STATE,
            "3f",
            WrongIdentity,
            "this shard's store is 3f; the cluster state has '1d' for 'low'",
            id="another store",
        ),
        pytest.param(
            None,
            "low",
            with_low(identity=""),
            "1d",
            WrongIdentity,
            "this shard's store is 1d; the cluster state has '' for 'low'",
            id="no store yet",
        ),
        pytest.param(
            NOW, "low", attrs.evolve(NEXT, cluster="c2"), "1d", ForeignCluster, _FOREIGN, id="another cluster"
        ),
        pytest.param(
            NOW,
            "low",
            attrs.evolve(STATE, epoch=1, cluster="c2"),
            "1d",
            ForeignCluster,
            _FOREIGN,
            id="another cluster at an older epoch",
        ),
        pytest.param(
            Assignment("high", with_low(identity="2e")),
            "low",
            NEXT,
            "1d",
            WrongIdentity,
            "this shard is 'high', not 'low'",
            id="another name",
        ),
        pytest.param(
            NOW,
            "low",
            attrs.evolve(STATE, epoch=6),
            "1d",
            StaleEpoch,
            "this shard has epoch 7; the given epoch 6 is no newer one",
            id="an older epoch",
        ),
        pytest.param(
            NOW,
            "low",
            attrs.evolve(STATE, indexes={}),
            "1d",
            StaleEpoch,
            "this shard has epoch 7; the given epoch 7 is no newer one",
            id="another state of the same epoch",
        ),
        pytest.param(NOW, "low", split_at(100, 8), "1d", StaleEpoch, _MOVED, id="another range, with documents"),
        pytest.param(
            Assignment("low", split_at(HALF + 100, 7)),
            "low",
            NEXT,
            "1d",
            StaleEpoch,
            "this shard holds 5 documents for [0.0, 0.50001); they don't move to [0.0, 0.5) by themselves",
            id="a smaller range, with documents",
        ),
    ],
)
def test_not_accepted(
    current: Assignment | None,
    name: str,
    state: ClusterState,
    identity: str,
    error: type[PyshardError],
    message: str,
) -> None:
    """What a shard refuses, and why."""
    with pytest.raises(PyshardError) as refused:
        accept(current, name, state, identity, 5)
    assert (type(refused.value), str(refused.value)) == (error, message)


def test_range_of_an_assignment() -> None:
    """An assignment's range is the one of its own name."""
    assert Assignment("high", STATE).own is HIGH


def moving(phase: Phase) -> ClusterState:
    """A state of the next epoch, in which the shard `low` has given and taken a range, by moves of a phase."""
    given, taken = ((0, 10),), ((HALF, HALF + 10),)
    shards = [
        attrs.evolve(LOW, ranges=((10, HALF + 10),)),
        attrs.evolve(HIGH, ranges=((0, 10), (HALF + 10, SLOTS))),
    ]
    moves = tuple(
        RangeMove(number, source, target, ranges, phase=phase)
        for number, source, target, ranges in ((1, "low", "high", given), (2, "high", "low", taken))
    )
    return attrs.evolve(NEXT, map=ShardMap(shards), moves=moves)


def test_ranges_change_by_moves() -> None:
    """What is committed comes and goes, though there are documents. Of other moves nothing does."""
    assert accept(NOW, "low", moving(Phase.COMMITTED), "1d", 5) == Assignment("low", moving(Phase.COMMITTED))
    for phase in set(Phase) - {Phase.COMMITTED}:
        with pytest.raises(StaleEpoch, match="by themselves"):
            accept(NOW, "low", moving(phase), "1d", 5)
    for number in (0, 1):
        state = moving(Phase.COMMITTED)
        with pytest.raises(StaleEpoch, match="by themselves"):
            accept(NOW, "low", attrs.evolve(state, moves=(state.moves[number],)), "1d", 5)


def test_steps_of_an_epoch() -> None:
    """Within an epoch the later step is the newer state."""
    now = Assignment("low", attrs.evolve(STATE, step=3))
    later = attrs.evolve(STATE, step=4)
    assert accept(now, "low", later, "1d", 5) == Assignment("low", later)
    with pytest.raises(StaleEpoch, match="has epoch 7, step 3; the given epoch 7, step 2 is no newer one"):
        accept(now, "low", attrs.evolve(STATE, step=2), "1d", 5)


def test_what_older_epochs_are_served() -> None:
    """Without what has moved since. It is found once for each, and of many epochs the last few are remembered."""
    since = tuple((10 * number, 10 * number + 5, number + 1) for number in range(200))
    now = Assignment("low", attrs.evolve(STATE, since=since))
    for epoch in [*range(200), *reversed(range(200))]:
        gone = tuple((start, end) for start, end, moved in since if moved > epoch)
        assert now.served_to(epoch) == without(LOW.ranges, gone)
    fresh = Assignment("low", now.state)
    first = steps(lambda: fresh.served_to(3))
    assert steps(lambda: fresh.served_to(3)) * 20 < first
    assert fresh.served_to(200) is LOW.ranges
