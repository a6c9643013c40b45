"""Who may answer at the address of a replica: what becomes of the state, and what is refused."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from model.cluster_state.states import STATE
from model.cluster_state.test_groups import FIRST, GROUP, REPLICATED, SECOND, THIRD

from pyshard.bootstrap.replica_judgement import identity_at, judge_at
from pyshard.errors import ForeignCluster, StaleEpoch, WrongIdentity
from pyshard.model.cluster_state import ClusterState
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import ReplicaGroup, new_group
from pyshard.model.shard_map import MapShard
from pyshard.protocol.greeting import Greeting


def greeting(identity: str, incarnation: str = "a", **changes: Any) -> Greeting:
    """What a durable replica of the low shard says."""
    said = Greeting(2, "shard", identity, "", "", 0, False, "c1", incarnation)
    return attrs.evolve(said, **changes)


def low_of(state: ClusterState) -> MapShard:
    """The shard with replicas."""
    low = state.map.named("low")
    assert low is not None
    return low


def group_of(state: ClusterState) -> ReplicaGroup:
    """Its replicas."""
    group = low_of(state).group
    assert group is not None
    return group


def judged(address: str, said: Greeting, state: ClusterState = REPLICATED) -> ClusterState:
    """What becomes of the state."""
    return judge_at(state, low_of(state), address, said)


def test_without_replicas() -> None:
    """A shard that has none is judged as ever."""
    high = STATE.map.named("high")
    assert high is not None
    after = judge_at(STATE, high, high.address, greeting("9f"))
    assert [shard.identity for shard in after.map.shards] == ["1d", "9f"]


@pytest.mark.parametrize(("replica", "identity", "incarnation"), [(FIRST, "1d", "a"), (SECOND, "2d", "b")])
def test_known(replica: object, identity: str, incarnation: str) -> None:
    """Who is there as the group knows it changes nothing."""
    assert judged(replica.address, greeting(identity, incarnation)) is REPLICATED  # type: ignore[attr-defined]


def test_first_seen() -> None:
    """A learner that was never seen is known from then on; no client has to hear of it."""
    after = judged(THIRD.address, greeting("3d", "c"))
    assert (after.epoch, after.step) == (REPLICATED.epoch, 1)
    assert group_of(after).holds(THIRD.address, StoreId("3d", "c"))
    assert group_of(after).members == GROUP.members


def test_another_store() -> None:
    """A member that comes with another store is a learner; a primary isn't taken up, as others have its documents."""
    after = group_of(judged(SECOND.address, greeting("9f")))
    assert (after.members, after.learners) == (frozenset({FIRST.address}), (SECOND.address, THIRD.address))
    assert judged(FIRST.address, greeting("9f")) is REPLICATED


def test_the_last_that_has_all() -> None:
    """It isn't replaced by another durable store: the operator decides. In memory there is nothing to wait for."""
    alone = STATE.with_group("low", ReplicaGroup(3, FIRST.address, frozenset({FIRST.address}), (FIRST, SECOND)))
    with pytest.raises(WrongIdentity, match="which no other replica has yet"):
        judged(FIRST.address, greeting("9f"), alone)
    memory = attrs.evolve(FIRST, durable=False)
    lost = STATE.with_group("low", ReplicaGroup(3, FIRST.address, frozenset({FIRST.address}), (memory, SECOND)))
    assert group_of(judged(FIRST.address, greeting("9f"), lost)).holds(FIRST.address, StoreId("9f", "a"))


def test_one_store_is_one_replica() -> None:
    """The same store at a second address is refused, and so is that of another shard."""
    with pytest.raises(WrongIdentity, match=r"is the one at 127\.0\.0\.1:6050 already"):
        judged(THIRD.address, greeting("2d", "b"))
    high = REPLICATED.map.named("high")
    assert high is not None
    with pytest.raises(WrongIdentity, match="is 'low' at"):
        judge_at(REPLICATED, high, high.address, greeting("2d", "b"))


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (greeting("3d", cluster="other"), ForeignCluster),
        (greeting("3d", cluster="c1", name="high"), WrongIdentity),
        (greeting("3d", role="bootstrap"), WrongIdentity),
        (greeting("3d", cluster="c1", name="low", epoch=8), StaleEpoch),
    ],
)
def test_who_is_refused(said: Greeting, error: type[Exception]) -> None:
    """Whose cluster, name or kind is another one, or who knows a newer state, is no replica of this shard."""
    with pytest.raises(error):
        judged(THIRD.address, said)
    with pytest.raises(WrongIdentity, match=r"no replica at 127\.0\.0\.1:1 any more"):
        judged("127.0.0.1:1", greeting("3d"))


def test_identities() -> None:
    """The id of the store at an address; nothing where none was seen."""
    low = low_of(REPLICATED)
    assert [identity_at(low, each.address) for each in (FIRST, SECOND, THIRD)] == ["1d", "2d", ""]
    assert new_group([THIRD]).at(THIRD.address) == THIRD
