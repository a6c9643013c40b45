"""The config file: what it gives."""

from __future__ import annotations

from typing import Any

import pytest
from config_files import MAP, SHARDS, file_and, file_with

from pyshard.model.config_file import ClusterConfig, parse


def test_example_of_the_original() -> None:
    """The original pyshard's config gives its two shards, and the bootstrap's default address."""
    assert parse(file_with()) == ClusterConfig(MAP, "localhost", 9192)


@pytest.mark.parametrize(
    ("bootstrap", "expected"),
    [
        ({}, ("localhost", 9192)),
        ({"host": "10.0.0.1"}, ("10.0.0.1", 9192)),
        ({"port": 9000}, ("localhost", 9000)),
        ({"host": "::1", "port": 65535}, ("::1", 65535)),
    ],
)
def test_bootstrap(bootstrap: dict[str, object], expected: tuple[str, int]) -> None:
    """The bootstrap's address can be given, in part or whole."""
    config = parse(file_and(bootstrap=bootstrap))
    assert (config.map, config.bootstrap_host, config.bootstrap_port) == (MAP, *expected)


@pytest.mark.parametrize("where", ["0.0.0.0:5050", "[::]:5050", "tcp:5050", "unix:/run/shard", "systemd:domain=INET"])
def test_listening_elsewhere(where: str) -> None:
    """Each daemon may listen elsewhere than at the address that is announced, which stays in the map."""
    assert parse(file_with(1, listen=where)) == ClusterConfig(MAP, "localhost", 9192, {"shard0.5-1": where})
    assert parse(file_and(bootstrap={"listen": where})) == ClusterConfig(MAP, "localhost", 9192, {}, where)


def test_order_of_shards_is_free() -> None:
    """Shards may stand in any order."""
    assert parse(file_and(shards=SHARDS[::-1])).map == MAP


def test_several_ranges() -> None:
    """A shard may have several ranges, in any order, or none; start and end are the short form for one."""
    ranges = {"ranges": [[0.6, 0.75], [0.75, 1], [0, 0.5]]}
    shards = [
        {**_without_bounds(SHARDS[0]), **ranges},
        {**SHARDS[1], "end": 0.6},
        {**_without_bounds(SHARDS[1]), "name": "new", "port": 1, "ranges": []},
    ]
    map_ = parse(file_and(shards=shards)).map
    assert {shard.name: shard.ranges for shard in map_.shards} == {
        "shard0-0.5": ((0, 5_000_000), (6_000_000, 10_000_000)),
        "shard0.5-1": ((5_000_000, 6_000_000),),
        "new": (),
    }
    one = [{**_without_bounds(shard), "ranges": [[shard["start"], shard["end"]]]} for shard in SHARDS]
    assert parse(file_and(shards=one)).map == MAP


def _without_bounds(shard: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shard.items() if name not in ("start", "end")}


def test_replicas() -> None:
    """Replicas stand beside a shard's own address; it leads at first, and the others are learners."""
    others = [{"host": "::1", "port": 6050, "listen": "0.0.0.0:1"}, {"host": "shard.example", "port": 7050}]
    config = parse(file_with(replicas=others, min_replicas=3, lease=1))
    low, high = config.map.shards
    group = low.group
    assert group is not None
    assert (low.address, low.addresses) == ("127.0.0.1:5050", ["127.0.0.1:5050", "[::1]:6050", "shard.example:7050"])
    assert (group.primary, group.least, group.lease) == (low.address, 3, 1.0)
    assert group.members == {low.address}
    assert config.replicas_listen == {"[::1]:6050": "0.0.0.0:1"}
    assert high.group is None


@pytest.mark.parametrize(("others", "least"), [(1, 1), (2, 2), (4, 4)])
def test_as_many_as_there_must_be(others: int, least: int) -> None:
    """By default one replica may be away, but for the last one; the lease is three seconds."""
    replicas = [{"host": "h", "port": 1 + number} for number in range(others)]
    group = parse(file_with(replicas=replicas)).map.shards[0].group
    assert group is not None
    assert (group.least, group.lease) == (least, 3.0)


def test_bounds_may_be_ints() -> None:
    """0 and 1 are as good as 0.0 and 1.0."""
    assert parse(file_and(shards=[{**SHARDS[0], "start": 0}, {**SHARDS[1], "end": 1}])).map == MAP


def test_bounds_of_seven_decimals() -> None:
    """A boundary may have seven decimal places."""
    map_ = parse(file_and(shards=[{**SHARDS[0], "end": 0.1671936}, {**SHARDS[1], "start": 0.1671936}])).map
    assert [shard.ranges for shard in map_.shards] == [((0, 1_671_936),), ((1_671_936, 10_000_000),)]


@pytest.mark.parametrize("bounds", [(1 / 3, 1 / 3), (1 / 3, 0.33333333), (0.3333333333333, 0.333333301)])
def test_bounds_are_rounded(bounds: tuple[float, float]) -> None:
    """A bound between two slots is the nearest one, for both neighbors."""
    end, start = bounds
    map_ = parse(file_and(shards=[{**SHARDS[0], "end": end}, {**SHARDS[1], "start": start}])).map
    assert [shard.ranges for shard in map_.shards] == [((0, 3_333_333),), ((3_333_333, 10_000_000),)]


@pytest.mark.parametrize(
    ("field", "smallest", "largest"),
    [("port", 1, 65535), ("size", 1, 2**62), ("name", "x", "x" * 100), ("host", "h", "h" * 255)],
)
def test_limits_are_allowed(field: str, smallest: object, largest: object) -> None:
    """The smallest and the largest value of a field can be given."""
    attribute = {"size": "limit"}.get(field, field)
    read = [getattr(parse(file_with(0, **{field: value})).map.shards[0], attribute) for value in (smallest, largest)]
    assert read == [smallest, largest]
