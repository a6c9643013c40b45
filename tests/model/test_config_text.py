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
from pyshard.model.shard_map import MapShard, ShardMap

LISTEN = st.sampled_from(["0.0.0.0:5050", "[::]:5050", "tcp:5050:interface=0.0.0.0"])
HOSTS = st.sampled_from(["127.0.0.1", "::1", "fe80::1%eth0", "shard.example", "größe"])


@st.composite
def configs(draw: st.DrawFn) -> ClusterConfig:
    """Any config: shards with one range, several, or none, some of which listen elsewhere."""
    names = draw(st.lists(st.text('ab"\\é .-\n', min_size=1, max_size=8), min_size=1, max_size=6, unique=True))
    cuts = sorted(draw(st.sets(st.integers(1, SLOTS - 1), max_size=12)))
    owned: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
    for bounds in pairwise([0, *cuts, SLOTS]):
        owned[draw(st.sampled_from(names))].append(bounds)
    shards = [
        MapShard(name, tuple(ranges), draw(st.integers(1, 2**63 - 1)), draw(HOSTS), 5000 + number)
        for number, (name, ranges) in enumerate(owned.items())
    ]
    listen = {name: draw(LISTEN) for name in names if draw(st.booleans())}
    return ClusterConfig(ShardMap(shards), draw(HOSTS), draw(st.integers(1, 65535)), listen, draw(st.none() | LISTEN))


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
