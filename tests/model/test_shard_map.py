"""Ranges and maps: every slot has exactly one owner, and what would break that can't become a map."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from work import assert_equal, growth

from pyshard.errors import ConfigError
from pyshard.model.key_slots import SLOTS, key_bytes, slot_of
from pyshard.model.shard_map import ShardMap, ShardRange
from pyshard.settings import settings

QUARTER = SLOTS // 4


def shard(start: int, end: int, name: str = "") -> ShardRange:
    """A range whose name and address follow from where it starts."""
    return ShardRange(name or f"from {start}", start, end, 1024, f"host{start}-{end}", 5050)


def ranges_at(boundaries: set[int]) -> list[ShardRange]:
    """The ranges between the given boundaries."""
    return [shard(start, end) for start, end in pairwise([0, *sorted(boundaries), SLOTS])]


boundary_sets = st.sets(st.integers(1, SLOTS - 1), max_size=20)
slots = st.integers(0, SLOTS - 1)


@given(st.data())
def test_every_slot_has_one_owner(data: st.DataObject) -> None:
    """Whatever the map and the order it was given in, one range owns a slot, and lookup finds that one."""
    boundaries = data.draw(boundary_sets)
    map_ = ShardMap(data.draw(st.permutations(ranges_at(boundaries))))
    edges = {edge for boundary in boundaries for edge in (boundary - 1, boundary)}
    for slot in [data.draw(slots), 0, SLOTS - 1, *edges]:
        assert [owned for owned in map_.ranges if owned.owns(slot)] == [map_.lookup(slot)]


@given(st.text(st.characters(exclude_categories=["Cs"])), boundary_sets)
def test_every_key_has_one_owner(key: str, boundaries: set[int]) -> None:
    """Exactly one range owns a key: the one that lookup finds."""
    map_ = ShardMap(ranges_at(boundaries))
    slot = slot_of(key_bytes(key))
    assert [owned for owned in map_.ranges if owned.start <= slot < owned.end] == [map_.lookup(slot)]


@given(boundary_sets)
def test_boundary_belongs_to_the_range_that_starts_there(boundaries: set[int]) -> None:
    """A slot at a boundary belongs to the range that starts there; the slot before it to the range that ends there."""
    map_ = ShardMap(ranges_at(boundaries))
    assert [map_.lookup(owned.start) for owned in map_.ranges] == list(map_.ranges)
    assert [map_.lookup(owned.end - 1) for owned in map_.ranges] == list(map_.ranges)


def test_hash_of_zero_belongs_to_the_first_shard() -> None:
    """A key whose hash is exactly 0.0 has an owner: the first shard."""
    slot = slot_of(key_bytes("132346"))
    assert slot == 0
    assert ShardMap([shard(0, 1), shard(1, SLOTS)]).lookup(slot) == shard(0, 1)


def test_hash_on_a_boundary_belongs_to_the_range_behind_it() -> None:
    """A key whose hash is a boundary belongs to the shard that starts there."""
    slot = slot_of(key_bytes("test"))
    assert slot == 1_671_936
    assert ShardMap([shard(0, slot), shard(slot, SLOTS)]).lookup(slot) == shard(slot, SLOTS)


def test_highest_slot_belongs_to_the_last_shard() -> None:
    """The highest slot has an owner: the last shard."""
    assert ShardMap([shard(0, QUARTER), shard(QUARTER, SLOTS)]).lookup(SLOTS - 1) == shard(QUARTER, SLOTS)


@pytest.mark.parametrize(("slot", "expected"), [(9, False), (10, True), (19, True), (20, False)])
def test_owns(slot: int, expected: bool) -> None:
    """A range holds its start and not its end."""
    assert shard(10, 20).owns(slot) is expected


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6))
def test_map_is_refused_unless_it_covers_once(quarters: list[tuple[int, int]]) -> None:
    """Of all sets of ranges, exactly those that hold every quarter once, and no empty range, become a map."""
    ranges = [
        attrs.evolve(shard(start * QUARTER, end * QUARTER), name=f"shard {number}", port=number + 1)
        for number, (start, end) in enumerate(quarters)
    ]
    owners = [sum(start <= quarter < end for start, end in quarters) for quarter in range(4)]
    if owners == [1, 1, 1, 1] and all(start < end for start, end in quarters):
        assert set(ShardMap(ranges).ranges) == set(ranges)
    else:
        with pytest.raises(ConfigError):
            ShardMap(ranges)


@given(st.data())
def test_gap_or_overlap_is_refused(data: st.DataObject) -> None:
    """Ranges of which one end was moved, however little, are no map."""
    ranges = ranges_at(data.draw(boundary_sets))
    number = data.draw(st.integers(0, len(ranges) - 1))
    old = ranges[number]
    if data.draw(st.booleans()):
        ranges[number] = attrs.evolve(old, start=data.draw(slots.filter(lambda slot: slot != old.start)))
    else:
        ranges[number] = attrs.evolve(old, end=data.draw(st.integers(1, SLOTS).filter(lambda slot: slot != old.end)))
    with pytest.raises(ConfigError):
        ShardMap(ranges)


@given(st.data())
def test_missing_range_is_refused(data: st.DataObject) -> None:
    """Ranges of which one is missing are no map."""
    ranges = ranges_at(data.draw(boundary_sets))
    ranges.pop(data.draw(st.integers(0, len(ranges) - 1)))
    with pytest.raises(ConfigError):
        ShardMap(ranges)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ([], "shards: found none, expected at least one"),
        (
            [shard(1, SLOTS, "a")],
            "shard 'a': start: found 1e-07, a gap after the start of the keyspace, expected 0.0",
        ),
        (
            [shard(0, SLOTS - 1, "a")],
            "shard 'a': end: found 0.9999999, a gap before the end of the keyspace, expected 1.0",
        ),
        (
            [shard(0, QUARTER, "a"), shard(QUARTER + 1, SLOTS, "b")],
            "shard 'b': start: found 0.2500001, a gap after shard 'a', expected 0.25",
        ),
        (
            [shard(QUARTER - 1, SLOTS, "b"), shard(0, QUARTER, "a")],
            "shard 'b': start: found 0.2499999, an overlap after shard 'a', expected 0.25",
        ),
        (
            [shard(0, QUARTER, "a"), shard(QUARTER, SLOTS, "a")],
            "shard 'a': name: found it twice, expected a name for each shard",
        ),
        (
            [
                ShardRange("a", 0, QUARTER, 1, "::1", 5050),
                ShardRange("b", QUARTER, 2 * QUARTER, 1, "::1", 5051),
                ShardRange("c", 2 * QUARTER, SLOTS, 1, "::1", 5050),
            ],
            "shard 'c': host and port: found [::1]:5050, which is the address of shard 'a' too, "
            "expected an address for each shard",
        ),
        (
            [shard(0, 0, "a"), shard(0, SLOTS, "b")],
            "shard 'a': start and end: found 0.0 and 0.0, expected 0 <= start < end <= 1",
        ),
        (
            [shard(0, SLOTS + 1, "a")],
            "shard 'a': start and end: found 0.0 and 1.0000001, expected 0 <= start < end <= 1",
        ),
        (
            [shard(-1, SLOTS, "a")],
            "shard 'a': start and end: found -1e-07 and 1.0, expected 0 <= start < end <= 1",
        ),
    ],
)
def test_refusal_says_what_was_found_and_expected(ranges: list[ShardRange], message: str) -> None:
    """The error names the shard, the field, what was found and what was expected."""
    with pytest.raises(ConfigError) as refused:
        ShardMap(ranges)
    assert str(refused.value) == message


def test_ranges_are_kept_in_slot_order() -> None:
    """Two maps of the same ranges are equal, in whatever order they were given."""
    low, high = shard(0, QUARTER), shard(QUARTER, SLOTS)
    assert ShardMap([high, low]).ranges == (low, high)
    assert ShardMap([high, low]) == ShardMap(iter([low, high]))
    assert hash(ShardMap([high, low])) == hash(ShardMap([low, high]))


def test_repr() -> None:
    """A map shows its ranges, and nothing that is derived from them."""
    alone = shard(0, SLOTS)
    assert repr(ShardMap([alone])) == f"ShardMap(ranges=({alone!r},))"


def test_named() -> None:
    """A range is found by its name; a name that no range has gives None."""
    low, high = shard(0, QUARTER, "low"), shard(QUARTER, SLOTS, "high")
    map_ = ShardMap([low, high])
    assert [map_.named(name) for name in ("low", "high", "nobody")] == [low, high, None]


def test_frozen() -> None:
    """Neither a map nor a range can be changed."""
    map_ = ShardMap([shard(0, SLOTS)])
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        map_.ranges = ()  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        map_.ranges[0].end = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", "localhost:5050"), ("127.0.0.1", "127.0.0.1:5050"), ("::1", "[::1]:5050")],
)
def test_address(host: str, expected: str) -> None:
    """An address is host and port, with brackets around IPv6."""
    assert ShardRange("a", 0, SLOTS, 1, host, 5050).address == expected


def test_bounds() -> None:
    """People read a range as the original pyshard's hashes."""
    assert [shard(0, SLOTS // 2).bounds, shard(1_671_936, SLOTS).bounds] == ["[0.0, 0.5)", "[0.1671936, 1.0)"]


def test_nobody_serves_a_range_at_first() -> None:
    """A range has no identity, and promises no durability, before a store was configured for it."""
    unserved = shard(0, SLOTS)
    assert (unserved.identity, unserved.durable) == ("", False)


@given(boundary_sets, st.lists(slots))
def test_split(boundaries: set[int], given_slots: list[int]) -> None:
    """Each shard has the positions of its slots, rising; the shards stand in the order of their ranges."""
    shards = ShardMap(ranges_at(boundaries))
    owners = [shards.lookup(slot).name for slot in given_slots]
    expected = [
        (shard.name, [position for position, owner in enumerate(owners) if owner == shard.name])
        for shard in shards.ranges
    ]
    assert list(shards.split(given_slots).items()) == [(name, positions) for name, positions in expected if positions]


def test_split_of_few_slots_among_many_shards() -> None:
    """The cost of a key doesn't grow with the number of shards: a bulk verb of few keys took seconds with thousands."""

    def work(number: int) -> Callable[[], None]:
        shards = ShardMap(ranges_at({SLOTS * one // number for one in range(1, number)}))
        return lambda: assert_equal(sum(map(len, shards.split([0, SLOTS - 1, 5]).values())), 3)

    assert growth(work, 1000) < 1.1


@pytest.mark.parametrize("over", [0, 1])
def test_most_shards(over: int) -> None:
    """A map has at most 5,000 shards; the message says so."""
    number = settings.MAX_SHARDS + over
    ranges = ranges_at({SLOTS * one // number for one in range(1, number)})
    if not over:
        assert len(ShardMap(ranges).ranges) == number
    else:
        with pytest.raises(ConfigError, match="shards: found 5,001, expected at most 5,000"):
            ShardMap(ranges)
