"""Whether shards can give and take what a plan has move, as far as that can be said before. Pure.

What shards have in some ranges is estimated by their histograms: documents by the bars, bytes by the documents.

A histogram is gone through once, however many transfers there are: a shard may have thousands of bars.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, NamedTuple

import attrs
import msgspec

from pyshard.errors import BadRequest, shown_value
from pyshard.model.key_slots import hash_to_slot
from pyshard.model.range_moves import RangeMove
from pyshard.model.range_plan import Transfer
from pyshard.model.slot_ranges import SlotRanges, union
from pyshard.settings import settings


class _Spread(NamedTuple):
    """How documents lie on the hash line.

    :param bounds: the slots between bars, rising.
    :param below: for each of them, how many documents lie below it.
    """

    bounds: list[int]
    below: list[int]

    def up_to(self, slot: int) -> float:
        """About how many documents lie below a slot: those of a bar are thought to lie evenly in it."""
        place = bisect_right(self.bounds, slot) - 1
        if place < 0:
            return 0
        if place == len(self.bounds) - 1:
            return self.below[-1]
        start, end = self.bounds[place : place + 2]
        return self.below[place] + (self.below[place + 1] - self.below[place]) * (slot - start) / (end - start)


def _spread_of(load: ShardLoad) -> _Spread:
    bounds, below = list[int](), list[int]()
    for (start, end), bars in zip(load.ranges, load.histogram, strict=False):  # it may have other ranges by now
        documents = below[-1] if below else 0
        bounds.append(start)
        below.append(documents)
        for number, more in enumerate(bars, 1):
            bound = start + (end - start) * number // len(bars)
            if bound > bounds[-1]:  # else this bar has no slots
                documents += more
                bounds.append(bound)
                below.append(documents)
    return _Spread(bounds, below)


@attrs.frozen
class ShardLoad:
    """What a shard has.

    :param ranges: the slots that it owns, in order.
    :param documents: how many documents it has.
    :param size: bytes that these count against its limit.
    :param histogram: for each range the documents in each of its parts, which have about the same number of slots.
    :param keeps: whether a restart leaves what it has.
    """

    ranges: SlotRanges
    documents: int
    size: int
    histogram: Sequence[Sequence[int]]
    keeps: bool
    spread: _Spread = attrs.field(init=False, eq=False, repr=False, default=attrs.Factory(_spread_of, takes_self=True))


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # what is computed with them fits into a float
_Hash = Annotated[float, msgspec.Meta(ge=0, le=1)]


_Bars = Annotated[list[_Count], msgspec.Meta(max_length=settings.HISTOGRAM_BARS)]
_OfEachRange = msgspec.Meta(max_length=settings.MAX_SHARD_RANGES)


class ShardStatistics(msgspec.Struct):
    """Of what a shard says of itself (docs/protocol.md, "Stat") what is looked at here.

    Its ranges are in order. It has no more of them, and no more bars, than a shard has.
    """

    documents: _Count
    bytes: _Count
    ephemeral: bool
    ranges: Annotated[list[tuple[_Hash, _Hash]], _OfEachRange]
    histogram: Annotated[list[_Bars], _OfEachRange]

    def __post_init__(self) -> None:
        bounds = [bound for each in self.ranges for bound in each]
        if any(after < before for before, after in pairwise(bounds)):
            raise ValueError("ranges: found some that overlap, or aren't in order")

    def load(self) -> ShardLoad:
        """What the shard has."""
        ranges = tuple((hash_to_slot(start), hash_to_slot(end)) for start, end in self.ranges)
        return ShardLoad(ranges, self.documents, self.bytes, self.histogram, not self.ephemeral)


def documents_in(load: ShardLoad, ranges: SlotRanges) -> float:
    """About how many documents a shard has in some ranges."""
    return sum(load.spread.up_to(end) - load.spread.up_to(start) for start, end in union(ranges))


def bytes_in(load: ShardLoad, ranges: SlotRanges) -> float:
    """About how many bytes a shard has in some ranges, as they count against its limit."""
    return load.size * documents_in(load, ranges) / load.documents if load.documents else 0.0


def on_their_way(moves: Iterable[RangeMove], targets: Container[str]) -> list[Transfer]:
    """What shards are to get already: moves that are planned or under way, whose records they don't count yet.

    :param targets: the names of those shards.
    """
    return [
        Transfer(move.source, move.target, move.ranges)
        for move in moves
        if not move.has_ended and move.target in targets
    ]


def check_transfers(transfers: Sequence[Transfer], loads: Mapping[str, ShardLoad], limits: Mapping[str, int]) -> None:
    """Refuse a plan that can't be carried out.

    :param loads: what each shard has that gives or takes something.
    :param limits: how many bytes each shard of the map may store. What a shard says of that itself may be older.
    :raises BadRequest: a shard isn't in the map (any more); or a target has no room for what it is to get, or would
        lose it at a restart, unlike the source.
    """
    coming: dict[str, float] = {}
    for transfer in transfers:
        for name in (transfer.source, transfer.target):
            if name not in limits:
                raise has_left(name)
        source, target = loads[transfer.source], loads[transfer.target]
        if source.keeps and not target.keeps:
            raise BadRequest(
                f"move: shard {transfer.target!r} keeps its documents in memory, and {transfer.source!r} on a disk; "
                f"start {transfer.target!r} with --data-dir, and try again"
            )
        coming[transfer.target] = coming.get(transfer.target, 0.0) + bytes_in(source, transfer.ranges)
    for name, size in coming.items():
        free = limits[name] - loads[name].size
        if size > free:
            raise BadRequest(
                f"move: shard {name!r} has room for {max(0, free):,} bytes, and is to get about {size:,.0f}; "
                "raise its size in the config, or give it less"
            )


def has_left(name: str) -> BadRequest:
    """The error for a shard of a plan that the map doesn't have any more."""
    return BadRequest(f"shard {shown_value(name)} has left the cluster meanwhile; look at the plan again")
