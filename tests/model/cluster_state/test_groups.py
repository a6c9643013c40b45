"""Replicas in the cluster's state: their text, and what a change of them makes of map, epoch and moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from model.cluster_state.states import HALF, HIGH, LOW, MOVING, STATE, TEXT

from pyshard.errors import BadRequest, ConfigError
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import from_json, to_json
from pyshard.model.range_moves import Phase, StoreId
from pyshard.model.replica_group import MapReplica, ReplicaGroup, new_group
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.settings import settings

FIRST = MapReplica("127.0.0.1", 5050, StoreId("1d", "a"), True)
SECOND = MapReplica("127.0.0.1", 6050, StoreId("2d", "b"), True)
THIRD = MapReplica("127.0.0.1", 7050)
GROUP = ReplicaGroup(3, FIRST.address, frozenset({FIRST.address, SECOND.address}), (FIRST, SECOND, THIRD), 2)


def with_low(shard: MapShard, state: ClusterState = STATE) -> ClusterState:
    """The state with another shard in place of the low one."""
    return attrs.evolve(state, map=ShardMap([shard, HIGH]))


REPLICATED = with_low(LOW.led_by_group(GROUP))
GROUP_TEXT = (
    b',"group":{"ballot":3,"primary":"127.0.0.1:5050","members":["127.0.0.1:5050","127.0.0.1:6050"],"replicas":['
    b'{"host":"127.0.0.1","port":5050,"store":["1d","a"],"durable":true},'
    b'{"host":"127.0.0.1","port":6050,"store":["2d","b"],"durable":true},'
    b'{"host":"127.0.0.1","port":7050,"store":null,"durable":false}],"least":2,"lease":3.0}'
)


def test_text() -> None:
    """A shard without replicas has no word of them; one that has some has all of them."""
    text = TEXT.replace(b'"durable":true}', b'"durable":true' + GROUP_TEXT + b"}", 1)
    assert to_json(REPLICATED) == text
    assert from_json(text) == REPLICATED


def _without_primary(group: dict[str, Any]) -> None:
    group["members"] = ["127.0.0.1:6050"]


def _elsewhere(group: dict[str, Any]) -> None:
    group["primary"] = "127.0.0.1:6050"


def _twice(group: dict[str, Any]) -> None:
    group["replicas"][2] = group["replicas"][1]


def _at_another_shard(group: dict[str, Any]) -> None:
    group["replicas"][2]["port"] = 5051


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_without_primary, "expected the primary among the members"),
        (_elsewhere, "'low' elsewhere than its primary"),
        (_twice, "expected an address for each"),
        (_at_another_shard, "address of shard"),
        (lambda group: group.update(ballot=-1), "ballot"),
        (lambda group: group.update(least=0), "least"),
        (lambda group: group.pop("members"), "members"),
    ],
)
def test_what_is_no_group(change: Callable[[dict[str, Any]], object], why: str) -> None:
    """A text whose replicas can't be is refused, whoever sent it."""
    read = json.loads(to_json(REPLICATED))
    change(read["shards"][0]["group"])
    with pytest.raises(BadRequest, match=why):
        from_json(json.dumps(read).encode())


def test_most_replicas() -> None:
    """A shard may have seven replicas, and no more."""
    for count in (settings.MAX_REPLICAS, settings.MAX_REPLICAS + 1):
        group = new_group([FIRST, *(MapReplica("h", number) for number in range(1, count))])
        text = to_json(with_low(LOW.led_by_group(group)))
        if count > settings.MAX_REPLICAS:
            with pytest.raises(BadRequest, match="length <= 7"):
                from_json(text)
        else:
            assert to_json(from_json(text)) == text


def test_another_primary_is_another_map() -> None:
    """Clients have to know of it: the epoch rises, and who routed by an older one is redirected."""
    state = REPLICATED.with_group("low", GROUP.led_by(SECOND.address))
    low = state.map.named("low")
    assert low is not None
    assert (state.epoch, state.step, state.since) == (STATE.epoch + 1, 0, ((0, HALF, STATE.epoch + 1),))
    assert (low.address, low.identity, low.durable) == (SECOND.address, "2d", True)


