"""The cluster as the page shows it: a plain object for JSON, out of what the bootstrap knows. Pure.

Rules:

- It is bounded, whatever the cluster is. Of many shards, groups of replicas, ranges, moves and indexes some are shown,
  with their number.
- Of many shards those that aren't well come first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import attrs

from pyshard.bootstrap.status_page.shard_colors import colors_of
from pyshard.bootstrap.status_page.shown_levels import Level
from pyshard.bootstrap.status_page.shown_problems import MOST_PROBLEMS, health_of, problems_of
from pyshard.bootstrap.status_page.shown_shards import WatchedShard, shown_shard
from pyshard.bootstrap.status_page.shown_state_store import WatchedStateStore
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import slot_to_hash
from pyshard.model.shard_map import MapShard
from pyshard.protocol.listed_moves import ListedMove
from pyshard.settings import settings

#: What is shown at the most.
MOST_RANGES, MOST_MOVES, MOST_MOVE_RANGES, MOST_INDEXES, MOST_NOTES, MOST_GROUPS = 2000, 50, 50, 100, 3, 100


@attrs.frozen
class WatchedCluster:
    """What is known of a cluster at one moment.

    :param store: where the state is kept.
    :param shards: those that are watched, in the map's order.
    :param moves: planned, under way, and ended of late.
    :param rates: operations a second of all shards, each with its moment, the newest one last.
    :param ready: how many shards of the whole map are ready, as the bootstrap sees them.
    :param now: the moment, in seconds of a steady clock.
    :param since: since when it is watched.
    """

    state: ClusterState
    store: WatchedStateStore
    shards: Sequence[WatchedShard]
    ready: int = 0
    moves: Sequence[ListedMove] = ()
    rates: Sequence[tuple[float, float]] = ()
    now: float = 0.0
    since: float = 0.0


def watched_names(state: ClusterState, ready: set[str]) -> list[str]:
    """The shards that are watched, in the map's order: of very many those that aren't well, then the first ones.

    :param ready: names of those that the bootstrap has configured.
    """
    shards = state.map.shards
    if len(shards) <= settings.SHOWN_SHARDS:
        return [shard.name for shard in shards]

    def is_well(shard: MapShard) -> bool:
        return shard.name in ready and (shard.group is None or not shard.group.learners)

    chosen = {shard.name for shard in sorted(shards, key=is_well)[: settings.SHOWN_SHARDS]}
    return [shard.name for shard in shards if shard.name in chosen]


def total_rate(shards: Sequence[WatchedShard], now: float) -> float | None:
    """Operations a second of all shards; None: of none it is known."""
    known = [rate for shard in shards if (rate := shard.rate(now)) is not None]
    return sum(known) if known else None


def shown_cluster(cluster: WatchedCluster) -> dict[str, object]:
    """What the page shows, for JSON. Bounds of ranges are hashes, in [0, 1)."""
    state, now = cluster.state, cluster.now
    colors = colors_of(shard.own.name for shard in cluster.shards)
    going = [move for move in cluster.moves if not move.over]
    notes: dict[str, list[str]] = defaultdict(list)
    for move in going:
        notes[move.source].append(f"gives to {move.target}")
        notes[move.target].append(f"takes from {move.source}")
    fresh = [figures for shard in cluster.shards if (figures := shard.fresh(now)) is not None]
    rate = total_rate(cluster.shards, now)
    problems = problems_of(cluster.store, cluster.shards, now, cluster.since)
    return {
        "cluster": state.cluster,
        "epoch": state.epoch,
        "health": health_of(problems, cluster.ready == len(state.map.shards)).value,
        "problems": [problem.shown() for problem in problems[:MOST_PROBLEMS]],
        "store": cluster.store.shown(),
        "shards": [
            shown_shard(
                attrs.evolve(shard, moves=tuple(notes[shard.own.name][:MOST_NOTES])),
                colors[shard.own.name],
                now,
                cluster.since,
            )
            for shard in cluster.shards
        ],
        "all_shards": len(state.map.shards),
        "ready_shards": cluster.ready,
        **_shown_groups(cluster, colors),
        "ranges": _shown_ranges(cluster),
        "all_ranges": sum(len(shard.ranges) for shard in state.map.shards),
        "moves": [_shown_move(move) for move in _chosen_moves(cluster.moves)],
        "going_moves": len(going),
        **_shown_indexes(cluster),
        "totals": {
            "documents": sum(figures.documents for figures in fresh),
            "bytes": sum(figures.size for figures in fresh),
            "limit": sum(shard.own.limit for shard in cluster.shards),
            "rate": None if rate is None else round(rate, 1),
            "known_shards": len(fresh),
        },
        "rates": [[round(at - now, 1), round(value, 1)] for at, value in cluster.rates],
    }


def shown_without_state(store: WatchedStateStore) -> dict[str, object]:
    """What the page shows of a bootstrap that has no cluster state yet, for JSON."""
    problems = problems_of(store, [], 0.0, 0.0, has_state=False)
    return {"waits": True, "problems": [problem.shown() for problem in problems], "store": store.shown()}


def _shown_groups(cluster: WatchedCluster, colors: Mapping[str, int]) -> dict[str, object]:
    """The replicas of each shard that has some: of very many those of shards that aren't well, and the first ones."""
    groups = [
        (shard.look(cluster.now, cluster.since)[0], shard, shard.replicas)
        for shard in cluster.shards
        if shard.replicas is not None
    ]
    by_level = sorted(range(len(groups)), key=lambda place: groups[place][0].level is Level.GOOD)
    shown: list[dict[str, object]] = []
    for place in sorted(by_level[:MOST_GROUPS]):
        look, shard, replicas = groups[place]
        state = {"color": colors[shard.own.name], "state": look.value, "level": look.level.value}
        figures = shard.fresh(cluster.now)
        stale = {} if figures is None else figures.stale
        shown.append(replicas.shown(shard.own.name, cluster.now, stale) | state)
    return {"groups": shown, "all_groups": sum(shard.group is not None for shard in cluster.state.map.shards)}


