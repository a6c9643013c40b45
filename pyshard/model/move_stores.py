"""What becomes of moves when the documents of one of their shards are in another store. Pure.

Rules:

- A move that isn't decided goes on with the next primary of a shard: one that was a member has all that was
  acknowledged, under the same numbers of groups. So what is copied stays. A seal counts no more: the next one is a new
  attempt, for which both sides are asked again.
- With any other store the move is cancelled: what it has of the move isn't known.
- A move that is decided is over when the present primary says so, whichever it is.
"""

from __future__ import annotations

from pyshard.model.range_moves import RangeMove, StoreId, other_store
from pyshard.model.replica_group import ReplicaGroup
from pyshard.model.shard_map import MapShard


def without_store(move: RangeMove, name: str, identity: str) -> RangeMove:
    """What becomes of a move when a shard has another store: it is cancelled if it began with the one before.

    :param name: the shard's.
    :param identity: of its store now.
    """
    began = _store_of(move, name)
    if move.has_ended or began is None or began.identity == identity:
        return move
    return move.cancelled(other_store(name))


def with_next_group(move: RangeMove, before: MapShard, after: MapShard) -> RangeMove:
    """What becomes of a move when a shard has other replicas, or another one of them leads.

    :param before: the shard with the group before; None as its group: it had none.
    :param after: the shard with the next group.
    """
    name, group = after.name, after.group
    assert group is not None, "it has the next group"
    place = group.at(group.primary)
    store = None if place is None else place.store
    if _store_of(move, name) is None:
        return move
    if move.has_ended:
        return move.with_store(name, store) if store is not None and store.incarnation else move
    if store is not None and before.group is not None and _goes_on(before.group, group):
        return move.handed_over(name, store)
    return without_store(move, name, after.identity)


def _goes_on(before: ReplicaGroup, after: ReplicaGroup) -> bool:
    """Whether a group has another primary, which was a member of the group before with the store that it has."""
    if after.primary == before.primary or after.primary not in before.members:
        return False
    known, now = before.at(after.primary), after.at(after.primary)
    return known is not None and now is not None and known.store is not None and known.store == now.store


def _store_of(move: RangeMove, name: str) -> StoreId | None:
    return {move.source: move.source_store, move.target: move.target_store}.get(name)
