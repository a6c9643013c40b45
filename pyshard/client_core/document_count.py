"""How far a count of an index's documents has come, over all shards. Pure.

Rules:

- A shard counts all of its ranges at once, and is counted once.
- The count goes on where it was when the map changes under it. What was counted of a shard that has other ranges by now
  counts no more where another shard's ranges overlap. So each slot is counted once.
- A shard's count is of the ranges that it has by the map: else other shards' documents would be missing, or come twice.
"""

from __future__ import annotations

from typing import Any

from pyshard.client_core.retried_index_walk import outside
from pyshard.errors import BadRequest
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard
from pyshard.model.slot_ranges import SlotRanges, common, range_with, shown, union
from pyshard.protocol import commands
from pyshard.protocol.pages import decode_ranges


class DocumentCount:
    """A count.

    :param index: the index's name; empty for the default one.
    :ivar slot: the first slot that isn't counted yet.
    """

    command = commands.Count
    what = "the documents could not be counted"

    def __init__(self, index: str) -> None:
        self.index = index
        self.slot = 0
        self._epoch = 0  # of the map by which the last question was asked
        self._counted: dict[SlotRanges, int] = {}  # of each shard: its ranges, and how many documents lie there
        self._covered: SlotRanges = ()  # all of these ranges

    @property
    def documents(self) -> int:
        """What the count has come to."""
        return sum(self._counted.values())

    @property
    def ended(self) -> bool:
        """Whether all shards are counted."""
        return self.slot >= SLOTS

    def question(self, epoch: int) -> dict[str, object]:
        """The arguments of `Count` for the next shard.

        :param epoch: that of the map which led to the shard.
        """
        self._epoch = epoch
        return {"epoch": epoch, "index": self.index, "slot": self.slot}

    def took(self, own: MapShard, seconds: float) -> None:
        """See `Walk`; each shard gives one answer, within the deadline of that."""

    def take(self, answer: dict[str, Any], own: MapShard) -> None:
        """Count a shard.

        :param answer: the arguments of the answer to `Count`.
        :param own: the shard that gave it, by the map whose epoch the question had.
        :raises BadRequest: the answer can't be read, leads nowhere, or is of other ranges than the shard's.
        :raises OutsideRanges: it is of other ranges, and the shard has a newer map.
        """
        ranges = decode_ranges(answer["ranges"])
        if range_with(self.slot, ranges) is None or answer["documents"] < 0:
            raise BadRequest("the shard's count of documents leads nowhere")
        if ranges != own.ranges:
            raise outside(
                f"the count of shard {own.name!r} is of other ranges than its own, {own.bounds}: of {shown(ranges)}",
                self._epoch,
                answer["epoch"],
            )
        if common(self._covered, ranges):
            self._counted = {other: count for other, count in self._counted.items() if not common(other, ranges)}
            self._covered = union(*self._counted)
        self._counted[ranges] = answer["documents"]
        self._covered = union(self._covered, ranges)
        start, end = self._covered[0]
        self.slot = 0 if start else end
