"""What the web page shows of a cluster, by value."""

from __future__ import annotations

import json
from typing import Any

import attrs
import msgspec
import pytest
from bootstrap.states import HIGH, LOW, STATE

from pyshard.bootstrap.bootstrap import Condition, ShardReadiness
from pyshard.bootstrap.questioned_shard import LONGEST_STATISTICS
from pyshard.bootstrap.status_page.shard_colors import COLORS, colors_of
from pyshard.bootstrap.status_page.shard_figures import ShardFigures, read_figures
from pyshard.bootstrap.status_page.shown_cluster import (
    MOST_INDEXES,
    MOST_MOVE_RANGES,
    MOST_MOVES,
    MOST_RANGES,
    WatchedCluster,
    shown_cluster,
    watched_names,
)
from pyshard.bootstrap.status_page.shown_shards import WatchedShard
from pyshard.bootstrap.status_page.shown_state_store import WatchedStateStore
from pyshard.errors import BadRequest
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Phase
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.protocol.listed_moves import ListedMove
from pyshard.settings import settings

STORE = WatchedStateStore("file", "/var/lib/pyshard/shards.state")
READY = ShardReadiness("low", LOW.address, Condition.READY, "")
FIGURES = ShardFigures(9.0, 100.0, 5000, 30, 400, epoch=7, connected=3, waiting=12, indexes={"": 10, "pages": 20})
OLDER = attrs.evolve(FIGURES, at=7.0, uptime=98.0, operations=4000)
WATCHED = WatchedShard(LOW, READY, FIGURES, OLDER)
MOVE = ListedMove(3, "low", "high", [(0.25, 0.5)], Phase.COPYING, seconds=1.5, documents=5, size=100, expected=400)


def test_a_cluster() -> None:
    """All of it: one shard that is well, and one that is down."""
    down = WatchedShard(HIGH, ShardReadiness("high", HIGH.address, Condition.UNREACHABLE, "connection refused"))
    shown = shown_cluster(
        WatchedCluster(STATE, STORE, [WATCHED, down], 1, [MOVE], [(8.0, 400.0), (9.0, 500.04)], 9.5, 0.0)
    )
    colors = colors_of(["low", "high"])
    assert json.loads(msgspec.json.encode(shown)) == {
        "cluster": "c1",
        "epoch": 7,
        "health": "bad",
        "problems": [{"level": "bad", "what": "high: down", "why": "connection refused"}],
        "store": {"kind": "file", "name": "/var/lib/pyshard/shards.state", "away": None, "error": ""},
        "shards": [
            {
                "name": "low",
                "address": "10.0.0.1:5050",
                "color": colors["low"],
                "state": "moving",
                "level": "info",
                "why": "",
                "moves": ["gives to high"],
                "share": 0.5,
                "ranges": 1,
                "limit": 1000,
                "durable": False,
                "epoch": 7,
                "documents": 30,
                "bytes": 400,
                "fill": 0.4,
                "rate": 500.0,
                "waiting": 12,
                "connected": 3,
                "uptime": 100,
            },
            {
                "name": "high",
                "address": "10.0.0.2:5051",
                "color": colors["high"],
                "state": "down",
                "level": "bad",
                "why": "connection refused",
                "moves": ["takes from low"],
                "share": 0.5,
                "ranges": 1,
                "limit": 1000,
                "durable": False,
            },
        ],
        "all_shards": 2,
        "ready_shards": 1,
        "groups": [],
        "all_groups": 0,
        "ranges": [[0.0, 0.5, 0], [0.5, 1.0, 1]],
        "all_ranges": 2,
        "moves": [
            {
                "number": 3,
                "source": "low",
                "target": "high",
                "ranges": [[0.25, 0.5]],
                "all_ranges": 1,
                "share": 0.25,
                "phase": "copying",
                "over": False,
                "paused": False,
                "seconds": 1.5,
                "documents": 5,
                "bytes": 100,
                "expected": 400,
                "rate": 0,
                "behind": None,
                "why": "",
            }
        ],
        "going_moves": 1,
        "indexes": [{"name": "", "documents": 10}, {"name": "pages", "documents": 20}],
        "all_indexes": 2,
        "totals": {"documents": 30, "bytes": 400, "limit": 2000, "rate": 500.0, "known_shards": 1},
        "rates": [[-1.5, 400.0], [-0.5, 500.0]],
    }


