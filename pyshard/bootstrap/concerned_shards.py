"""Which shards a change of the cluster's state concerns: they are told first. Pure."""

from __future__ import annotations

from pyshard.model.cluster_state import ClusterState


def concerned_shards(before: ClusterState, after: ClusterState) -> set[str]:
    """The names of shards that are other ones by a later state: elsewhere, with other ranges, stores or replicas.

    Those of a move that has changed, has come, or has gone are among them.
    """
    names: set[str] = set()
    if after.map is not before.map:
        for shard in after.map.shards:
            known = before.map.named(shard.name)
            if known is not shard and known != shard:
                names.add(shard.name)
    if after.moves is not before.moves:
        moves = {move.number: move for move in before.moves}
        going = {move.number: move for move in after.moves}
        for number in moves.keys() | going.keys():
            if moves.get(number) != going.get(number):
                for move in (moves.get(number), going.get(number)):
                    names.update(() if move is None else (move.source, move.target))
    return names
