"""A page of keys out of a walk over what lies in some slots, for stores of every kind. Pure.

Rules:

- A page has a bounded number of keys, a bounded number of bytes, and looks at a bounded number of entries. So what
  nobody may see any more, such as a million keys that have expired, can't make a page long in coming. A long key counts
  as several entries. Bytes of records that a store looks at on the way are bounded, too (`LookBudget`).
- A page that has looked at enough says where it stopped. Nothing is left out: the next one begins there.
- It stops between two slots if it can, and within a slot only where that alone has as many entries again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from pyshard.storage.interface import Page, PageBounds
from pyshard.storage.look_budget import LookBudget

#: One entry that a walk comes by: its slot; its key, or None where a store has forgotten the key of what was removed;
#: whether the key is to be in the page, which it isn't if it has expired, or was removed.
Step: TypeAlias = tuple[int, bytes | None, bool]


#: Bytes of a key, for each of which it counts as one more entry.
KEY_STEP = 1024


def page_of(steps: Iterable[Step], bounds: PageBounds, looks: LookBudget | None = None) -> Page:
    """The page that a walk gives.

    :param steps: by slot, and within a slot in the store's order.
    :param bounds: what ends it; each entry is a step.
    :param looks: what the walk may look at, and counts; None: it costs nothing.
    """
    keys: list[bytes] = []
    looks = looks or LookBudget()
    room, left, last_slot, last_key = bounds.size, bounds.steps, None, None
    for slot, key, visible in steps:
        if visible and (len(keys) >= bounds.keys or room <= 0):
            return Page(keys, True)
        if (left <= 0 or looks.left <= 0) and last_slot is not None:
            if slot != last_slot:
                return Page(keys, False, slot)
            if (left <= -bounds.steps or looks.left <= -looks.whole) and last_key is not None:
                return Page(keys, False, slot, last_key)
        left -= 1 if key is None else 1 + len(key) // KEY_STEP
        last_slot, last_key = slot, key
        if visible and key is not None:
            keys.append(key)
            room -= len(key)
    return Page(keys, False)
