"""What a bootstrap has told a shard, and which other thing it lets itself be told. Pure.

Rules:

- a shard stays the one of its name, its store and its cluster;
- an older state than the one it has is refused, and so is another one of the same age;
- where it has documents, its ranges change by moves alone: what comes or goes is of a committed move.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import attrs
import msgspec

from pyshard.errors import (
    BadRequest,
    ConfigError,
    ForeignCluster,
    StaleEpoch,
    WrongIdentity,
    WrongShard,
    plain,
    shown_value,
)
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import slot_to_hash
from pyshard.model.moved_ranges import moved_after, newest_move
from pyshard.model.range_moves import Phase
from pyshard.model.shard_map import MapShard
from pyshard.model.slot_ranges import SlotRanges, union, without

_EPOCHS = 10  # of which is remembered what is served to them: clients learn of a newer one soon


@attrs.frozen(slots=False)  # for what is found out once
class Assignment:
    """What a bootstrap told a shard: its name and the cluster state."""

    name: str
    state: ClusterState

    @cached_property
    def own(self) -> MapShard:
        """The shard itself, as the map has it."""
        own = self.state.map.named(self.name)
        assert own is not None  # `accept` lets no other assignment pass
        return own

    @property
    def ranges(self) -> SlotRanges:
        """The slots that the shard is to own."""
        return self.own.ranges

    @property
    def indexes(self) -> tuple[Mapping[str, int], int]:
        """The named indexes that the shard is to have, name → id, and the first id that none of the cluster has had."""
        return self.state.indexes, self.state.next_index

    @cached_property
    def newest_move(self) -> int:
        """The epoch of the last move to the shard of any of its slots; 0: none of them has moved."""
        return newest_move(self.state.since, self.ranges)

    def served_to(self, epoch: int) -> SlotRanges:
        """Those of its ranges in which who routed by an epoch knows all that has happened."""
        if epoch >= self.newest_move:
            return self.ranges
        if epoch not in self._served:
            if len(self._served) >= _EPOCHS:
                self._served.clear()
            self._served[epoch] = without(self.ranges, moved_after(self.state.since, epoch))
        return self._served[epoch]

    @cached_property
    def _served(self) -> dict[int, SlotRanges]:
        """What was found for older epochs: with 20,000 ranges that have moved it takes some milliseconds."""
        return {}


def remembered_assignment(text: bytes) -> Assignment:
    """The assignment that a store remembers.

    :raises ConfigError: it is one of another version, or none at all.
    """
    name = ""
    try:
        name, state = msgspec.msgpack.decode(text, type=tuple[str, bytes])
        assignment = Assignment(name, cluster_state_json.from_json(state))
        if assignment.state.map.named(name) is None:
            raise BadRequest("its cluster doesn't have this shard")
    except (BadRequest, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"what the store of shard {shown_value(name)} remembers can't be read: {plain(str(error))}; back it up "
            "with the version that wrote it, and restore the backup into an empty cluster"
        ) from None
    return assignment


def accept(current: Assignment | None, name: str, state: ClusterState, identity: str, documents: int) -> Assignment:
    """The assignment that a shard takes on when a bootstrap proposes `name` and `state`. Pure.

    :param current: what it has now.
    :param identity: its store's id.
    :param documents: how many documents it holds.
    :raises ForeignCluster, WrongIdentity, StaleEpoch, BadRequest: it keeps what it has.
    """
    proposed = Assignment(name, state)
    own = state.map.named(name)
    if own is None:
        raise BadRequest(f"name: found {shown_value(name)}, expected the name of a shard in the cluster state")
    if own.identity != identity:
        raise WrongIdentity(f"this shard's store is {identity}; the cluster state has {own.identity!r} for {name!r}")
    if current is None:
        return proposed
    if state.cluster != current.state.cluster:
        raise ForeignCluster(
            f"this shard is {current.name!r} of cluster {current.state.cluster}; cluster {state.cluster} can't have it"
        )
    if name != current.name:
        raise WrongIdentity(f"this shard is {current.name!r}, not {name!r}")
    if state.order < current.state.order or (state.order == current.state.order and state != current.state):
        raise StaleEpoch(f"this shard has {current.state.shown_order}; the given {state.shown_order} is no newer one")
    if documents and not _by_moves(current, proposed):
        raise StaleEpoch(
            f"this shard holds {documents:,} documents for {current.own.bounds}; "
            f"they don't move to {own.bounds} by themselves"
        )
    return proposed


def _by_moves(current: Assignment, proposed: Assignment) -> bool:
    """Whether what a shard is to own differs from what it owns by moves alone that the state has committed."""
    committed = [move for move in proposed.state.moves if move.phase is Phase.COMMITTED]
    come, gone = without(proposed.ranges, current.ranges), without(current.ranges, proposed.ranges)
    taken = union(*(move.ranges for move in committed if move.target == current.name))
    given = union(*(move.ranges for move in committed if move.source == current.name))
    return not without(come, taken) and not without(gone, given)


def not_owned(assignment: Assignment, slot: int) -> WrongShard:
    """The redirect for a slot outside a shard's ranges."""
    return WrongShard(
        f"shard {assignment.name!r} owns {assignment.own.bounds} at epoch {assignment.state.epoch}, "
        f"not {slot_to_hash(slot)}; get the newest map"
    )
