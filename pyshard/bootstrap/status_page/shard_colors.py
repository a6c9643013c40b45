"""Which color a shard has on the page: one by its name, so that it keeps it. Pure.

A color is a number here; `assets/page.css` says what it looks like, on light and on dark ground.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

#: How many colors there are. Of more shards some have the same; each has its name beside it.
COLORS = 12


def colors_of(names: Iterable[str]) -> dict[str, int]:
    """The color of each name, from 0 to `COLORS` - 1.

    A name's own color is by its hash. Where another name has it already, the next free one is taken.
    """
    found: dict[str, int] = {}
    taken: set[int] = set()
    for name in sorted(names):
        if len(taken) == COLORS:
            taken.clear()
        color = blake2b(name.encode("utf-8", "replace"), digest_size=4).digest()[0] % COLORS
        while color in taken:
            color = (color + 1) % COLORS
        taken.add(color)
        found[name] = color
    return found
