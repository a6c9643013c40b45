"""Keys for tests of bulk verbs, by the shard that they go to."""

from __future__ import annotations

from pyshard.model.key_slots import SLOTS, slot_of


def keys_by_shard(count: int) -> tuple[list[str], list[str]]:
    """So many keys of each of two shards."""
    keys = list(map(str, range(20 * count)))
    low = [key for key in keys if slot_of(key.encode()) < SLOTS / 2]
    high = [key for key in keys if slot_of(key.encode()) >= SLOTS / 2]
    return low[:count], high[:count]
