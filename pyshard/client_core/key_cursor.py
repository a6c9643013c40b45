"""Where a scan over all keys of an index is: what to ask next, and what an answer leads to. Pure.

Rules:

- Keys come in slot order, over all shards.
- The cursor is a slot and a key, so that a scan goes on where it was when the map changes under it.
- A page that leads nowhere is refused: the scan would never end. Slots never fall, and no key comes twice. Stores have
  orders of their own within a slot, so there the scan remembers what has come: the last `REMEMBERED` keys of that slot
  at the most, since others may have made any number of keys for one slot.
- A range whose keys come too slowly ends the scan with an error: else one shard could keep it from others for ever.
- No page has keys of another range, or leads behind the end of its own; the next range may be another shard's.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise
from typing import Any

from pyshard.client_core.retried_index_walk import outside
from pyshard.errors import BadRequest, Unavailable
from pyshard.model.key_slots import SLOTS, slots_of
from pyshard.model.shard_map import MapShard
from pyshard.model.slot_ranges import range_with, shown
from pyshard.protocol import commands
from pyshard.protocol.pages import decode_keys
from pyshard.settings import settings

#: Keys of one slot that a scan remembers at the most: 10 MiB, which no slot has that nobody has filled on purpose.
REMEMBERED = 100_000


class _Digests:
    """The last digests that were added: half of `REMEMBERED` at the least, and no more than that."""

    def __init__(self) -> None:
        self._newer: set[bytes] = set()
        self._older: set[bytes] = set()

    def has_any(self, digests: set[bytes]) -> bool:
        """Whether one of these is remembered."""
        return not (self._newer.isdisjoint(digests) and self._older.isdisjoint(digests))

    def add(self, digests: set[bytes]) -> None:
        """Remember these."""
        if len(self._newer) + len(digests) > REMEMBERED // 2:
            self._older, self._newer = self._newer, set()
        self._newer |= digests


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
        self._epoch = 0  # of the map by which the last question was asked
        self._come = _Digests()  # of the keys of `slot` that have come
        self._left = _Digests()  # of the places in `slot` where pages ended
        self._given = 0  # keys of the range of `slot` that have come
        self._waited = 0.0  # seconds for which its pages were awaited

    @property
    def ended(self) -> bool:
        """Whether all keys have come."""
        return self.slot >= SLOTS

    def question(self, epoch: int) -> dict[str, object]:
        """The arguments of `Keys` for the next page.

        :param epoch: that of the map which led to the shard.
        """
        self._epoch = epoch
        return {"epoch": epoch, "index": self.index, "slot": self.slot, "after": self.after}

    def took(self, own: MapShard, seconds: float) -> None:
        """Note how long an answer took.

        :raises Unavailable: those for this range have taken too long for the keys in them.
        """
        self._waited += seconds
        if self._waited > settings.WALK_LOOKS + self._given / settings.WALK_PACE:
            raise Unavailable(
                f"shard {own.name!r} gives its keys too slowly: {self._given:,} of the range that has slot "
                f"{self.slot:,} in {self._waited:,.0f} s, expected {settings.WALK_PACE} a second beside "
                f"{settings.WALK_LOOKS:,.0f} s; look at its log and its network, otherwise don't trust this shard"
            )

    def take(self, answer: dict[str, Any], own: MapShard) -> list[bytes]:
        """Move behind a page.

        :param answer: the arguments of the answer to `Keys`.
        :param own: the shard that gave it, by the map whose epoch the question had.
        :return: the page's keys.
        :raises BadRequest: it can't be read, leads nowhere, or goes beyond the shard's range that has the slot.
        :raises OutsideRanges: it goes beyond that range, and the shard has a newer map.
        """
        keys = decode_keys(answer["keys"])
        slots = slots_of(keys, self.index.encode())
        slot, after = answer["end"], answer["after"]
        if answer["more"]:
            slot, after = (slots[-1], keys[-1]) if keys else (self.slot, None)
        place = (slot, after)
        forward = slot > self.slot if after is None else place != (self.slot, self.after) and slot >= self.slot
        if not forward or not self._in_order(keys, slots, place):
            raise BadRequest("the shard's page of keys leads nowhere")
        owned = range_with(self.slot, own.ranges)
        assert owned is not None, "the map led to this shard by the slot"
        if slot > owned[1] or (slot == owned[1] and after is not None):
            raise outside(
                f"the page of keys of shard {own.name!r} goes beyond its range, {shown((owned,))}: to slot {slot:,}",
                self._epoch,
                answer["epoch"],
            )
        self._move(keys, slots, place)
        self._given += len(keys)
        if slot == owned[1]:
            self._given, self._waited = 0, 0.0
        return keys

    def _in_order(self, keys: list[bytes], slots: list[int], place: tuple[int, bytes | None]) -> bool:
        """Whether the page's keys come one behind the other, behind what has come, and before where it leads."""
        slot, after = place
        last = slot if after is not None else slot - 1
        if slots and (slots[0] < self.slot or slots[-1] > last or any(one > next_ for one, next_ in pairwise(slots))):
            return False
        if len(set(keys)) < len(keys):
            return False
        here = _digests(keys, slots, self.slot)
        left = slot == self.slot and after is not None and self._left.has_any({_digest(after)})
        return not left and not self._come.has_any(here)

    def _move(self, keys: list[bytes], slots: list[int], place: tuple[int, bytes | None]) -> None:
        if place[0] != self.slot:
            self._come, self._left = _Digests(), _Digests()
        self.slot, self.after = place
        if self.after is not None:
            self._come.add(_digests(keys, slots, self.slot))
            self._left.add({_digest(self.after)})


def _digests(keys: list[bytes], slots: list[int], slot: int) -> set[bytes]:
    """Of the keys that lie in a slot; long keys would take much room."""
    return {_digest(key) for key, own in zip(keys, slots, strict=True) if own == slot}


def _digest(key: bytes) -> bytes:
    return blake2b(key, digest_size=16).digest()


def key_texts(keys: list[bytes]) -> list[str]:
    """The texts of keys.

    :raises BadRequest: one is not UTF-8.
    """
    try:
        return [key.decode("utf-8") for key in keys]
    except UnicodeDecodeError as error:
        raise BadRequest(f"the shard's page has a key that is not UTF-8: {error}") from None
