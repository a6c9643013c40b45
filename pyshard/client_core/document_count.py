"""How far a count of an index's documents has come, over all shards in slot order. Pure.

Rules, as with `pyshard.client_core.key_cursor`:

- It goes on where it was when the map changes under it.
- No shard's count leads behind its own range: other shards' documents would be missing.
"""

from __future__ import annotations

from typing import Any

from pyshard.client_core.index_walk_refusals import OutsideRange
from pyshard.errors import BadRequest
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import ShardRange
from pyshard.protocol import commands


class DocumentCount:
    """A count.

    :param index: the index's name; empty for the default one.
    :ivar slot: the first slot that isn't counted yet.
    :ivar documents: what it has come to.
    """

    command = commands.Count
    what = "the documents could not be counted"

    def __init__(self, index: str) -> None:
        self.index = index
        self.slot = 0
        self.documents = 0

    @property
    def ended(self) -> bool:
        """Whether all shards are counted."""
        return self.slot >= SLOTS

    def question(self, epoch: int) -> dict[str, object]:
        """The arguments of `Count` for the next shard.

        :param epoch: that of the map which led to the shard.
        """
        return {"epoch": epoch, "index": self.index, "slot": self.slot}

    def take(self, answer: dict[str, Any], own: ShardRange) -> int:
        """Count a shard.

        :param answer: the arguments of the answer to `Count`.
        :param own: the shard that gave it, by the map whose epoch the question had.
        :return: what the count has come to.
        :raises BadRequest: the answer leads nowhere.
        :raises OutsideRange: it goes beyond the shard's range.
        """
        if answer["end"] <= self.slot or answer["documents"] < 0:
            raise BadRequest("the shard's count of documents leads nowhere")
        if answer["end"] > own.end:
            raise OutsideRange(
                f"the count of shard {own.name!r} goes beyond its range, {own.bounds}: to slot {answer['end']:,}"
            )
        self.slot = answer["end"]
        self.documents += answer["documents"]
        return self.documents
