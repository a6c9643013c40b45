"""What a bootstrap told a shard: which one it is, and the cluster state. Pure.

Rule: what a shard refuses to take on changes nothing (`accept`).
"""

from __future__ import annotations

from functools import cached_property

import attrs
import msgspec

from pyshard.errors import BadRequest, ConfigError, ForeignCluster, StaleEpoch, WrongIdentity, WrongShard, shown_value
from pyshard.model import cluster_state
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import slot_to_hash
from pyshard.model.shard_map import MapShard
from pyshard.model.slot_ranges import SlotRanges


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


def remembered_assignment(text: bytes) -> Assignment:
    """The assignment that a store remembers.

    :raises ConfigError: it is one of another version.
    """
    name, state = msgspec.msgpack.decode(text, type=tuple[str, bytes])
    try:
        return Assignment(name, cluster_state.from_json(state))
    except BadRequest as error:
        raise ConfigError(
            f"what the store of shard {name!r} remembers can't be read: {error}; back it up with the version that "
            "wrote it, and restore the backup into an empty cluster"
        ) from None


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
    if state.epoch < current.state.epoch or (state.epoch == current.state.epoch and state != current.state):
        raise StaleEpoch(f"this shard has epoch {current.state.epoch}; the given epoch {state.epoch} is no newer one")
    if own.ranges != current.ranges and documents:
        raise StaleEpoch(
            f"this shard holds {documents:,} documents for {current.own.bounds}; "
            f"they don't move to {own.bounds} by themselves"
        )
    return proposed


def not_owned(assignment: Assignment, slot: int) -> WrongShard:
    """The redirect for a slot outside a shard's ranges."""
    return WrongShard(
        f"shard {assignment.name!r} owns {assignment.own.bounds} at epoch {assignment.state.epoch}, "
        f"not {slot_to_hash(slot)}; get the newest map"
    )
