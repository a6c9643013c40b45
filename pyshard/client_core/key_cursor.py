"""Where a scan over all keys of an index is: what to ask next, and what an answer leads to. Pure.

Rules:

- Keys come in slot order, over all shards.
- The cursor is a slot and a key, so that a scan goes on where it was when the map changes under it.
- A page that leads nowhere is refused: the scan would never end.
"""

from __future__ import annotations

from typing import Any

from pyshard.errors import BadRequest
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol import commands
from pyshard.protocol.pages import decode_keys


class KeyCursor:
    """A scan's place.

    :param index: the index's name; empty for the default one.
    :ivar slot: the next slot wanted.
    :ivar after: of that slot, only keys after this one; None: all.
    """

    command = commands.Keys
    what = "no page of keys could be had"

    def __init__(self, index: str) -> None:
        self.index = index
        self.slot = 0
        self.after: bytes | None = None

    @property
    def ended(self) -> bool:
        """Whether all keys have come."""
        return self.slot >= SLOTS

    def question(self, epoch: int) -> dict[str, object]:
        """The arguments of `Keys` for the next page.

        :param epoch: that of the map which led to the shard.
        """
        return {"epoch": epoch, "index": self.index, "slot": self.slot, "after": self.after}

    def take(self, answer: dict[str, Any]) -> list[bytes]:
        """Move behind a page.

        :param answer: the arguments of the answer to `Keys`.
        :return: the page's keys.
        :raises BadRequest: it can't be read, or leads nowhere.
        """
        keys = decode_keys(answer["keys"])
        last = slot_of(keys[-1], self.index.encode()) if keys else -1
        end, after = answer["end"], answer["after"]
        if answer["more"] and last >= self.slot and keys[-1] != self.after:
            self.slot, self.after = last, keys[-1]
        elif not answer["more"] and after is None and end > self.slot:
            self.slot, self.after = end, None
        elif not answer["more"] and after is not None and end >= self.slot and after != self.after:
            self.slot, self.after = end, after
        else:
            raise BadRequest("the shard's page of keys leads nowhere")
        return keys


def key_texts(keys: list[bytes]) -> list[str]:
    """The texts of keys.

    :raises BadRequest: one is not UTF-8.
    """
    try:
        return [key.decode("utf-8") for key in keys]
    except UnicodeDecodeError as error:
        raise BadRequest(f"the shard's page has a key that is not UTF-8: {error}") from None
