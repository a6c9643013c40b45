"""The cluster state as JSON text, the same in the file and on the wire (docs/protocol.md, "Cluster state"). Pure.

Rules:

- a state that comes from outside is checked, and its numbers have bounds, since code computes with them;
- so have its texts, which people are shown: no name, host or id has characters that do something to a terminal;
- the text of a state is made once, as each shard and each client gets it, and it may have megabytes;
- who is given one state after the other reads those shards alone whose texts are others than before (`StateReader`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Generic, TypeVar

import msgspec

from pyshard.errors import BadRequest, ConfigError, of_peer, plain, shown_value
from pyshard.message_texts import can_be_shown
from pyshard.model.bounded_json import check_bounds, decode_json
from pyshard.model.cluster_state import DEFAULT_INDEX, ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Id, Phase, RangeMove, StoreId
from pyshard.model.replica_group import MapReplica, ReplicaGroup
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.model.slot_ranges import union
from pyshard.settings import settings

#: The format number of the text that this version reads and writes.
FORMAT = 4

_NO_STATE = "this is no cluster state"

#: So many shards of a map are put in one by one; for more it is made anew.
_FEW_SHARDS = 10

_S = TypeVar("_S")

# The bounds of what a state may say, whoever sends it.
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=settings.MAX_NAME)]
_Slot = Annotated[int, msgspec.Meta(ge=0, le=SLOTS)]
_Large = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Host = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
_Address = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
_IndexId = Annotated[int, msgspec.Meta(gt=DEFAULT_INDEX, lt=2**32)]  # stores have 4 bytes for it


class _JsonReplica(msgspec.Struct):
    host: _Host
    port: _Port
    store: tuple[Id, Id] | None
    durable: bool


class _JsonGroup(msgspec.Struct):
    ballot: _Large
    primary: _Address
    members: Annotated[list[_Address], msgspec.Meta(max_length=settings.MAX_REPLICAS)]
    replicas: Annotated[list[_JsonReplica], msgspec.Meta(max_length=settings.MAX_REPLICAS)]
    least: Annotated[int, msgspec.Meta(ge=1, le=settings.MAX_REPLICAS)]
    lease: Annotated[float, msgspec.Meta(ge=0.1, le=3600)]


class _JsonShard(msgspec.Struct, omit_defaults=True):
    name: _Name
    ranges: Annotated[list[tuple[_Slot, _Slot]], msgspec.Meta(max_length=settings.MAX_SHARD_RANGES)]
    size: _Large
    host: _Host
    port: _Port
    identity: Id
    durable: bool
    group: _JsonGroup | None = None


class _JsonMove(msgspec.Struct, omit_defaults=True):
    number: _Large
    source: _Name
    target: _Name
    ranges: Annotated[list[tuple[_Slot, _Slot]], msgspec.Meta(min_length=1, max_length=settings.MAX_SHARD_RANGES)]
    source_store: tuple[Id, Id] | None
    target_store: tuple[Id, Id] | None
    phase: Phase
    attempt: _Large
    why: Annotated[str, msgspec.Meta(max_length=2000)]
    paused: bool
    origin: tuple[Id, Id] | None = None


class _JsonFormat(msgspec.Struct):
    format: _Large


class _JsonState(msgspec.Struct, Generic[_S]):
    format: _Large
    cluster: Id
    epoch: _Large
    shards: Annotated[list[_S], msgspec.Meta(max_length=settings.MAX_SHARDS)]
    indexes: dict[_Name, _IndexId]
    next_index: _IndexId
    step: _Large
    moves: Annotated[list[_JsonMove], msgspec.Meta(max_length=settings.MAX_MOVES)]
    next_move: _Large
    since: Annotated[list[tuple[_Slot, _Slot, _Large]], msgspec.Meta(max_length=settings.MAX_RANGES)]


def _pair(store: StoreId | None) -> tuple[str, str] | None:
    return None if store is None else (store.identity, store.incarnation)


def to_json(state: ClusterState) -> bytes:
    """The state as JSON text in UTF-8, with ranges in slots."""
    if state.text is None:
        object.__setattr__(state, "text", _encoded(state, state.map.shards))
    assert state.text is not None, "it was just made"
    return state.text


def from_json(text: bytes) -> ClusterState:
    """The state of a JSON text.

    :raises BadRequest: it is no state; the message says what is wrong.
    """
    return StateReader().read(text)


class StateReader:
    """Reads one state after the other. Most shards of each are as they were in the one before."""

    def __init__(self) -> None:
        self._last: ClusterState | None = None
        self._shards: dict[bytes, MapShard] = {}  # by their texts

    def read(self, text: bytes) -> ClusterState:
        """The state of a JSON text; see `from_json`."""
        last = self._last
        if last is not None and last.text == text:
            return last
        _check_length(text)
        try:
            read = _decoded(text)
            found = [(bytes(raw), self._shards.get(bytes(raw))) for raw in read.shards]
            shards = [(raw, _shard_of(raw) if known is None else known) for raw, known in found]
            shard_map = _map_of([shard for _, shard in shards], None if last is None else last.map)
            moves = tuple(_move(move, shard_map) for move in read.moves)
        except ConfigError as error:
            raise BadRequest(f"{_NO_STATE}: {plain(str(error))}") from None
        state = ClusterState(
            read.cluster,
            read.epoch,
            shard_map,
            read.indexes,
            read.next_index,
            read.step,
            moves,
            read.next_move,
            tuple(read.since),
        )
        object.__setattr__(state, "text", text)
        self._last, self._shards = state, dict(shards)
        return state


def _map_of(shards: Sequence[MapShard], before: ShardMap | None) -> ShardMap:
    """The map of some shards.

    :param before: one that may have most of them.
    :raises ConfigError: they can't be those of a map.
    """
    if before is None or {shard.name for shard in shards} != {shard.name for shard in before.shards}:
        return ShardMap(shards)
    changed = [shard for shard in shards if before.named(shard.name) is not shard]
    if len(shards) > len(before.shards) or len(changed) > _FEW_SHARDS:
        return ShardMap(shards)
    for shard in changed:
        known = before.named(shard.name)
        if known is None or known.ranges != shard.ranges or known.addresses != shard.addresses:
            return ShardMap(shards)  # one by one two shards can't have each other's ranges
        before = before.with_shard(shard)
    return before


def check_readable(state: ClusterState, readable: ClusterState | None = None) -> None:
    """Refuse a state whose text `from_json` would refuse.

    :param readable: one that it doesn't refuse, such as the one before; None: none is known. The shards that both have
        in common aren't checked again: there may be thousands, and in a change one or two are others.
    :raises BadRequest: as `from_json`.
    """
    text = to_json(state)
    if readable is None:
        from_json(text)
        return
    _check_length(text)
    check_bounds(text, _NO_STATE)
    shards = [shard for shard in state.map.shards if readable.map.named(shard.name) is not shard]
    try:
        read = _decoded(_encoded(state, shards))
        if [_shard_of(bytes(raw)) for raw in read.shards] != shards:
            raise BadRequest("the cluster state has shards that would be read as other ones")
        for move in read.moves:
            _move(move, state.map)
    except ConfigError as error:
        raise BadRequest(f"{_NO_STATE}: {plain(str(error))}") from None


def _check_length(text: bytes) -> None:
    if len(text) > settings.MAX_STATE_BYTES:
        raise BadRequest(f"the cluster state has {len(text):,} bytes; one has at most {settings.MAX_STATE_BYTES:,}")


def _decoded(text: bytes) -> _JsonState[msgspec.Raw]:
    """What a text says, if its shards and moves aren't looked at.

    :raises BadRequest: it is no state of this format, or its indexes or moved ranges can't be.
    """
    given = decode_json(text, _JsonFormat, _NO_STATE).format  # first, as other formats have other fields
    if given != FORMAT:
        raise BadRequest(f"the cluster state is of format {given}; this version knows format {FORMAT}")
    read = decode_json(text, _JsonState[msgspec.Raw], _NO_STATE)
    if len(read.indexes) > settings.MAX_INDEXES:
        raise BadRequest(
            f"the cluster state has {len(read.indexes):,} indexes; one has at most {settings.MAX_INDEXES:,}"
        )
    if not all(map(can_be_shown, read.indexes)):
        raise BadRequest("the cluster state has an index whose name has characters that can't be shown")
    if len(set(read.indexes.values())) < len(read.indexes):
        raise BadRequest("the cluster state has two indexes with one id")
    if any(start >= end for start, end, _ in read.since) or any(
        later[0] < earlier[1] for earlier, later in pairwise(read.since)
    ):
        raise BadRequest("the cluster state has ranges in `since` that are empty, overlap, or aren't in order")
    return read


def _encoded(state: ClusterState, shards: Sequence[MapShard]) -> bytes:
    """The text of a state, with these shards in the place of its own."""
    moves = [
        _JsonMove(
            move.number,
            move.source,
            move.target,
            list(move.ranges),
            _pair(move.source_store),
            _pair(move.target_store),
            move.phase,
            move.attempt,
            move.why,
            move.paused,
            _pair(move.origin),
        )
        for move in state.moves
    ]
    return msgspec.json.encode(
        _JsonState(
            FORMAT,
            state.cluster,
            state.epoch,
            [_json_shard(shard) for shard in shards],
            dict(state.indexes),
            state.next_index,
            state.step,
            moves,
            state.next_move,
            list(state.since),
        )
    )


def _json_shard(shard: MapShard) -> _JsonShard:
    return _JsonShard(
        shard.name,
        list(shard.ranges),
        shard.limit,
        shard.host,
        shard.port,
        shard.identity,
        shard.durable,
        None if shard.group is None else _json_group(shard.group),
    )


def _json_group(group: ReplicaGroup) -> _JsonGroup:
    replicas = [
        _JsonReplica(replica.host, replica.port, _pair(replica.store), replica.durable) for replica in group.replicas
    ]
    return _JsonGroup(group.ballot, group.primary, sorted(group.members), replicas, group.least, group.lease)


def _shard_of(text: bytes) -> MapShard:
    """The shard of a JSON text.

    :raises BadRequest: it is none, or its replicas can't be those of a shard that is where it is.
    """
    read = decode_json(text, _JsonShard, f"{_NO_STATE}: shard")
    group = None if read.group is None else _group(read.name, read.group)
    shard = MapShard(read.name, read.ranges, read.size, read.host, read.port, read.identity, read.durable, group)
    if group is not None and shard.led_by_group(group) != shard:
        raise BadRequest(f"the cluster state has shard {shown_value(read.name)} elsewhere than its primary")
    return shard


def _group(name: str, read: _JsonGroup) -> ReplicaGroup:
    """The replicas of a shard.

    :raises BadRequest: they can't be.
    """
    replicas = tuple(
        MapReplica(replica.host, replica.port, replica.store and StoreId(*replica.store), replica.durable)
        for replica in read.replicas
    )
    try:
        return ReplicaGroup(read.ballot, read.primary, frozenset(read.members), replicas, read.least, read.lease)
    except ValueError as error:
        raise BadRequest(f"the cluster state has shard {shown_value(name)} with {plain(str(error))}") from None


def _move(read: _JsonMove, shards: ShardMap) -> RangeMove:
    """A move.

    :raises BadRequest: it is one of shards that aren't there, of no ranges in order, or has no stores though it began.
    """
    ranges = tuple(read.ranges)
    begun = read.phase not in (Phase.PLANNED, Phase.CANCELLED)
    if (
        any(shards.named(name) is None for name in (read.source, read.target))
        or union(ranges) != ranges
        or (begun and (read.source_store is None or read.target_store is None))
    ):
        raise BadRequest(
            f"the cluster state has move {read.number}, from {shown_value(read.source)} to {shown_value(read.target)}, "
            "whose shards, ranges or stores can't be those of a move"
        )
    return RangeMove(
        read.number,
        read.source,
        read.target,
        ranges,
        read.source_store and StoreId(*read.source_store),
        read.target_store and StoreId(*read.target_store),
        read.phase,
        read.attempt,
        of_peer(read.why),
        read.paused,
        read.origin and StoreId(*read.origin),
    )
