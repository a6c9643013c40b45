"""The shard map: which shard owns which ranges of the keyspace. Pure and frozen.

Rules; a set of shards that breaks one can't become a map:

- a shard owns one range, several, or none;
- ranges are half-open, ``[start, end)``, in slots;
- the ranges of all shards cover [0, SLOTS) with no gap and no overlap;
- each name and each address is used once, by shards and by replicas of them, and can be shown as it is;
- a shard with replicas is where its primary is (`pyshard.model.replica_group`);
- there are at most `settings.MAX_SHARDS`, with at most `settings.MAX_SHARD_RANGES` each, and `settings.MAX_RANGES` in
  all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from copy import copy
from functools import partial

import attrs

from pyshard.compiled import IN_USE, key_leaves
from pyshard.errors import ConfigError, shown_value
from pyshard.message_texts import can_be_shown
from pyshard.model.address_text import host_and_port
from pyshard.model.key_slots import SLOTS, slot_to_hash
from pyshard.model.replica_group import ReplicaGroup
from pyshard.model.slot_ranges import SlotRanges, shown
from pyshard.settings import settings


def _joined(ranges: Iterable[tuple[int, int]]) -> SlotRanges:
    """Ranges in order, of which those that touch are one. What is wrong with them stays as it is."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and found[-1][0] < found[-1][1] == start < end:
            found[-1] = found[-1][0], end
        else:
            found.append((start, end))
    return tuple(found)