@pytest.mark.parametrize(
    ("changes", "figures", "state"),
    [
        ({}, {}, "ready"),
        ({"readiness": attrs.evolve(READY, condition=Condition.REFUSED)}, {}, "refused"),
        ({"readiness": attrs.evolve(READY, condition=Condition.UNREACHABLE)}, {"failing": True}, "down"),
        ({}, {"failing": True, "serves": False}, "failing"),
        ({}, {"serves": False, "epoch": 0, "size": 1000}, "not configured"),
        ({}, {"serves": False}, "moving"),
        ({"moves": ("gives to high",)}, {}, "moving"),
        ({"moves": ("gives to high",)}, {"size": 850}, "nearly full"),
        ({}, {"size": 990}, "full"),
        ({}, {"size": 850}, "nearly full"),
        ({}, {"size": 849}, "ready"),
        ({}, {"at": 5.9}, "slow"),
        ({"own": attrs.evolve(LOW, limit=0)}, {}, "ready"),
    ],
)
def test_states(changes: dict[str, Any], figures: dict[str, Any], state: str) -> None:
    """Of several things that are wrong, the worst one is told; of a shard that isn't heard, no old figures are."""
    shard = attrs.evolve(WATCHED, figures=attrs.evolve(FIGURES, **figures), **changes)
    look, _ = shard.look(9.5, 0.0)
    assert look.value == state
    assert (shard.fresh(9.5) is None) == (state in ("refused", "down", "slow"))


def test_a_move_that_stands_still() -> None:
    """It is said why, or at least that it does."""
    moves = [attrs.evolve(MOVE, stalled=75.0, **more) for more in ({}, {"error": "no room"}, {"over": True})]
    shown: dict[str, Any] = shown_cluster(WatchedCluster(STATE, STORE, [WATCHED], moves=moves))
    first, second, over = (move["why"] for move in shown["moves"])
    assert first.startswith("it has come no further for 75 s")
    assert (second, over) == ("no room", "")


def test_a_shard_that_was_not_asked_yet() -> None:
    """It has its time before it counts as slow; then the reason is told."""
    shard = WatchedShard(LOW, READY, error="no answer")
    assert shard.look(9.5, 9.0)[0].value == "ready"
    assert shard.look(12.5, 9.0)[1] == "no answer"
    assert shard.rate(9.5) is None


def test_rates() -> None:
    """They aren't known of one answer, nor over a restart."""
    assert FIGURES.rate_since(OLDER) == 500.0
    assert FIGURES.rate_since(None) is None
    assert attrs.evolve(FIGURES, uptime=1.0).rate_since(OLDER) is None
    assert attrs.evolve(FIGURES, operations=10).rate_since(OLDER) is None
    young = attrs.evolve(OLDER, at=1.0, uptime=1.0)
    assert attrs.evolve(FIGURES, uptime=7.9).rate_since(young) is None
    assert attrs.evolve(FIGURES, uptime=9.0).rate_since(young) == 125.0
    assert OLDER.rate_since(OLDER) is None


