"""What it takes to bring a cluster to the shards and ranges of a config. Pure.

Rules:

- the config says which shards there are, where they are, how much each may store, and which ranges it is to own;
- shards that the cluster has in addition give up all that they own. One that owns nothing, and has no part in a move,
  leaves the map; one that still owns something leaves it when the config is applied again. Cancelled moves don't keep
  it: whether it has nothing left of them it can't say where it is gone for good;
- moves that are under way are taken as done: what they will have brought about is what there is to be changed;
- which of a shard's replicas leads, and which are members, stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from pyshard.model.cluster_state import ClusterState, placed_as
from pyshard.model.range_moves import Phase, RangeMove
from pyshard.model.range_plan import Layout, Transfer, least_moved, moved, transfers
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.model.slot_ranges import SlotRanges, union, without


@attrs.frozen
class LayoutChange:
    """What there is to be done.

    :param added: shards that the map gets; they own nothing at first.
    :param updated: shards whose address, replicas or limit change, as they are to be.
    :param removed: names of shards that leave the map now.
    :param emptied: names of shards that leave it later: they have something to give up, or to take part in.
    :param transfers: what moves from shard to shard.
    :param moved: how many slots these have.
    :param least: how many would have to move at the least for each shard to own as many slots as it is to.
    """

    added: Sequence[MapShard]
    updated: Sequence[MapShard]
    removed: Sequence[str]
    emptied: Sequence[str]
    transfers: Sequence[Transfer]
    moved: int
    least: int

    @property
    def nothing(self) -> bool:
        """Whether the cluster is as the config says already, or will be."""
        return not (self.added or self.updated or self.removed or self.transfers)


def layout_after(layout: Layout, moves: Sequence[RangeMove]) -> dict[str, SlotRanges]:
    """Which ranges each shard will own when these moves are done, of which no two move the same slots."""
    given: dict[str, list[SlotRanges]] = {}
    taken: dict[str, list[SlotRanges]] = {}
    for move in moves:
        if not move.has_ended:
            given.setdefault(move.source, []).append(move.ranges)
            taken.setdefault(move.target, []).append(move.ranges)
    after = dict(layout)
    for name, ranges in given.items():
        after[name] = without(after[name], union(*ranges))
    for name, ranges in taken.items():
        after[name] = union(after[name], *ranges)
    return after


def layout_change(state: ClusterState, wanted: ShardMap) -> LayoutChange:
    """What it takes to bring a cluster to a config.

    :param wanted: the config's shards; stores' identities don't count in them, nor who leads, or is a member.
    :raises ConfigError: a member of a shard is to go.
    """
    shards = {shard.name: shard for shard in state.map.shards}
    after = layout_after({name: shard.ranges for name, shard in shards.items()}, state.moves)
    layout = {shard.name: shard.ranges for shard in wanted.shards}
    gone = [shard for name, shard in shards.items() if name not in layout]
    kept = [move for move in state.moves if move.phase is not Phase.CANCELLED]
    involved = {name for move in kept for name in (move.source, move.target)}
    removed = [shard.name for shard in gone if not shard.ranges and shard.name not in involved]
    placed = [placed_as(shards[shard.name], shard) for shard in wanted.shards if shard.name in shards]
    updated = [shard for shard in placed if shard != shards[shard.name]]
    moving = transfers(after, layout)
    return LayoutChange(
        added=[attrs.evolve(shard, ranges=()) for shard in wanted.shards if shard.name not in shards],
        updated=updated,
        removed=removed,
        emptied=[shard.name for shard in gone if shard.name not in removed],
        transfers=moving,
        moved=moved(moving),
        least=least_moved(after, layout),
    )


def with_other_ranges(state: ClusterState, changed: Sequence[Transfer]) -> ShardMap:
    """The shards of a cluster as a config would have them after its moves and some more transfers."""
    layout = layout_after({shard.name: shard.ranges for shard in state.map.shards}, state.moves)
    more = [
        RangeMove(number, transfer.source, transfer.target, union(transfer.ranges), phase=Phase.PLANNED)
        for number, transfer in enumerate(changed)
    ]
    layout = layout_after(layout, more)
    return ShardMap(attrs.evolve(shard, ranges=layout[shard.name]) for shard in state.map.shards)
