"""Which assignments a shard takes on, and which it refuses."""

from __future__ import annotations

import attrs
import pytest
from shard.states import HALF, HIGH, NEXT, STATE, split_at, with_low

from pyshard.errors import BadRequest, ForeignCluster, PyshardError, StaleEpoch, WrongIdentity
from pyshard.model.cluster_state import ClusterState
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