def test_a_huge_cluster() -> None:
    """What is shown is bounded, and how much there is of it is told; shards that aren't well are shown."""
    many = settings.SHOWN_SHARDS + 100
    step = SLOTS // (5 * many)
    shards = []
    for number in range(many):
        starts = range(number * step * 5, (number + 1) * step * 5, step)
        ends = [SLOTS if number == many - 1 and start == starts[-1] else start + step for start in starts]
        owned = list(zip(starts, ends, strict=True))
        shards.append(MapShard(f"s{number:05}", owned[:1], 1000, "10.0.0.1", 1000 + number))
        shards[-1] = attrs.evolve(shards[-1], ranges=owned)
    indexes = {f"i{number:04}": number + 1 for number in range(settings.MAX_INDEXES)}
    state = attrs.evolve(STATE, map=ShardMap(shards), indexes=indexes, next_index=2000)
    names = {shard.name for shard in shards}
    watched = watched_names(state, names - {"s00599"})
    assert watched == [*sorted(names)[: settings.SHOWN_SHARDS - 1], "s00599"]
    moves = [
        attrs.evolve(MOVE, number=number, seconds=float(number == 70), over=number < 20, ranges=[(0.1, 0.2)] * 1000)
        for number in range(300)
    ]
    known = [WatchedShard(one, attrs.evolve(READY, name=one.name)) for one in shards if one.name in set(watched)]
    pieces = [attrs.evolve(one, own=attrs.evolve(one.own, ranges=pieces_of(one.own))) for one in known]
    shown: dict[str, Any] = shown_cluster(WatchedCluster(state, STORE, pieces, moves=moves))
    assert (len(shown["shards"]), shown["all_shards"]) == (settings.SHOWN_SHARDS, many)
    assert len(shown["ranges"]) == MOST_RANGES
    assert (len(shown["indexes"]), shown["all_indexes"]) == (MOST_INDEXES, settings.MAX_INDEXES + 1)
    assert (len(shown["moves"]), shown["going_moves"]) == (MOST_MOVES, 280)
    assert [move["number"] for move in shown["moves"][:2]] == [70, 20]
    assert len(shown["moves"][0]["ranges"]) == MOST_MOVE_RANGES
    assert len(msgspec.json.encode(shown)) < 600_000


def pieces_of(shard: MapShard) -> list[tuple[int, int]]:
    """The slots of a shard in six ranges with gaps between them."""
    [(start, end)] = shard.ranges
    part = (end - start) // 6
    return [(start + number * part, start + number * part + part - 1) for number in range(6)]


def test_colors() -> None:
    """A name keeps its color; no two of few names have the same."""
    names = [f"shard{number}" for number in range(COLORS)]
    colors = colors_of(names)
    assert sorted(colors.values()) == list(range(COLORS))
    assert colors_of(reversed(names)) == colors
    assert set(colors_of([*names, "another"]).values()) == set(range(COLORS))


STAT: dict[str, Any] = {"uptime": 1.5, "operations": 2, "documents": 3, "bytes": 4, "ready": True}


def test_figures() -> None:
    """Those of a shard that is configured, and of one that isn't; what else it tells doesn't matter."""
    assert read_figures(json.dumps(STAT).encode(), 9.0) == ShardFigures(9.0, 1.5, 2, 3, 4)
    more = {"epoch": 5, "failing": True, "index_documents": {"": 3}, "waiting_bytes": 6, "histogram": [[1] * 10]}
    found = read_figures(json.dumps(STAT | more | {"connected": 7, "x": None}).encode(), 9.0)
    assert found == ShardFigures(9.0, 1.5, 2, 3, 4, True, 5, 7, 6, True, {"": 3})
    others = [{"address": "h:1", "stale": 0.5, "silent": 0.1}, {"address": "h:2", "stale": None}]
    found = read_figures(json.dumps(STAT | {"replica": {"role": "primary", "others": others}}).encode(), 9.0)
    assert found.stale == {"h:1": 0.5, "h:2": None}


@pytest.mark.parametrize(
    "stat",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        json.dumps(STAT | {"operations": -1}).encode(),
        json.dumps(STAT | {"documents": 2**63}).encode(),
        json.dumps(STAT | {"uptime": 1e300}).encode(),
        json.dumps(STAT | {"bytes": "<script>"}).encode(),
        json.dumps(STAT | {"index_documents": {"a": None}}).encode(),
        json.dumps(STAT | {"index_documents": {"a" * 101: 1}}).encode(),
        json.dumps(STAT | {"index_documents": dict.fromkeys(map(str, range(102)), 1)}).encode(),
        json.dumps(STAT | {"replica": {"others": [{"address": "h:1"}] * 8}}).encode(),
        json.dumps(STAT | {"replica": {"others": [{"address": "h" * 301}]}}).encode(),
        json.dumps(STAT | {"replica": {"others": [{"address": "h:1", "stale": "<script>"}]}}).encode(),
        json.dumps(STAT | {"replica": {"others": [{"address": "h:1", "stale": -1}]}}).encode(),
        json.dumps(STAT | {"x": "x" * LONGEST_STATISTICS}).encode(),
    ],
)
def test_hostile_figures(stat: bytes) -> None:
    """What no shard tells is refused, in one short line."""
    with pytest.raises(BadRequest) as caught:
        read_figures(stat, 9.0)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2200
