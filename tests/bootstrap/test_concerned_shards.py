"""A change of the state concerns the shards that are other ones by it, and those of its moves."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from bootstrap.states import HIGH, LOW, STATE

from pyshard.bootstrap.concerned_shards import concerned_shards
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import from_json, to_json
from pyshard.model.range_plan import Transfer
from pyshard.model.replica_group import MapReplica, new_group
from pyshard.model.shard_map import MapShard, ShardMap

THIRD = MapShard("third", (), 1000, "10.0.0.3", 5052)
THREE = attrs.evolve(STATE, map=ShardMap([LOW, HIGH, THIRD]))
PLANNED = THREE.with_moves([Transfer("low", "third", ((0, 100),))])
GROUP = new_group([MapReplica("10.0.0.2", 5051), MapReplica("10.0.0.9", 5051)], lease=3.0)


@pytest.mark.parametrize(
    ("before", "change", "names"),
    [
        (THREE, lambda state: state, set()),
        (THREE, lambda state: state.with_index("links"), set()),
        (THREE, lambda state: state.with_identity("high", "3f", True), {"high"}),
        (THREE, lambda state: state.with_group("high", GROUP), {"high"}),
        (STATE, lambda state: state.with_shards([THIRD], [], []), {"third"}),
        (THREE, lambda state: state.with_shards([], [], ["third"]), set()),
        (THREE, lambda _: PLANNED, {"low", "third"}),
        (PLANNED, lambda state: state.with_move(state.moves[0].cancelled("why")), {"low", "third"}),
        (PLANNED, lambda state: state.without_move(1), {"low", "third"}),
        (PLANNED, lambda state: state.with_index("links"), set()),
    ],
)
def test_concerned(before: ClusterState, change: Callable[[ClusterState], ClusterState], names: set[str]) -> None:
    """It is found by value, so that the state of another bootstrap is compared likewise."""
    after = change(before)
    assert concerned_shards(before, after) == names
    assert concerned_shards(before, from_json(to_json(after))) == names