def test_other_members_are_a_step() -> None:
    """No client has to know who else has the documents."""
    state = REPLICATED.with_group("low", GROUP.without_member(SECOND.address))
    assert (state.epoch, state.step, state.since) == (STATE.epoch, 1, ())


def test_moves_of_another_primary() -> None:
    """A move goes on with the store of the next primary, without its seal."""
    moving = with_low(LOW.led_by_group(GROUP), MOVING)
    state = moving.with_group("low", GROUP.led_by(SECOND.address))
    assert [move.phase for move in state.moves] == [Phase.COPYING, Phase.PLANNED]
    assert (state.moves[0].source_store, state.moves[0].origin) == (SECOND.store, MOVING.moves[0].source_store)
    assert from_json(to_json(state)) == state
    assert b'"paused":false,"origin":["1d","a"]}' in to_json(state)
    assert b"origin" not in to_json(moving), "where it is the source's store still, nobody has to be told"


def test_moves_of_a_primary_that_may_lack_something() -> None:
    """A move is cancelled when an operator has a replica lead that was no member."""
    moving = with_low(LOW.led_by_group(GROUP), MOVING)
    state = moving.with_group(
        "low", GROUP.begun_anew(THIRD.address).with_store(THIRD.address, StoreId("3d", "x"), True)
    )
    assert [move.phase for move in state.moves] == [Phase.CANCELLED, Phase.PLANNED]


def configured(*replicas: MapReplica, least: int = 1, port: int = 5050) -> ShardMap:
    """A config's shards, of which the low one has some replicas."""
    low = MapShard("low", LOW.ranges, 1024, "127.0.0.1", port)
    return ShardMap([low.led_by_group(new_group(replicas, least)) if replicas else low, HIGH])


def plain(replica: MapReplica) -> MapReplica:
    """It as a config has it."""
    return MapReplica(replica.host, replica.port)


def test_replicas_of_a_config() -> None:
    """A shard gets replicas, more of them, or fewer; who leads stays as it is."""
    known = with_low(attrs.evolve(LOW, identity="1d"))
    grown = known.with_addresses(configured(plain(FIRST), plain(SECOND), least=2))
    low = grown.map.named("low")
    assert low is not None
    assert low.group is not None
    assert (low.group.members, low.group.learners, low.group.least) == (
        frozenset({FIRST.address}),
        (SECOND.address,),
        2,
    )
    assert (low.identity, low.durable) == ("1d", True), "its documents are in this store, and in no other"
    led_by_second = REPLICATED.with_group("low", GROUP.led_by(SECOND.address))
    again = led_by_second.with_addresses(configured(plain(FIRST), plain(SECOND), plain(THIRD), least=2))
    assert again == led_by_second
    alone = led_by_second.with_addresses(configured(port=6050)).map.named("low")
    assert alone is not None
    assert alone.group is not None, "its store has promised to go by a group, and is still told which"
    assert (alone.addresses, alone.identity, alone.group.least) == ([SECOND.address], "2d", 1)


def test_replicas_during_a_move() -> None:
    """A shard that has a part in a move may get some: its own store goes on."""
    grown = MOVING.with_addresses(configured(plain(FIRST), plain(SECOND)))
    assert grown.moves == MOVING.moves
    low = grown.map.named("low")
    assert low is not None
    assert low.group is not None
    seen = grown.with_group("low", low.group.with_store(FIRST.address, StoreId("1d", "a"), True))
    assert seen.moves == MOVING.moves


def test_members_do_not_go_by_a_config() -> None:
    """A config that leaves a member out is refused: it is removed by name first."""
    with pytest.raises(ConfigError, match=r"shard 'low': replicas: found that \['127.0.0.1:6050'\] are to go"):
        REPLICATED.with_addresses(configured(plain(FIRST), plain(THIRD)))
    with pytest.raises(ConfigError, match="pyshard replica remove"):
        REPLICATED.with_addresses(configured())


def test_one_address() -> None:
    """No replica is where another shard is, or one of its replicas."""
    group = new_group([FIRST, MapReplica(HIGH.host, HIGH.port)])
    with pytest.raises(ConfigError, match=r"found 127.0.0.1:5051, which is the address of shard"):
        ShardMap([LOW.led_by_group(group), HIGH])
