"""The cluster state: shard map, epoch, list of indexes and moves of ranges, in one frozen value. Pure.

The bootstrap owns it, keeps it in a file and pushes it to every shard. Clients fetch it.

Rules:

- a change of the map or of indexes gives a state of the next epoch. Any other one is a step within the epoch, of which
  no client has to know: what a move does before it is committed. Of two states the one of the later epoch is newer, and
  within an epoch the one of the later step;
- another primary of a shard is a change of the map, and its ranges have the new epoch as their *since*, too; any other
  change of its replicas is a step;
- what is committed of a move changes the map in the same state. Its slots have the new epoch as their *since*: whoever
  routed by an older one doesn't know who had them in between;
- an index gets an id that no other index of the cluster ever had, so a name that is dropped and created again never
  brings old documents back;
- its text is that of `pyshard.model.cluster_state_json`, in the file and on the wire.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from pyshard.errors import BadRequest, ConfigError, IndexExists, IndexNotFound, InvalidIndexName, shown_value
from pyshard.model.move_requests import planned_moves
from pyshard.model.move_stores import with_next_group, without_store
from pyshard.model.moved_ranges import MovedRanges, moved_since
from pyshard.model.plain_values import plain_key
from pyshard.model.range_moves import Phase, RangeMove, StoreId
from pyshard.model.range_plan import Transfer
from pyshard.model.replica_group import MapReplica, ReplicaGroup, new_group
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.model.slot_ranges import union, without
from pyshard.settings import settings

#: The id of the default index, which always exists and has the empty name.
DEFAULT_INDEX = 0

_NAME = re.compile(r"[\w.-]+")
_NAME_RULE = f"1 to {settings.MAX_NAME} letters and digits of any script, '_', '.' and '-'"


def check_index_name(name: str) -> str:
    """The name itself, if it can be an index's; of a subclass, as a plain str.

    It has ``_``, ``.``, ``-``, and letters and digits of any script: Unicode's categories L and N, no combining marks.

    :raises InvalidIndexName: it can't; the message says what a name can be.
    """
    text = plain_key(name)
    if text is None:
        raise InvalidIndexName(f"index name: found {shown_value(name)}, expected a str of {_NAME_RULE}")
    if len(text) > settings.MAX_NAME or not _NAME.fullmatch(text):
        long = f" of {len(text):,} characters" if len(text) > settings.MAX_NAME else ""
        raise InvalidIndexName(f"index name{long} {shown_value(text)}: expected {_NAME_RULE}")
    return text


def _frozen(given: Mapping[str, int]) -> Mapping[str, int]:
    return MappingProxyType(dict(given))


@attrs.frozen
class ClusterState:
    """What a cluster is at one epoch.

    :param cluster: the cluster's id (hex UUID), which its bootstrap made at its first start.
    :param epoch: 1 at first, one more with every change of the map or of indexes.
    :param map: the shards and their ranges.
    :param indexes: name → id of each named index.
    :param next_index: the id that the next index will get.
    :param step: how many changes there were within the epoch.
    :param moves: those that are planned, under way, or not done with, in the order in which they were planned.
    :param next_move: the number that the next move will get.
    :param since: the ranges that have moved, and the epoch of the last move of each.
    :ivar text: its JSON text, once that was made (`pyshard.model.cluster_state_json.to_json`).
    """

    cluster: str
    epoch: int
    map: ShardMap
    indexes: Mapping[str, int] = attrs.field(factory=dict, converter=_frozen)
    next_index: int = DEFAULT_INDEX + 1
    step: int = 0
    moves: tuple[RangeMove, ...] = ()
    next_move: int = 1
    since: MovedRanges = ()
    text: bytes | None = attrs.field(init=False, default=None, eq=False, repr=False)

    @property
    def order(self) -> tuple[int, int]:
        """Of two states the newer one has the larger."""
        return self.epoch, self.step

    @property
    def shown_order(self) -> str:
        """It as messages show it."""
        return f"epoch {self.epoch}" + (f", step {self.step}" if self.step else "")

    def index_id(self, name: str) -> int:
        """The id of an index. The empty name is the default index's.

        :raises IndexNotFound: there is no index of that name at this epoch.
        """
        if not name:
            return DEFAULT_INDEX
        try:
            return self.indexes[name]
        except KeyError:
            raise index_not_found(name) from None

    def with_index(self, name: str) -> ClusterState:
        """The next state, with a new empty index.

        :raises IndexExists: there is an index of that name.
        :raises InvalidIndexName: as `check_index_name`, or the cluster has `settings.MAX_INDEXES` already.
        """
        name = check_index_name(name)
        if name in self.indexes:
            raise IndexExists(f"index {name!r} exists already; use it, or drop it first")
        if len(self.indexes) >= settings.MAX_INDEXES:
            raise InvalidIndexName(f"index {name!r}: the cluster has {len(self.indexes)} indexes, the most it may have")
        indexes = {**self.indexes, name: self.next_index}
        return self._of_next_epoch(indexes=indexes, next_index=self.next_index + 1)

    def without_index(self, name: str) -> ClusterState:
        """The next state, without the index.

        :raises IndexNotFound: there is no index of that name.
        """
        if name not in self.indexes:
            raise index_not_found(name)
        indexes = {other: number for other, number in self.indexes.items() if other != name}
        return self._of_next_epoch(indexes=indexes)

    def with_identity(self, name: str, identity: str, durable: bool) -> ClusterState:
        """The next state, in which the shard called `name` is served by the store with that id.

        Its moves that began with another store are cancelled, unless they are decided: what their target said of itself
        may be true no more, and must not be committed.
        """
        shard = self.map.named(name)
        assert shard is not None, "the shard is one of the map's"
        state = self._of_next_epoch(map=self.map.with_shard(attrs.evolve(shard, identity=identity, durable=durable)))
        return attrs.evolve(state, moves=tuple(without_store(move, name, identity) for move in self.moves))

    def with_group(self, name: str, group: ReplicaGroup) -> ClusterState:
        """The next state, in which a shard has other replicas, or another one of them leads.

        Its moves go on with a primary that was a member; with any other store they are cancelled, unless they are
        decided; see `pyshard.model.move_stores`.
        """
        shard = self.map.named(name)
        assert shard is not None, "the shard is one of the map's"
        led = shard.led_by_group(group)
        shards = self.map.with_shard(led)
        moves = tuple(with_next_group(move, shard, led) for move in self.moves)
        if (led.address, led.identity) == (shard.address, shard.identity):
            return attrs.evolve(self, map=shards, moves=moves, step=self.step + 1)
        since = moved_since(self.since, shard.ranges, self.epoch + 1) if shard.ranges else self.since
        return self._of_next_epoch(map=shards, since=since, moves=moves)

    def with_addresses(self, configured: ShardMap) -> ClusterState:
        """The state with the addresses, replicas and limits of a config: this one if nothing differs, else the next.

        Shards and ranges stay as they are, whatever the config says of them. So does who leads, and who is a member.

        :raises ConfigError: two shards would have one address, or a replica would go that is a member.
        """
        shards = tuple(placed_as(shard, configured.named(shard.name)) for shard in self.map.shards)
        return self if shards == self.map.shards else self._with_shards(shards)

    def with_shards(
        self, added: Iterable[MapShard], updated: Iterable[MapShard], removed: Iterable[str]
    ) -> ClusterState:
        """The next state, with other shards, but with the ranges as they are.

        The cancelled moves of those that go are forgotten. Who has something left of such a move gives that up when the
        state doesn't have the move any more, as when it is cancelled.

        :param added: they own nothing.
        :param updated: those whose address or limit changes, as they are to be.
        :param removed: names of shards that own nothing, and have no part in a move but in cancelled ones.
        :raises ConfigError: two shards would have one name or address, or there would be too many.
        """
        leaving, changed = set(removed), {shard.name: shard for shard in updated}
        stay = [changed.get(shard.name, shard) for shard in self.map.shards if shard.name not in leaving]
        moves = tuple(move for move in self.moves if not leaving & {move.source, move.target})
        return attrs.evolve(self._with_shards([*stay, *added]), moves=moves)

    def with_moves(self, transfers: Sequence[Transfer]) -> ClusterState:
        """The next state, with these moves planned.

        :raises BadRequest: as `pyshard.model.move_requests.planned_moves`.
        """
        layout = {shard.name: shard.ranges for shard in self.map.shards}
        planned = planned_moves(transfers, self.next_move, layout, self.moves)
        moves, next_move = (*self.moves, *planned), self.next_move + len(planned)
        return attrs.evolve(self, step=self.step + 1, moves=moves, next_move=next_move)

    def with_move(self, move: RangeMove) -> ClusterState:
        """The next state, in which a move has become what it is now; a committed one changes the map.

        :raises ConfigError: the shards would have too many ranges.
        """
        moves = tuple(move if known.number == move.number else known for known in self.moves)
        assert moves != self.moves, "it is one of these, and has changed"
        if move.phase is not Phase.COMMITTED:
            return attrs.evolve(self, step=self.step + 1, moves=moves)
        owned = {shard.name: shard.ranges for shard in self.map.shards}
        owned[move.source] = without(owned[move.source], move.ranges)
        owned[move.target] = union(owned[move.target], move.ranges)
        shards = [attrs.evolve(shard, ranges=owned[shard.name]) for shard in self.map.shards]
        since = moved_since(self.since, move.ranges, self.epoch + 1)
        return self._of_next_epoch(moves=moves, map=ShardMap(shards), since=since)

    def without_move(self, number: int) -> ClusterState:
        """The next state, without a move that has ended, of which nothing is left to do."""
        moves = tuple(move for move in self.moves if move.number != number)
        return attrs.evolve(self, step=self.step + 1, moves=moves)

    def _with_shards(self, shards: Iterable[MapShard]) -> ClusterState:
        return self._of_next_epoch(map=ShardMap(shards))

    def _of_next_epoch(self, **changed: Any) -> ClusterState:  # of any field
        return attrs.evolve(self, epoch=self.epoch + 1, step=0, **changed)


def placed_as(shard: MapShard, configured: MapShard | None) -> MapShard:
    """A shard with the addresses, replicas and limit that a config has for it, if it has any.

    Who leads and who is a member stays as it is. So does the group of a shard that had replicas once: its store has
    promised to go by it.

    :raises ConfigError: its replicas can't become those of the config.
    """
    if configured is None:
        return shard
    limited = attrs.evolve(shard, limit=configured.limit)
    if shard.group is None and configured.group is None:
        return attrs.evolve(limited, host=configured.host, port=configured.port)
    try:
        return limited.led_by_group(_group_as(shard, configured))
    except BadRequest as error:
        raise ConfigError(f"shard {shard.name!r}: {error}") from None


def _group_as(shard: MapShard, configured: MapShard) -> ReplicaGroup:
    """The replicas of a shard when they are those of a config.

    :raises BadRequest: some that are members would go.
    """
    store = StoreId(shard.identity, "") if shard.identity else None
    place = MapReplica(configured.host, configured.port)
    wanted = configured.group or new_group([place], lease=settings.LEASE if shard.group is None else shard.group.lease)
    now = shard.group or new_group([MapReplica(shard.host, shard.port, store, shard.durable)], lease=wanted.lease)
    return now.with_replicas(wanted.replicas, wanted.least, wanted.lease)


def index_not_found(name: str) -> IndexNotFound:
    """The error for an index that doesn't exist, with the same words on shard, bootstrap and client."""
    shown = repr(name[: settings.MAX_NAME])  # a batch may name anything, and each of its operations gets this answer
    return IndexNotFound(f"there is no index {shown}; create it first")
