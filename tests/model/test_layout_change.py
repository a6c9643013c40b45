"""What it takes to bring a cluster to a config."""

from __future__ import annotations

from fractions import Fraction

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.errors import ConfigError
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.layout_change import layout_change, with_other_ranges
from pyshard.model.range_moves import StoreId
from pyshard.model.range_plan import Transfer, proposed
from pyshard.model.replica_group import MapReplica, new_group
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.model.slot_ranges import SlotRanges


def shards(*layout: tuple[str, SlotRanges]) -> ShardMap:
    """Shards with these ranges, each with an address of its own."""
    return ShardMap(MapShard(name, ranges, 100, "localhost", ord(name[-1])) for name, ranges in layout)


HALF = SLOTS // 2
TWO = ClusterState("c1", 1, shards(("a", ((0, HALF),)), ("b", ((HALF, SLOTS),))))
QUARTER = ((HALF // 2, HALF),)


def test_nothing_to_do() -> None:
    """A cluster that is as the config says already; identities of stores don't count."""
    known = TWO.with_identity("a", "1d", durable=True)
    change = layout_change(known, TWO.map)
    assert change.nothing
    assert (change.moved, change.least) == (0, 0)


def test_one_more() -> None:
    """It is added without ranges, and takes a third of the slots, the least that it can."""
    third = SLOTS // 3
    wanted = shards(("a", ((0, third),)), ("b", ((HALF, HALF + third),)), ("c", ((third, HALF), (HALF + third, SLOTS))))
    change = layout_change(TWO, wanted)
    assert [(shard.name, shard.ranges) for shard in change.added] == [("c", ())]
    assert change.transfers == [Transfer("a", "c", ((third, HALF),)), Transfer("b", "c", ((HALF + third, SLOTS),))]
    assert change.moved == change.least == SLOTS - 2 * third
    assert not change.nothing


def test_more_than_the_least() -> None:
    """Two shards that swap what they have move all of it, where none had to move."""
    change = layout_change(TWO, shards(("b", ((0, HALF),)), ("a", ((HALF, SLOTS),))))
    assert (change.moved, change.least) == (SLOTS, 0)


def test_one_fewer() -> None:
    """It gives up all that it has, and leaves the map when the config is applied again."""
    wanted = shards(("a", ((0, SLOTS),)))
    change = layout_change(TWO, wanted)
    assert (change.removed, change.emptied, change.transfers) == ([], ["b"], [Transfer("b", "a", ((HALF, SLOTS),))])
    planned = TWO.with_moves(change.transfers)
    while_it_moves = layout_change(planned, wanted)
    assert while_it_moves.nothing
    assert while_it_moves.emptied == ["b"]
    done = attrs.evolve(TWO, map=shards(("a", ((0, SLOTS),)), ("b", ())))
    assert layout_change(done, wanted).removed == ["b"]


def test_one_that_takes_part_in_moves() -> None:
    """A shard that owns nothing stays for what isn't cancelled; cancelled moves go with it, and no others."""
    three = ClusterState("c1", 1, shards(("a", ((0, HALF),)), ("b", ((HALF, SLOTS),)), ("c", ())))
    moving = three.with_moves([Transfer("a", "c", QUARTER), Transfer("a", "b", ((0, 9),))])
    assert layout_change(moving, TWO.map).removed == []
    first, second = moving.moves
    cancelled = moving.with_move(first.cancelled("no"))
    change = layout_change(cancelled, with_other_ranges(TWO.with_moves([Transfer("a", "b", ((0, 9),))]), []))
    assert (change.removed, change.transfers) == (["c"], [])
    left = cancelled.with_shards([], [], change.removed)
    assert (left.moves, left.map, left.epoch) == ((second,), TWO.map, cancelled.epoch + 1)


def test_addresses_and_limits() -> None:
    """They change; what is known of the store stays."""
    known = TWO.with_identity("a", "1d", durable=True)
    wanted = ShardMap(attrs.evolve(shard, host="elsewhere", limit=7) for shard in TWO.map.shards)
    change = layout_change(known, wanted)
    assert [(shard.host, shard.limit, shard.identity, shard.durable) for shard in change.updated] == [
        ("elsewhere", 7, "1d", True),
        ("elsewhere", 7, "", False),
    ]
    assert not change.transfers


def test_moves_under_way_count_as_done() -> None:
    """What they will have brought about isn't planned again; a cancelled one brings nothing about."""
    planned = TWO.with_moves([Transfer("a", "b", QUARTER)])
    after = shards(("a", ((0, HALF // 2),)), ("b", ((HALF // 2, SLOTS),)))
    assert layout_change(planned, after).nothing
    assert layout_change(planned, TWO.map).transfers == [Transfer("b", "a", QUARTER)]
    cancelled = planned.with_move(planned.moves[0].cancelled("no"))
    assert layout_change(cancelled, TWO.map).nothing
    assert layout_change(cancelled, after).transfers == [Transfer("a", "b", QUARTER)]


def test_other_ranges() -> None:
    """A transfer makes a config with all else as it is, or will be."""
    planned = TWO.with_moves([Transfer("a", "b", QUARTER)])
    other = with_other_ranges(planned, [Transfer("b", "a", ((SLOTS - 10, SLOTS),))])
    assert {shard.name: shard.ranges for shard in other.shards} == {
        "a": ((0, HALF // 2), (SLOTS - 10, SLOTS)),
        "b": ((HALF // 2, SLOTS - 10),),
    }
    assert layout_change(planned, other).transfers == [Transfer("b", "a", ((SLOTS - 10, SLOTS),))]


@pytest.mark.parametrize(
    ("now", "then", "share"), [(4, 6, Fraction(1, 3)), (4, 5, Fraction(1, 5)), (2, 3, Fraction(1, 3))]
)
def test_growing_moves_the_least(now: int, then: int, share: Fraction) -> None:
    """From 4 equal shards to 6 a third of the slots, to 5 a fifth."""
    layout = {f"s{number}": ((SLOTS * number // now, SLOTS * (number + 1) // now),) for number in range(now)}
    state = ClusterState("c1", 1, shards(*layout.items()))
    wanted = proposed(layout, {f"s{number}": Fraction(1) for number in range(then)})
    change = layout_change(state, shards(*wanted.items()))
    assert change.moved == change.least
    assert abs(change.moved - share * SLOTS) <= then


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any))
def test_what_is_planned_brings_it_about(weights: list[int]) -> None:
    """When all that is planned is done, the cluster is as the config says; what is left are shards that own nothing."""
    names = [f"s{number}" for number in range(len(weights))]
    layout = {shard.name: shard.ranges for shard in TWO.map.shards}
    wanted = shards(*proposed(layout, dict(zip(names, map(Fraction, weights), strict=True))).items())
    change = layout_change(TWO, wanted)
    grown = TWO.with_shards(change.added, change.updated, change.removed)
    done = with_other_ranges(grown, change.transfers)
    state = attrs.evolve(grown, map=done)
    last = layout_change(state, wanted)
    assert not last.transfers
    assert sorted(last.removed) == sorted(change.emptied)
    assert state.with_shards([], [], last.removed).map == wanted


REPLICAS = [MapReplica("localhost", port) for port in (97, 197, 297)]  # the first is where shard "a" is


def replicated(wanted: ShardMap, replicas: int = 3, least: int = 2) -> ShardMap:
    """The shards, of which the first one has replicas."""
    first, *others = wanted.shards
    return ShardMap([first.led_by_group(new_group(REPLICAS[:replicas], least)), *others])


def known(state: ClusterState, led: bool) -> ClusterState:
    """The state when the shard's replicas are members, and it is led by the second one or not."""
    shard = state.map.named("a")
    assert shard is not None
    assert shard.group is not None
    group = shard.group
    for number, replica in enumerate(group.replicas):
        group = group.with_store(replica.address, StoreId(f"{number}d", "i"), durable=True)
    for address in group.learners:
        group = group.with_member(address)
    return state.with_group("a", group.switched_to(REPLICAS[1].address) if led else group)


@pytest.mark.parametrize("led", [False, True])
def test_replicas_are_as_the_config_says(led: bool) -> None:
    """Whoever leads, and whoever is a member: a config with the same replicas changes nothing."""
    wanted = replicated(TWO.map)
    state = known(attrs.evolve(TWO, map=wanted), led)
    assert layout_change(state, wanted).nothing
    assert not layout_change(state, replicated(TWO.map, least=1)).nothing


def test_replicas_come() -> None:
    """A shard without replicas gets some: they are learners, and it still leads."""
    change = layout_change(TWO.with_identity("a", "1d", durable=True), replicated(TWO.map))
    (shard,) = change.updated
    assert shard.group is not None
    assert (shard.name, shard.address, shard.identity) == ("a", "localhost:97", "1d")
    assert shard.group.members == {"localhost:97"}
    assert shard.group.learners == ("localhost:197", "localhost:297")
    assert shard.group.replicas[0].store == StoreId("1d", "")


def test_member_does_not_go_by_a_config() -> None:
    """A learner may go; a member is removed by name first, so that nobody loses it by a slip of the pen."""
    wanted = replicated(TWO.map)
    state = known(attrs.evolve(TWO, map=wanted), led=True)
    with pytest.raises(
        ConfigError, match=r"shard 'a': replicas: found that \['localhost:297'\] are to go.*replica remove"
    ):
        layout_change(state, replicated(TWO.map, replicas=2))
    learners = attrs.evolve(TWO, map=wanted)
    assert layout_change(learners, replicated(TWO.map, replicas=2)).updated[0].addresses == [
        "localhost:97",
        "localhost:197",
    ]


def test_ranges_with_replicas_move() -> None:
    """To and from a shard with replicas, also one that is about to get some, or that has a part in a move."""
    moved = shards(("a", ((0, HALF // 2),)), ("b", ((HALF // 2, SLOTS),)))
    state = attrs.evolve(TWO, map=replicated(TWO.map))
    assert layout_change(state, replicated(moved)).transfers == [Transfer("a", "b", QUARTER)]
    assert layout_change(state, replicated(shards(("a", ((0, SLOTS),))))).transfers[0].target == "a"
    assert layout_change(state, shards(("b", ((0, SLOTS),)))).emptied == ["a"]
    moving = TWO.with_moves([Transfer("a", "b", QUARTER)])
    change = layout_change(moving, replicated(with_other_ranges(moving, [])))
    assert ([shard.name for shard in change.updated], change.transfers) == (["a"], [])