def _shown_ranges(cluster: WatchedCluster) -> list[tuple[float, float, int]]:
    """Bounds, and the shard's place among those that are shown: the largest ranges, in the order of the line."""
    ranges = [(start, end, place) for place, shard in enumerate(cluster.shards) for start, end in shard.own.ranges]
    if len(ranges) > MOST_RANGES:
        ranges = sorted(ranges, key=lambda one: one[0] - one[1])[:MOST_RANGES]
    return [(slot_to_hash(start), slot_to_hash(end), place) for start, end, place in sorted(ranges)]


def _chosen_moves(moves: Sequence[ListedMove]) -> list[ListedMove]:
    """Those that are begun, those that are planned, and the newest ones that have ended, as far as there is room."""

    def rank(move: ListedMove) -> tuple[bool, bool, int]:
        return move.over, not move.seconds, -move.number if move.over else move.number

    return sorted(moves, key=rank)[:MOST_MOVES]


def _shown_move(move: ListedMove) -> dict[str, object]:
    return {
        "number": move.number,
        "source": move.source,
        "target": move.target,
        "ranges": list(move.ranges[:MOST_MOVE_RANGES]),
        "all_ranges": len(move.ranges),
        "share": sum(end - start for start, end in move.ranges),
        "phase": move.phase.value,
        "over": move.over,
        "paused": move.paused,
        "seconds": round(move.seconds, 1),
        "documents": move.documents,
        "bytes": move.size,
        "expected": move.expected,
        "rate": round(move.rate),
        "behind": None if move.seconds_behind is None else round(move.seconds_behind, 2),
        "why": move.error or move.stall or move.why,
    }


def _shown_indexes(cluster: WatchedCluster) -> dict[str, object]:
    """Each index, and how many documents it has on the shards whose figures are known; None: no shard has told."""
    names = ["", *sorted(cluster.state.indexes)]
    told = [figures.indexes for shard in cluster.shards if (figures := shard.fresh(cluster.now)) is not None]
    shown = []
    for name in names[:MOST_INDEXES]:
        counts = [counts[name] for counts in told if name in counts]
        shown.append({"name": name, "documents": sum(counts) if counts else None})
    return {"indexes": shown, "all_indexes": len(names)}
