"""Which shard owns which part of the keyspace. Pure and frozen.

Rules kept here: ranges are half-open, ``[start, end)``, in slots; the ranges of a map cover [0, SLOTS) with no
gap and no overlap; names and addresses are used once. A set of ranges that breaks a rule can't become a map.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from itertools import count, repeat

import attrs

from pyshard.errors import ConfigError
from pyshard.model.keyspace import SLOTS, slot_to_hash


@attrs.frozen
class ShardRange:
    """One shard as the map knows it.

    :param name: unique in its map.
    :param start: first slot that it owns.
    :param end: first slot after those it owns.
    :param limit: bytes that it may store.
    :param host: name or IP address under which clients reach it.
    :param port: its TCP port.
    :param identity: the id (hex UUID) of the store that serves it; empty until one has been configured.
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
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def bounds(self) -> str:
        """The range as people read it: ``[0.0, 0.5)``."""
        return f"[{slot_to_hash(self.start)}, {slot_to_hash(self.end)})"


def _in_order(ranges: Iterable[ShardRange]) -> tuple[ShardRange, ...]:
    return tuple(sorted(ranges, key=lambda one: one.start))


@attrs.frozen
class ShardMap:
    """A whole keyspace of ranges.

    :param ranges: in any order; kept in slot order.
    :raises ConfigError: when they don't cover the keyspace exactly once, or a name or address is used twice.
    """

    ranges: tuple[ShardRange, ...] = attrs.field(converter=_in_order)
    _starts: list[int] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        check_cover(self.ranges)
        object.__setattr__(self, "_starts", [one.start for one in self.ranges])

    def lookup(self, slot: int) -> ShardRange:
        """The range that owns `slot` (0 … SLOTS - 1)."""
        return self.ranges[bisect_right(self._starts, slot) - 1]

    def split(self, slots: Sequence[int]) -> dict[str, list[int]]:
        """Which shard owns which of many slots.

        :return: a shard's name → the places in `slots` of those that it owns, rising: keys are applied in that order.
        """
        parts: defaultdict[int, list[int]] = defaultdict(list)
        owners = map(bisect_right, repeat(self._starts), slots)
        deque(map(list.append, map(parts.__getitem__, owners), count()), maxlen=0)  # each place to those of its owner
        return {self.ranges[number - 1].name: parts[number] for number in sorted(parts)}

    def named(self, name: str) -> ShardRange | None:
        """The range of the shard called `name`, or None."""
        return next((one for one in self.ranges if one.name == name), None)


def check_cover(ranges: tuple[ShardRange, ...]) -> None:
    """Refuse ranges (in slot order) that are no map.

    :raises ConfigError: it names the shards concerned, what was found and what was expected.
    """
    if not ranges:
        raise ConfigError("shards: found none, expected at least one")
    names: set[str] = set()
    addresses: dict[str, str] = {}
    reached, before = 0, "the start of the keyspace"
    for one in ranges:
        if one.name in names:
            raise ConfigError(f"shard {one.name!r}: name: found it twice, expected a name for each shard")
        names.add(one.name)
        if one.address in addresses:
            raise ConfigError(
                f"shard {one.name!r}: host and port: found {one.address}, which is the address of shard "
                f"{addresses[one.address]!r} too, expected an address for each shard"
            )
        addresses[one.address] = one.name
        if not 0 <= one.start < one.end <= SLOTS:
            raise ConfigError(
                f"shard {one.name!r}: start and end: found {slot_to_hash(one.start)} and {slot_to_hash(one.end)}, "
                "expected 0 <= start < end <= 1"
            )
        if one.start != reached:
            kind = "a gap" if one.start > reached else "an overlap"
            raise ConfigError(
                f"shard {one.name!r}: start: found {slot_to_hash(one.start)}, {kind} after {before}, "
                f"expected {slot_to_hash(reached)}"
            )
        reached, before = one.end, f"shard {one.name!r}"
    if reached != SLOTS:
        raise ConfigError(
            f"{before}: end: found {slot_to_hash(reached)}, a gap before the end of the keyspace, expected 1.0"
        )
