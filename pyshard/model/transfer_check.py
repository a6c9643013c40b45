"""Whether shards can give and take what a plan has move, as far as that can be said before. Pure.

What shards have in some ranges is estimated by their histograms: documents by the bars, bytes by the documents.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Annotated

import attrs
import msgspec

from pyshard.errors import BadRequest, shown_value
from pyshard.model.key_slots import hash_to_slot
from pyshard.model.range_moves import RangeMove
from pyshard.model.range_plan import Transfer, slot_count
from pyshard.model.slot_ranges import SlotRanges, common


@attrs.frozen
class ShardLoad:
    """What a shard has.

    :param ranges: the slots that it owns.
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


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # what is computed with them fits into a float
_Hash = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ShardStatistics(msgspec.Struct):
    """Of what a shard says of itself (docs/protocol.md, "Stat") what is looked at here."""

    documents: _Count
    bytes: _Count
    ephemeral: bool
    ranges: list[tuple[_Hash, _Hash]]
    histogram: list[list[_Count]]

    def load(self) -> ShardLoad:
        """What the shard has."""
        ranges = tuple((hash_to_slot(start), hash_to_slot(end)) for start, end in self.ranges)
        return ShardLoad(ranges, self.documents, self.bytes, self.histogram, not self.ephemeral)


def documents_in(load: ShardLoad, ranges: SlotRanges) -> float:
    """About how many documents a shard has in some ranges."""
    found = 0.0
    for (start, end), bars in zip(load.ranges, load.histogram, strict=False):  # it may have other ranges by now
        for number, documents in enumerate(bars):
            bar = start + (end - start) * number // len(bars), start + (end - start) * (number + 1) // len(bars)
            if bar[0] < bar[1]:
                found += documents * slot_count(common((bar,), ranges)) / (bar[1] - bar[0])
    return found


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
