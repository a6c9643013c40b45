"""The shard map: which shard owns which range of the keyspace. Pure and frozen.

Rules; a set of ranges that breaks one can't become a map:

- ranges are half-open, ``[start, end)``, in slots;
- the ranges of a map cover [0, SLOTS) with no gap and no overlap;
- each name and each address is used once;
- there are at most `settings.MAX_SHARDS`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter

import attrs

from pyshard.compiled import IN_USE, key_leaves
from pyshard.errors import ConfigError
from pyshard.model.address_text import host_and_port
from pyshard.model.key_slots import SLOTS, slot_to_hash
from pyshard.settings import settings


@attrs.frozen
class ShardRange:
    """One shard as the map knows it.

    :param name: unique in its map.
    :param start: the first slot that it owns.
    :param end: the first slot behind those that it owns.
    :param limit: how many bytes it may store.
    :param host: name or IP address at which clients reach it.
    :param port: its TCP port.
    :param identity: the id (hex UUID) of the store that serves it; empty until one was configured.
    :param durable: whether that store keeps its data over a restart.
    """

    name: str
    start: int
    end: int
    limit: int
    host: str
    port: int
    identity: str = ""
    durable: bool = False

    def owns(self, slot: int) -> bool:
        """Whether `slot` lies in [start, end)."""
        return self.start <= slot < self.end

    @property
    def address(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        return host_and_port(self.host, self.port)

    @property
    def bounds(self) -> str:
        """The range as people read it: ``[0.0, 0.5)``."""
        return f"[{slot_to_hash(self.start)}, {slot_to_hash(self.end)})"


def _in_order(ranges: Iterable[ShardRange]) -> tuple[ShardRange, ...]:
    return tuple(sorted(ranges, key=attrgetter("start")))


@attrs.frozen
class ShardMap:
    """A whole keyspace of ranges.

    :param ranges: in any order; kept in slot order.
    :raises ConfigError: they don't cover the keyspace exactly once, or a name or address is used twice.
    """

    ranges: tuple[ShardRange, ...] = attrs.field(converter=_in_order)
    _starts: list[int] = attrs.field(init=False, eq=False, repr=False)
    _by_name: dict[str, ShardRange] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        check_cover(self.ranges)
        object.__setattr__(self, "_starts", [shard.start for shard in self.ranges])
        object.__setattr__(self, "_by_name", {shard.name: shard for shard in self.ranges})

    def lookup(self, slot: int) -> ShardRange:
        """The range that owns `slot` (0 … SLOTS - 1)."""
        return self.ranges[bisect_right(self._starts, slot) - 1]

    def split(self, slots: Sequence[int]) -> dict[str, list[int]]:
        """Which shard owns which of many slots.

        :return: a shard's name → the positions in `slots` of those that it owns, rising. The shards stand in the order
            of their ranges; those that own none are left out.
        """
        if len(slots) < len(self.ranges):  # else a few keys would cost a look at thousands of shards
            few: dict[int, list[int]] = {}
            for position, slot in enumerate(slots):
                few.setdefault(bisect_right(self._starts, slot) - 1, []).append(position)
            return {self.ranges[number].name: few[number] for number in sorted(few)}
        parts = _split(slots, self._starts)
        return {shard.name: positions for shard, positions in zip(self.ranges, parts, strict=True) if positions}

    def named(self, name: str) -> ShardRange | None:
        """The range of the shard called `name`, or None."""
        return self._by_name.get(name)


def split_plainly(slots: Sequence[int], starts: list[int]) -> list[list[int]]:
    """For each range, given their first slots, the positions of the slots that it owns."""
    parts: list[list[int]] = [[] for _ in starts]
    for position, slot in enumerate(slots):
        parts[bisect_right(starts, slot) - 1].append(position)
    return parts


_split = key_leaves.split if IN_USE else split_plainly


def check_cover(ranges: tuple[ShardRange, ...]) -> None:
    """Refuse ranges (in slot order) that are no map.

    :raises ConfigError: it names the shards concerned, what was found and what was expected.
    """
    if not ranges:
        raise ConfigError("shards: found none, expected at least one")
    if len(ranges) > settings.MAX_SHARDS:
        raise ConfigError(f"shards: found {len(ranges):,}, expected at most {settings.MAX_SHARDS:,}")
    names: set[str] = set()
    addresses: dict[str, str] = {}
    reached, before = 0, "the start of the keyspace"
    for shard in ranges:
        if shard.name in names:
            raise ConfigError(f"shard {shard.name!r}: name: found it twice, expected a name for each shard")
        names.add(shard.name)
        if shard.address in addresses:
            raise ConfigError(
                f"shard {shard.name!r}: host and port: found {shard.address}, which is the address of shard "
                f"{addresses[shard.address]!r} too, expected an address for each shard"
            )
        addresses[shard.address] = shard.name
        if not 0 <= shard.start < shard.end <= SLOTS:
            raise ConfigError(
                f"shard {shard.name!r}: start and end: found {slot_to_hash(shard.start)} and "
                f"{slot_to_hash(shard.end)}, expected 0 <= start < end <= 1"
            )
        if shard.start != reached:
            kind = "a gap" if shard.start > reached else "an overlap"
            raise ConfigError(
                f"shard {shard.name!r}: start: found {slot_to_hash(shard.start)}, {kind} after {before}, "
                f"expected {slot_to_hash(reached)}"
            )
        reached, before = shard.end, f"shard {shard.name!r}"
    if reached != SLOTS:
        raise ConfigError(
            f"{before}: end: found {slot_to_hash(reached)}, a gap before the end of the keyspace, expected 1.0"
        )
