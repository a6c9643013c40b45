"""Shards and maps: every slot has exactly one owner."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.shard_layouts import QUARTER, boundary_sets, equal_parts, ranges_at, shard, slots
from work import assert_equal, growth, steps

from pyshard.errors import ConfigError
from pyshard.model.key_slots import SLOTS, key_bytes, slot_of
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import MapReplica, new_group
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.model.slot_ranges import SlotRanges, in_ranges


@st.composite
def layouts(draw: st.DrawFn) -> list[MapShard]:
    """Shards of which each has any of the ranges of a keyspace, or none, in any order."""
    owned: list[list[tuple[int, int]]] = [[] for _ in range(draw(st.integers(1, 8)))]
    for bounds in draw(st.permutations(ranges_at(draw(boundary_sets)))):
        draw(st.sampled_from(owned)).append(bounds)
    made = [MapShard(f"s{number}", ranges, 1, f"host{number}", 5050) for number, ranges in enumerate(owned)]
    return draw(st.permutations(made))


def edges_of(map_: ShardMap) -> list[int]:
    """The first and the last slot of each range."""
    return [slot for own in map_.shards for start, end in own.ranges for slot in (start, end - 1)]


def owners_of(slot: int, shards: list[MapShard]) -> list[MapShard]:
    """The shards that have a slot, by a plain search."""
    return [one for one in shards if any(start <= slot < end for start, end in one.ranges)]


@given(layouts(), st.lists(slots))
def test_every_slot_has_one_owner(shards: list[MapShard], given_slots: list[int]) -> None:
    """Whatever the layout and the order it was given in, one shard owns a slot, and lookup finds that one."""
    map_ = ShardMap(shards)
    for slot in [*given_slots, 0, SLOTS - 1, *edges_of(map_)]:
        assert owners_of(slot, shards) == [map_.lookup(slot)]


@given(layouts(), st.lists(slots))
def test_split(shards: list[MapShard], given_slots: list[int]) -> None:
    """Each shard has the positions of its slots, rising, be there more slots than ranges or fewer."""
    map_ = ShardMap(shards)
    for some in (given_slots, [*given_slots, *edges_of(map_)]):
        owners = [owners_of(slot, shards)[0].name for slot in some]
        expected = [
            (own.name, [position for position, owner in enumerate(owners) if owner == own.name]) for own in map_.shards
        ]
        assert list(map_.split(some).items()) == [(name, positions) for name, positions in expected if positions]


@given(layouts())
def test_the_table_of_ranges(shards: list[MapShard]) -> None:
    """It has each range once, in order, with its owner."""
    map_ = ShardMap(shards)
    assert map_.starts == sorted(start for own in shards for start, _ in own.ranges)
    assert all(start in dict(own.ranges) for start, own in zip(map_.starts, map_.owners, strict=True))
    assert map_.starts[0] == 0
    assert bisect_right(map_.starts, SLOTS) == sum(len(own.ranges) for own in shards)


@given(st.text(st.characters(exclude_categories=["Cs"])), layouts())
def test_every_key_has_one_owner(key: str, shards: list[MapShard]) -> None:
    """Exactly one shard owns a key: the one that lookup finds."""
    slot = slot_of(key_bytes(key))
    assert [own for own in shards if in_ranges(slot, own.ranges)] == [ShardMap(shards).lookup(slot)]


def test_hash_of_zero_belongs_to_the_first_shard() -> None:
    """A key whose hash is exactly 0.0 has an owner: the first shard."""
    slot = slot_of(key_bytes("132346"))
    assert slot == 0
    assert ShardMap([shard((0, 1)), shard((1, SLOTS))]).lookup(slot) == shard((0, 1))


def test_hash_on_a_boundary_belongs_to_the_range_behind_it() -> None:
    """A key whose hash is a boundary belongs to the shard that starts there."""
    slot = slot_of(key_bytes("test"))
    assert slot == 1_671_936
    assert ShardMap([shard((0, slot)), shard((slot, SLOTS))]).lookup(slot) == shard((slot, SLOTS))


def test_highest_slot_belongs_to_the_last_range() -> None:
    """The highest slot has an owner, be its shard the first one, too."""
    ends = shard((0, 1), (QUARTER, SLOTS))
    assert ShardMap([ends, shard((1, QUARTER))]).lookup(SLOTS - 1) == ends


def test_shards_are_kept_in_slot_order() -> None:
    """Two maps of the same shards are equal, in whatever order they were given. Shards without ranges come last."""
    low, high = shard((0, QUARTER)), shard((QUARTER, SLOTS))
    none = [shard(name="a"), attrs.evolve(shard(name="b"), port=1)]
    assert ShardMap([*none[::-1], high, low]).shards == (low, high, *none)
    assert ShardMap([high, low]) == ShardMap(iter([low, high]))
    assert hash(ShardMap([high, low])) == hash(ShardMap([low, high]))


@pytest.mark.parametrize(
    ("ranges", "kept"),
    [
        ([(5, 9), (0, 2)], ((0, 2), (5, 9))),
        ([(5, 9), (0, 2), (2, 5)], ((0, 9),)),
        ([[0, 2], [2, 4], [6, 7]], ((0, 4), (6, 7))),
        ([(0, 3), (2, 5)], ((0, 3), (2, 5))),
        ([(0, 3), (3, 3), (3, 4)], ((0, 3), (3, 3), (3, 4))),
        ([], ()),
    ],
)
def test_a_shard_keeps_its_ranges_in_order(ranges: list[tuple[int, int]], kept: SlotRanges) -> None:
    """Those that touch are one. Overlaps and empty ranges stay, so that a map refuses them."""
    assert MapShard("a", ranges, 1, "h", 1).ranges == kept


def test_repr() -> None:
    """A map shows its shards, and nothing that is derived from them."""
    alone = shard((0, SLOTS))
    assert repr(ShardMap([alone])) == f"ShardMap(shards=({alone!r},))"


def test_named() -> None:
    """A shard is found by its name, with ranges or without; a name that no shard has gives None."""
    low, high, none = shard((0, QUARTER), name="low"), shard((QUARTER, SLOTS), name="high"), shard(name="none")
    map_ = ShardMap([low, high, none])
    assert [map_.named(name) for name in ("low", "high", "none", "nobody")] == [low, high, none, None]


def test_frozen() -> None:
    """Neither a map nor a shard can be changed."""
    map_ = ShardMap([shard((0, SLOTS))])
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        map_.shards = ()  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        map_.shards[0].ranges = ()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", "localhost:5050"), ("127.0.0.1", "127.0.0.1:5050"), ("::1", "[::1]:5050")],
)
def test_address(host: str, expected: str) -> None:
    """An address is host and port, with brackets around IPv6."""
    assert MapShard("a", ((0, SLOTS),), 1, host, 5050).address == expected


def test_bounds() -> None:
    """People read ranges as the original pyshard's hashes."""
    assert shard((0, SLOTS // 2)).bounds == "[0.0, 0.5)"
    assert shard((1_671_936, SLOTS), (0, 1)).bounds == "[0.0, 1e-07), [0.1671936, 1.0)"
    assert shard().bounds == "no slot"


def test_nobody_serves_a_shard_at_first() -> None:
    """A shard has no identity, and promises no durability, before a store was configured for it."""
    unserved = shard((0, SLOTS))
    assert (unserved.identity, unserved.durable) == ("", False)


def test_split_of_few_slots_among_many_shards() -> None:
    """The cost of a key doesn't grow with the number of shards: a bulk verb of few keys took seconds with thousands."""

    def work(number: int) -> Callable[[], None]:
        shards = ShardMap(equal_parts(number))
        return lambda: assert_equal(sum(map(len, shards.split([0, SLOTS - 1, 5]).values())), 3)

    assert growth(work, 1000) < 1.1


def in_place(map_: ShardMap, changed: MapShard) -> ShardMap | str:
    """The same map, made anew; or why there can't be such a map."""
    try:
        return ShardMap(changed if each.name == changed.name else each for each in map_.shards)
    except ConfigError as error:
        return str(error)


STORES = [MapReplica("host0", 5050, StoreId("1d", "a")), MapReplica("host9", 5050, StoreId("2e", "b"))]


@pytest.mark.parametrize(
    "changes",
    [
        {"identity": "1d"},
        {"identity": "2e", "durable": True},
        {"limit": 7},
        {"host": "host9"},
        {"host": "host1"},
        {"group": new_group(STORES, lease=3.0), "identity": "1d"},
        {"ranges": ((0, 1),)},
    ],
    ids=str,
)
@given(shards=layouts(), asked_before=st.booleans())
def test_another_shard_in_its_place(changes: dict[str, Any], asked_before: bool, shards: list[MapShard]) -> None:
    """The map is the one that has it from the beginning, in all that can be asked; what can't be a map is refused."""
    map_ = ShardMap(attrs.evolve(each, identity=f"store of {each.name}") for each in shards)
    own = map_.named("s0")
    assert own is not None
    changed = attrs.evolve(own, **changes)
    if asked_before:
        assert map_.holders("store of s0") == [own]
    expected = in_place(map_, changed)
    if isinstance(expected, str):
        with pytest.raises(ConfigError, match=re.escape(expected)):
            map_.with_shard(changed)
        return
    found = map_.with_shard(changed)
    assert found == expected
    assert (found.starts, found.owners) == (expected.starts, expected.owners)
    assert found.split([0, SLOTS - 1]) == expected.split([0, SLOTS - 1])
    for name in ("s0", "s1"):
        assert found.named(name) == expected.named(name)
    for identity in ("store of s0", "store of s1", "1d", "2e", ""):
        assert found.holders(identity) == expected.holders(identity)
    assert map_.named("s0") == own, "the map before it stays as it is"
    assert map_.holders("store of s0") == [own]


def test_holders_of_a_store() -> None:
    """All shards that have it, at whichever of their addresses, once each."""
    low, high = shard((0, QUARTER), name="low"), shard((QUARTER, SLOTS), name="high")
    led = attrs.evolve(low, host="host0", port=5050, identity="1d", group=new_group(STORES, lease=3.0))
    map_ = ShardMap([led, attrs.evolve(high, identity="2e")])
    assert [each.name for each in map_.holders("1d")] == ["low"]
    assert [each.name for each in map_.holders("2e")] == ["low", "high"]
    assert map_.holders("3f") == []
    gone = map_.with_shard(attrs.evolve(high, identity="3f")).with_shard(attrs.evolve(high, identity="4a"))
    assert [each.name for each in gone.holders("2e")] == ["low"]
    assert gone.holders("3f") == []


def test_work_of_a_shard_in_its_place() -> None:
    """A new store costs a look at each shard, and no check of it: thousands come when a cluster starts."""

    def checked(number: int) -> Callable[[], object]:
        shards = [attrs.evolve(each, port=place + 1) for place, each in enumerate(equal_parts(number))]
        return lambda: ShardMap(shards)

    def work(number: int) -> Callable[[], object]:
        shards = [attrs.evolve(each, port=place + 1) for place, each in enumerate(equal_parts(number))]
        map_ = ShardMap(shards)
        map_.holders("x")
        changed = attrs.evolve(map_.shards[0], identity="new")
        return lambda: map_.with_shard(changed)

    assert steps(work(400)) * 10 < steps(checked(400))
