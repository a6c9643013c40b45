"""Which containers of a store in memory take far more than what is in them needs.

A dict or a set never becomes smaller when keys are removed: the place of each stays, until so many were added that it
is made anew. A copy has no such places.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from sys import getsizeof

from pyshard.compiled import IN_USE, dict_leaves

_FEW = 1024  # bytes that aren't worth a copy: there may be a thousand indexes

# What a key may take. One in a dict that was just made larger takes 36 to 48 bytes, without entries that were never
# used; with them, which plain Python can't tell apart, up to 120. In a set it takes up to 128.
_EACH_RECORD = 72
_EACH = 160

_LOOK = 1024  # removals between two looks at a large container; at a small one one looks each time that half is gone


def taken_bytes_plainly(table: Mapping[bytes, object]) -> int:
    """Bytes that a dict takes without the entries at its end that were never used. It is a guess: half of all.

    Compiled it is exact (`pyshard/compiled/dict_prefetch.pxd`), where it is known how dicts lie in memory.
    """
    return getsizeof(table) // 2


taken_bytes = dict_leaves.taken_bytes if IN_USE else taken_bytes_plainly


def takes_too_much(table: Mapping[bytes, object]) -> bool:
    """Whether a dict of records, or of expiries, takes far more than a copy of it would."""
    return taken_bytes(table) > _FEW + _EACH_RECORD * len(table)


def is_thin(container: Collection[object]) -> bool:
    """Whether a container takes far more than a copy of it would. It is to be asked after each removal.

    It is looked at seldom, as that costs more than the removal: whenever half is gone, or a thousand more.
    """
    count = len(container)
    if count & (count - 1 if count < _LOOK else _LOOK - 1):
        return False
    return getsizeof(container) > _FEW + _EACH * count
