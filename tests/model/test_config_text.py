"""The text of a config: it is read back as what it was made from."""

from __future__ import annotations

from itertools import pairwise

import attrs
from config_files import MAP
from hypothesis import given
from hypothesis import strategies as st

from pyshard.model.config_file import ClusterConfig, parse
from pyshard.model.config_text import config_text
from pyshard.model.key_slots import SLOTS
from pyshard.model.replica_group import MapReplica, new_group
from pyshard.model.shard_map import MapShard, ShardMap

LED = ("127.0.0.1:5050", "127.0.0.1:6050", "127.0.0.1:7050")
LISTEN = st.sampled_from(["0.0.0.0:5050", "[::]:5050", "tcp:5050:interface=0.0.0.0"])
HOSTS = st.sampled_from(["127.0.0.1", "::1", "fe80::1%eth0", "shard.example", "größe"])


@st.composite
def configs(draw: st.DrawFn) -> ClusterConfig:
    """Any config: shards with one range, several, or none, some with replicas, some of which listen elsewhere."""
    names = draw(st.lists(st.text('ab"\\é .-', min_size=1, max_size=8), min_size=1, max_size=6, unique=True))
    cuts = sorted(draw(st.sets(st.integers(1, SLOTS - 1), max_size=12)))
    owned: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
    for bounds in pairwise([0, *cuts, SLOTS]):
        owned[draw(st.sampled_from(names))].append(bounds)
    shards = [
        replicated(
            MapShard(name, tuple(ranges), draw(st.integers(1, 2**63 - 1)), draw(HOSTS), 5000 + number),
            draw(st.integers(1, 4)),
            draw(st.sampled_from([0.1, 1.0, 3.0, 2.5])),
        )
        for number, (name, ranges) in enumerate(owned.items())
    ]
    others = [address for shard in shards for address in shard.addresses[1:]]
    elsewhere = {address: draw(LISTEN) for address in others if draw(st.booleans())}
    listen = {name: draw(LISTEN) for name in names if draw(st.booleans())}
    port = draw(st.integers(1, 65535))
    return ClusterConfig(ShardMap(shards), draw(HOSTS), port, listen, draw(st.none() | LISTEN), elsewhere)


def replicated(shard: MapShard, replicas: int, lease: float) -> MapShard:
    """A shard with so many replicas."""
    if replicas == 1:
        return shard
    places = [MapReplica(shard.host, shard.port + 1000 * number) for number in range(replicas)]
    return shard.led_by_group(new_group(places, 1 + replicas // 2, lease))


@given(configs())
def test_read_back(config: ClusterConfig) -> None:
    """A config's text says the same config, to the slot."""
    assert parse(config_text(config)) == config


def test_text() -> None:
    """A shard stands on a line; one without a range says so; identities aren't told."""
    empty = MapShard("new", (), 7, "::1", 5052, identity="secret", durable=True)
    config = ClusterConfig(ShardMap([*MAP.shards, empty]), "localhost", 9192, {"new": "[::]:5052"}, "0.0.0.0:9192")
    assert config_text(config).decode() == (
        '{\n  "shards": [\n'
        '    {"name": "shard0-0.5", "start": 0.0, "end": 0.5, "size": 1024, "host": "127.0.0.1", "port": 5050},\n'
        '    {"name": "shard0.5-1", "start": 0.5, "end": 1.0, "size": 1024, "host": "127.0.0.1", "port": 5051},\n'
        '    {"name": "new", "ranges": [], "size": 7, "host": "::1", "port": 5052, "listen": "[::]:5052"}\n'
        '  ],\n  "bootstrap": {"host": "localhost", "port": 9192, "listen": "0.0.0.0:9192"}\n}\n'
    )
    read = parse(config_text(config))
    assert read == attrs.evolve(config, map=ShardMap([*MAP.shards, attrs.evolve(empty, identity="", durable=False)]))


def test_whoever_leads() -> None:
    """A shard with replicas stands at its first one, also while another one leads; then come the others."""
    low, high = MAP.shards
    group = attrs.evolve(replicated(low, 3, 1.0).group or new_group([]), members=frozenset(LED))
    led = low.led_by_group(group.led_by(LED[1]))
    text = config_text(ClusterConfig(ShardMap([led, high]), "localhost", 9192, {}, None, {LED[1]: "0.0.0.0:6050"}))
    assert text.decode().splitlines()[2] == (
        '    {"name": "shard0-0.5", "start": 0.0, "end": 0.5, "size": 1024, "host": "127.0.0.1", "port": 5050, '
        '"replicas": [{"host": "127.0.0.1", "port": 6050, "listen": "0.0.0.0:6050"}, '
        '{"host": "127.0.0.1", "port": 7050}], "min_replicas": 2, "lease": 1.0},'
    )


def test_one_that_is_left() -> None:
    """A shard of whose replicas one is left is written as one that never had others."""
    low, high = MAP.shards
    config = ClusterConfig(ShardMap([low.led_by_group(new_group([MapReplica(low.host, low.port)])), high]), "h", 1)
    assert config_text(config) == config_text(attrs.evolve(config, map=MAP))
