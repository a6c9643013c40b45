"""What waits, a map, an address or a file costs no work that grows faster than its length (see test_work.py)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from client_core.operation_queue.operations import operation
from work import assert_equal, growth

from pyshard.backup import manifest
from pyshard.backup.manifest import FileEntry, Manifest
from pyshard.client_core.held_slots import lost_slots
from pyshard.client_core.operation_queue import OperationQueue
from pyshard.errors import ConfigError
from pyshard.model import cluster_state_json, config_file
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.layout_change import layout_change, with_other_ranges
from pyshard.model.moved_ranges import moved_since, newest_move
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.net.connection_url import parse_url
from pyshard.security import token_file

LINEAR = 4.8


@pytest.mark.parametrize("keys", [1, 3, 100_000])
def test_operations_that_wait(keys: int) -> None:
    """Operations leave at the same cost each, however many wait, and however few may leave at a time."""

    def work(number: int) -> Callable[[], None]:
        issued = [operation(("read", "write")[one // keys % 2], str(one % keys)) for one in range(number)]

        def send() -> None:
            queue = OperationQueue()
            for one in issued:
                queue.add(one)
            while not queue.idle:
                while queue.next_batch(0.0) is not None:
                    pass
                queue.finished(queue.in_flight[0])

        return send

    assert growth(work, 200) < LINEAR


def ranges(number: int, name: str) -> Iterator[MapShard]:
    """The ranges of a map with so many shards."""
    width = SLOTS // number
    for one in range(number):
        end = SLOTS if one == number - 1 else (one + 1) * width
        yield MapShard(f"{name}{one}", ((one * width, end),), 1, "h", one + 1)


def test_maps_of_many_shards() -> None:
    """A map is read, and compared with the one before, at the same cost for each shard."""

    def work(number: int) -> Callable[[], None]:
        old = ShardMap(ranges(number, "s"))
        text = cluster_state_json.to_json(ClusterState("c", 2, ShardMap(ranges(number, "s")), {}))

        def take() -> None:
            new = cluster_state_json.from_json(text).map
            assert not any(lost_slots(shard, new.named(shard.name)) for shard in old.shards)
            assert all(new.named(shard.name) == shard for shard in old.shards)

        return take

    assert growth(work, 100) < LINEAR


@pytest.mark.parametrize("each", [1, 20])
def test_configs_of_many_shards(each: int) -> None:
    """A config is compared with the cluster, and its moves are planned, at the same cost for each range of a shard."""

    def work(number: int) -> Callable[[], None]:
        width = SLOTS // (number * each)
        parts = [(place * width, (place + 1) * width) for place in range(number * each)]
        parts[-1] = (parts[-1][0], SLOTS)

        def layout(turn: int) -> ShardMap:
            return ShardMap(
                MapShard(f"s{one}", tuple(parts[(one + turn) % number :: number]), 1, "h", one + 1)
                for one in range(number)
            )

        state, wanted = ClusterState("c", 2, layout(0), {}), layout(1)

        def plan() -> None:
            change = layout_change(state, wanted)
            planned = state.with_moves(change.transfers)
            assert len(planned.moves) == number
            assert layout_change(planned, wanted).nothing
            assert_equal(with_other_ranges(planned, []), wanted)

        return plan

    assert growth(work, 12) < LINEAR


@pytest.mark.parametrize("distinct", [True, False], ids=["each moved by itself", "all moved together"])
def test_ranges_that_have_moved(distinct: bool) -> None:
    """A commit, and each shard's look at it, cost the same for each range that ever moved, of however many that move.

    They are found by halving, so it is a little more than linear.
    """

    def work(number: int) -> Callable[[], None]:
        before = tuple((4 * one, 4 * one + 2, one + 1 if distinct else 1) for one in range(number))
        moving = tuple((4 * one + 1, 4 * one + 3) for one in range(number))

        def commit() -> None:
            moved = moved_since(before, moving, number + 1)
            assert len(moved) == 2 * number
            assert newest_move(moved, moving) == number + 1

        return commit

    assert growth(work, 200) < 6


def test_an_address_as_a_url() -> None:
    """So many hosts cost so much."""

    def work(number: int) -> Callable[[], None]:
        url = "pyshard://" + ",".join(f"host:{one + 1}" for one in range(number))
        return lambda: assert_equal(len(parse_url(url).hosts), number)

    assert growth(work, 100) < LINEAR


# -- files ---------------------------------------------------------------------------------------------------------


def test_a_token_file(tmp_path: Path) -> None:
    """Each line costs the same."""

    def work(number: int) -> Callable[[], None]:
        path = tmp_path / str(number)
        path.write_text("".join(f"read secret-{one:012}\n" for one in range(number)))
        path.chmod(0o600)
        return lambda: assert_equal(len(token_file.load(path).tokens), number)

    assert growth(work, 50) < LINEAR


@pytest.mark.parametrize("right", [True, False])
def test_a_config_file(right: bool) -> None:
    """Each shard costs the same, and so does a message about the last one."""

    def work(number: int) -> Callable[[], None]:
        shards = [
            {
                "name": f"s{one}",
                "start": one / number,
                "end": (one + 1) / number,
                "size": 1,
                "host": "h",
                "port": one + 1,
            }
            for one in range(number)
        ]
        shards[-1]["port"] = number if right else 0
        text = json.dumps({"shards": shards}).encode()

        def parse() -> None:
            if right:
                assert len(config_file.parse(text).map.shards) == number
                return
            with pytest.raises(ConfigError) as refused:
                config_file.parse(text)
            assert f"shards[{number - 1}].port: found 0" in str(refused.value)

        return parse

    assert growth(work, 250) < LINEAR


def test_a_manifest() -> None:
    """Each file of a backup costs the same."""

    def work(number: int) -> Callable[[], None]:
        files = tuple(FileEntry(f"{one}-s.records", "s", 1, 1, "0" * 64) for one in range(number))
        text = manifest.encode(
            Manifest(manifest.FORMAT, "2026-01-01", "c", 1, FileEntry("cluster.json", "", 0, 1, ""), files)
        )
        return lambda: assert_equal(manifest.decode(text).documents, number)

    assert growth(work, 50) < LINEAR
