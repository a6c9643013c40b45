"""What can't become a map: gaps, overlaps, names and addresses that come twice, and too many of anything."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.shard_layouts import QUARTER, boundary_sets, equal_parts, ranges_at, shard, slots

from pyshard.errors import ConfigError
from pyshard.model import shard_map
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.settings import settings


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
            [shard((0, SLOTS), name="a\x1b[2J")],
            r"shard 'a\x1b[2J': name: found 'a\x1b[2J', expected characters that can be shown",
        ),
        (
            [MapShard("a", ((0, SLOTS),), 1, "h\u202e", 5050)],
            r"shard 'a': host: found 'h\u202e', expected characters that can be shown",
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
