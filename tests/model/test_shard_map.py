"""Shards and maps: every slot has exactly one owner, and what would break that can't become a map."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from work import assert_equal, growth

from pyshard.errors import ConfigError
from pyshard.model import shard_map
from pyshard.model.key_slots import SLOTS, key_bytes, slot_of
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.settings import settings

QUARTER = SLOTS // 4


def shard(*ranges: tuple[int, int], name: str = "") -> MapShard:
    """A shard whose name and address follow from its ranges."""
    return MapShard(name or f"of {ranges}", ranges, 1024, f"host{ranges}", 5050)


def ranges_at(boundaries: set[int]) -> list[tuple[int, int]]:
    """The ranges between the given boundaries."""
    return list(pairwise([0, *sorted(boundaries), SLOTS]))


def shards_at(boundaries: set[int]) -> list[MapShard]:
    """A shard for each range between the given boundaries."""
    return [shard(bounds) for bounds in ranges_at(boundaries)]


def equal_parts(number: int) -> list[MapShard]:
    """So many shards with a range of the same length each."""
    return shards_at({SLOTS * one // number for one in range(1, number)})


boundary_sets = st.sets(st.integers(1, SLOTS - 1), max_size=20)
slots = st.integers(0, SLOTS - 1)


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


@given(st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=4), min_size=1, max_size=4))
def test_map_is_refused_unless_it_covers_once(quarters: list[list[tuple[int, int]]]) -> None:
    """Of all sets of ranges, exactly those that hold every quarter once, and no empty range, become a map."""
    shards = [
        MapShard(f"shard {number}", [(start * QUARTER, end * QUARTER) for start, end in ranges], 1, "h", number + 1)
        for number, ranges in enumerate(quarters)
    ]
    flat = [bounds for ranges in quarters for bounds in ranges]
    owners = [sum(start <= quarter < end for start, end in flat) for quarter in range(4)]
    if owners == [1, 1, 1, 1] and all(start < end for start, end in flat):
        assert set(ShardMap(shards).shards) == set(shards)
    else:
        with pytest.raises(ConfigError):
            ShardMap(shards)


@given(st.data())
def test_gap_or_overlap_is_refused(data: st.DataObject) -> None:
    """Ranges of which one end was moved, however little, are no map, be they one shard's or several."""
    ranges = ranges_at(data.draw(boundary_sets))
    number = data.draw(st.integers(0, len(ranges) - 1))
    start, end = ranges[number]
    if data.draw(st.booleans()):
        ranges[number] = data.draw(slots.filter(lambda slot: bool(slot != start))), end
    else:
        ranges[number] = start, data.draw(st.integers(1, SLOTS).filter(lambda slot: bool(slot != end)))
    for shards in ([shard(bounds) for bounds in ranges], [shard(*ranges)]):
        with pytest.raises(ConfigError):
            ShardMap(shards)