@attrs.frozen
class MapShard:
    """One shard as the map knows it.

    :param name: unique in its map.
    :param ranges: the slots that it owns: pairs of the first slot, and that behind the last one. They may be given in
        any order; they are kept in order, and those that touch are one.
    :param limit: how many bytes it may store.
    :param host: name or IP address at which clients reach it.
    :param port: its TCP port.
    :param identity: the id (hex UUID) of the store that serves it; empty until one was configured.
    :param durable: whether that store keeps its data over a restart.
    :param group: its replicas; None: it has none beside this one.
    """

    name: str
    ranges: SlotRanges = attrs.field(converter=_joined)
    limit: int
    host: str
    port: int
    identity: str = ""
    durable: bool = False
    group: ReplicaGroup | None = None

    @property
    def address(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        return host_and_port(self.host, self.port)

    @property
    def lease(self) -> float | None:
        """Seconds of the lease of its replicas; None: it has none beside this one."""
        return None if self.group is None else self.group.lease

    @property
    def places(self) -> list[tuple[str, int]]:
        """Host and port of each of its replicas."""
        return [(each.host, each.port) for each in ((self,) if self.group is None else self.group.replicas)]

    @property
    def addresses(self) -> list[str]:
        """The address of each of its replicas."""
        return [host_and_port(host, port) for host, port in self.places]

    @property
    def stores(self) -> dict[str, str]:
        """Address → id of the store there, for it and its replicas; of those whose store isn't known nothing."""
        known = {self.address: self.identity} if self.identity else {}
        replicas = () if self.group is None else self.group.replicas
        return known | {replica.address: replica.store.identity for replica in replicas if replica.store is not None}

    def led_by_group(self, group: ReplicaGroup) -> MapShard:
        """The shard with other replicas; it is where their primary is."""
        primary = group.at(group.primary)
        assert primary is not None, "a group's primary is one of its replicas"
        identity = "" if primary.store is None else primary.store.identity
        return attrs.evolve(
            self, host=primary.host, port=primary.port, identity=identity, durable=primary.durable, group=group
        )

    @property
    def bounds(self) -> str:
        """The ranges as people read them: ``[0.0, 0.5)``; of many the first ones."""
        return shown(self.ranges)


def _in_order(shards: Iterable[MapShard]) -> tuple[MapShard, ...]:
    return tuple(sorted(shards, key=lambda shard: (shard.ranges[0] if shard.ranges else (SLOTS, SLOTS), shard.name)))


@attrs.frozen
class ShardMap:
    """All shards of a cluster, which own the whole keyspace.

    :param shards: in any order; kept in the order of their first slots. Those that own none come last, by name.
    :ivar starts: the first slot of each range, rising from 0.
    :ivar owners: the shard that owns it; one with several ranges stands here as often.
    :raises ConfigError: they don't cover the keyspace exactly once, or a name or address is used twice.
    """

    shards: tuple[MapShard, ...] = attrs.field(converter=_in_order)
    starts: list[int] = attrs.field(init=False, eq=False, repr=False)
    owners: list[MapShard] = attrs.field(init=False, eq=False, repr=False)
    _numbers: list[int] = attrs.field(init=False, eq=False, repr=False)  # of the owners, by their places in `shards`
    _by_name: dict[str, MapShard] = attrs.field(init=False, eq=False, repr=False)
    _by_store: dict[str, tuple[str, ...]] | None = attrs.field(init=False, eq=False, repr=False, default=None)  # names

    def __attrs_post_init__(self) -> None:
        _check_names(self.shards)
        ranges = [(start, end, number) for number, shard in enumerate(self.shards) for start, end in shard.ranges]
        ranges.sort()
        _check_cover([(start, end, self.shards[number]) for start, end, number in ranges])
        object.__setattr__(self, "starts", [start for start, _, _ in ranges])
        object.__setattr__(self, "owners", [self.shards[number] for _, _, number in ranges])
        object.__setattr__(self, "_numbers", [number for _, _, number in ranges])
        object.__setattr__(self, "_by_name", {shard.name: shard for shard in self.shards})

    def lookup(self, slot: int) -> MapShard:
        """The shard that owns `slot` (0 … SLOTS - 1)."""
        return self.owners[bisect_right(self.starts, slot) - 1]

    def split(self, slots: Sequence[int]) -> dict[str, list[int]]:
        """Which shard owns which of many slots.

        :return: a shard's name → the positions in `slots` of those that it owns, rising. The shards stand in their
            order; those that own none are left out.
        """
        if len(slots) < len(self.starts):  # else a few keys would cost a look at thousands of shards
            few: dict[int, list[int]] = {}
            for position, slot in enumerate(slots):
                few.setdefault(self._numbers[bisect_right(self.starts, slot) - 1], []).append(position)
            return {self.shards[number].name: few[number] for number in sorted(few)}
        parts = _split(slots, self.starts, self._numbers, len(self.shards))
        return {shard.name: positions for shard, positions in zip(self.shards, parts, strict=True) if positions}

    def named(self, name: str) -> MapShard | None:
        """The shard called `name`, or None."""
        return self._by_name.get(name)

    def holders(self, identity: str) -> list[MapShard]:
        """The shards that have the store with this id, at any of their addresses."""
        if self._by_store is None:  # of a new map nobody may ask it
            found: dict[str, tuple[str, ...]] = {}
            for shard in self.shards:
                _add_stores(found, shard)
            object.__setattr__(self, "_by_store", found)
        assert self._by_store is not None, "it was just made"
        return [self._by_name[name] for name in self._by_store.get(identity, ())]

    def with_shard(self, shard: MapShard) -> ShardMap:
        """The map with another shard in the place of the one of its name.

        Where that has the same ranges and addresses, such as with another store, nothing is checked anew: a cluster of
        thousands of shards begins with as many such changes.

        :raises ConfigError: as for a new map.
        """
        known = self._by_name[shard.name]
        if known.ranges != shard.ranges or known.addresses != shard.addresses:
            return ShardMap(shard if each is known else each for each in self.shards)
        changed = copy(self)
        put = partial(object.__setattr__, changed)
        put("shards", tuple(shard if each is known else each for each in self.shards))
        put("owners", [shard if each is known else each for each in self.owners])
        put("_by_name", self._by_name | {shard.name: shard})
        if self._by_store is not None:
            holders = self._by_store.copy()
            for identity in set(known.stores.values()):
                others = tuple(name for name in holders.pop(identity) if name != shard.name)
                if others:
                    holders[identity] = others
            put("_by_store", _add_stores(holders, shard))
        return changed


def _add_stores(holders: dict[str, tuple[str, ...]], shard: MapShard) -> dict[str, tuple[str, ...]]:
    """Note the stores of a shard: id → names of the shards that have it."""
    for identity in shard.stores.values():
        if shard.name not in holders.setdefault(identity, ()):
            holders[identity] += (shard.name,)
    return holders


def split_plainly(slots: Sequence[int], starts: list[int], numbers: list[int], shards: int) -> list[list[int]]:
    """For each shard the positions of the slots that it owns.

    :param starts: the first slot of each range, rising from 0.
    :param numbers: the shard that owns it, from 0.
    :param shards: how many there are.
    """
    parts: list[list[int]] = [[] for _ in range(shards)]
    owned = [parts[number] for number in numbers]  # each range's, which is its shard's
    for position, slot in enumerate(slots):
        owned[bisect_right(starts, slot) - 1].append(position)
    return parts


_split = key_leaves.split if IN_USE else split_plainly


def _check_names(shards: Sequence[MapShard]) -> None:
    """Refuse shards whose number, names or addresses can't be those of a map.

    :raises ConfigError: it names the shards concerned, what was found and what was expected.
    """
    if not shards:
        raise ConfigError("shards: found none, expected at least one")
    if len(shards) > settings.MAX_SHARDS:
        raise ConfigError(f"shards: found {len(shards):,}, expected at most {settings.MAX_SHARDS:,}")
    _check_characters(shards)
    names: set[str] = set()
    addresses: dict[str, str] = {}
    for shard in shards:
        if shard.name in names:
            raise ConfigError(f"shard {shard.name!r}: name: found it twice, expected a name for each shard")
        names.add(shard.name)
        for address in shard.addresses:
            if address in addresses:
                raise ConfigError(
                    f"shard {shard.name!r}: host and port: found {address}, which is the address of shard "
                    f"{addresses[address]!r} too, expected an address for each shard"
                )
            addresses[address] = shard.name
        if len(shard.ranges) > settings.MAX_SHARD_RANGES:
            raise ConfigError(
                f"shard {shard.name!r}: ranges: found {len(shard.ranges):,}, expected at most "
                f"{settings.MAX_SHARD_RANGES:,}"
            )


def _check_characters(shards: Sequence[MapShard]) -> None:
    """Refuse names and hosts that could do something to a terminal which shows them.

    :raises ConfigError: as `_check_names`.
    """
    hosts = [each.host for shard in shards if shard.group is not None for each in shard.group.replicas]
    if can_be_shown("".join([shard.name for shard in shards] + [shard.host for shard in shards] + hosts)):
        return
    for shard in shards:
        for what, text in [("name", shard.name), *(("host", host) for host, _ in shard.places)]:
            if not can_be_shown(text):
                raise ConfigError(
                    f"shard {shown_value(shard.name)}: {what}: found {shown_value(text)}, expected characters that can "
                    "be shown"
                )


def _check_cover(ranges: Sequence[tuple[int, int, MapShard]]) -> None:
    """Refuse ranges that don't cover the keyspace exactly once.

    :param ranges: all ranges and their owners, in order.
    :raises ConfigError: as `_check_names`.
    """
    if not ranges:
        raise ConfigError("ranges of all shards: found none, expected them to cover the keyspace, from 0 to 1")
    if len(ranges) > settings.MAX_RANGES:
        raise ConfigError(f"ranges of all shards: found {len(ranges):,}, expected at most {settings.MAX_RANGES:,}")
    reached, before = 0, "the start of the keyspace"
    for start, end, shard in ranges:
        if not 0 <= start < end <= SLOTS:
            raise ConfigError(
                f"{_range_of(shard, start, end)}: start and end: found {slot_to_hash(start)} and {slot_to_hash(end)}, "
                "expected 0 <= start < end <= 1"
            )
        if start != reached:
            kind = "a gap" if start > reached else "an overlap"
            raise ConfigError(
                f"{_range_of(shard, start, end)}: start: found {slot_to_hash(start)}, {kind} after {before}, "
                f"expected {slot_to_hash(reached)}"
            )
        reached, before = end, _range_of(shard, start, end)
    if reached != SLOTS:
        raise ConfigError(
            f"{before}: end: found {slot_to_hash(reached)}, a gap before the end of the keyspace, expected 1.0"
        )


def _range_of(shard: MapShard, start: int, end: int) -> str:
    """How messages call one of a shard's ranges."""
    one = f", range [{slot_to_hash(start)}, {slot_to_hash(end)})" if len(shard.ranges) > 1 else ""
    return f"shard {shard.name!r}{one}"
