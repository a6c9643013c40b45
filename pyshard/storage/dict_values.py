"""Many values of a dict of records at once.

Compiled, many keys are fetched from memory at once before they are looked up (`pyshard/compiled/dict_prefetch.pxd`).
"""

from __future__ import annotations

from collections.abc import Sequence

from pyshard.compiled import IN_USE, dict_leaves


def values_of_plainly(records: dict[bytes, bytes], keys: Sequence[bytes]) -> list[bytes | None]:
    """The value of each of some keys; None where a key isn't there."""
    return list(map(records.get, keys))


values_of = dict_leaves.values_of if IN_USE else values_of_plainly