@given(st.data())
def test_missing_range_is_refused(data: st.DataObject) -> None:
    """Ranges of which one is missing are no map."""
    ranges = ranges_at(data.draw(boundary_sets))
    ranges.pop(data.draw(st.integers(0, len(ranges) - 1)))
    for shards in ([shard(bounds) for bounds in ranges], [shard(*ranges)]):
        with pytest.raises(ConfigError):
            ShardMap(shards)


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ([], "shards: found none, expected at least one"),
        (
            [shard((1, SLOTS), name="a")],
            "shard 'a': start: found 1e-07, a gap after the start of the keyspace, expected 0.0",
        ),
        (
            [shard((0, SLOTS - 1), name="a")],
            "shard 'a': end: found 0.9999999, a gap before the end of the keyspace, expected 1.0",
        ),
        ([shard()], "ranges of all shards: found none, expected them to cover the keyspace, from 0 to 1"),
        (
            [shard((0, QUARTER), name="a"), shard((QUARTER + 1, SLOTS), name="b")],
            "shard 'b': start: found 0.2500001, a gap after shard 'a', expected 0.25",
        ),
        (
            [shard((QUARTER - 1, SLOTS), name="b"), shard((0, QUARTER), name="a")],
            "shard 'b': start: found 0.2499999, an overlap after shard 'a', expected 0.25",
        ),
        (
            [shard((0, 10), (20, SLOTS), name="a"), shard((11, 20), name="b")],
            "shard 'b': start: found 1.1e-06, a gap after shard 'a', range [0.0, 1e-06), expected 1e-06",
        ),
        (
            [shard((0, 10), (20, SLOTS), name="a"), shard((10, 21), name="b")],
            "shard 'a', range [2e-06, 1.0): start: found 2e-06, an overlap after shard 'b', expected 2.1e-06",
        ),
        (
            [shard((0, 10), (9, SLOTS), name="a")],
            "shard 'a', range [9e-07, 1.0): start: found 9e-07, an overlap after shard 'a', range [0.0, 1e-06), "
            "expected 1e-06",
        ),
        (
            [shard((0, QUARTER), name="a"), shard((QUARTER, SLOTS), name="a")],
            "shard 'a': name: found it twice, expected a name for each shard",
        ),
        (
            [shard((0, SLOTS), name="a"), shard(name="a")],
            "shard 'a': name: found it twice, expected a name for each shard",
        ),
        (
            [
                MapShard("a", ((0, QUARTER),), 1, "::1", 5050),
                MapShard("b", ((QUARTER, SLOTS),), 1, "::1", 5051),
                MapShard("c", (), 1, "::1", 5050),
            ],
            "shard 'c': host and port: found [::1]:5050, which is the address of shard 'a' too, "
            "expected an address for each shard",
        ),
        (
            [shard((0, 0), name="a"), shard((0, SLOTS), name="b")],
            "shard 'a': start and end: found 0.0 and 0.0, expected 0 <= start < end <= 1",
        ),
        (
            [shard((0, 5), (5, 5), (5, SLOTS), name="a")],
            "shard 'a', range [5e-07, 5e-07): start and end: found 5e-07 and 5e-07, expected 0 <= start < end <= 1",
        ),
        (
            [shard((0, SLOTS + 1), name="a")],
            "shard 'a': start and end: found 0.0 and 1.0000001, expected 0 <= start < end <= 1",
        ),
        (
            [shard((-1, SLOTS), name="a")],
            "shard 'a': start and end: found -1e-07 and 1.0, expected 0 <= start < end <= 1",
        ),
    ],
)
def test_refusal_says_what_was_found_and_expected(shards: list[MapShard], message: str) -> None:
    """The error names the shard, its range if it has several, the field, what was found and what was expected."""
    with pytest.raises(ConfigError) as refused:
        ShardMap(shards)
    assert str(refused.value) == message


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


@pytest.mark.parametrize("over", [0, 1])
def test_most_shards(over: int) -> None:
    """A map has at most 5,000 shards; the message says so."""
    number = settings.MAX_SHARDS + over
    shards = equal_parts(number)
    if not over:
        assert len(ShardMap(shards).shards) == number
    else:
        with pytest.raises(ConfigError, match="shards: found 5,001, expected at most 5,000"):
            ShardMap(shards)


@pytest.mark.parametrize("over", [0, 1])
def test_most_ranges_of_a_shard(over: int) -> None:
    """A shard has at most 1,000 ranges; the message says so, and which shard it is."""
    each_other = [(2 * one, 2 * one + 1) for one in range(settings.MAX_SHARD_RANGES + over)]
    many = shard(*each_other, name="many")
    others = [shard((end, end + 1), name=str(end)) for _, end in each_other[:-1]]
    shards = [many, *others, shard((each_other[-1][1], SLOTS), name="rest")]
    if not over:
        assert ShardMap(shards).named("many") == many
    else:
        with pytest.raises(ConfigError, match="shard 'many': ranges: found 1,001, expected at most 1,000"):
            ShardMap(shards)


@pytest.mark.parametrize("over", [0, 1])
def test_most_ranges(over: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map has a bounded number of ranges; the message says so."""
    monkeypatch.setattr(shard_map, "settings", attrs.evolve(settings, MAX_RANGES=10))
    shards = equal_parts(10 + over)
    if not over:
        assert ShardMap(shards).starts[-1] == SLOTS * 9 // 10
    else:
        with pytest.raises(ConfigError, match="ranges of all shards: found 11, expected at most 10"):
            ShardMap(shards)
