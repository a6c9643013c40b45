"""What an index of a store in memory does to its dict of records for many keys at once."""

from __future__ import annotations

from collections.abc import Sequence
from operator import add

from pyshard.compiled import IN_USE, dict_leaves
from pyshard.protocol.batch_answers import VERSION


def put_values_plainly(
    records: dict[bytes, bytes], keys: Sequence[bytes], new: Sequence[bytes], versions: Sequence[int], newest: int = 0
) -> tuple[int, list[int], dict[int, bytes]]:
    """Store a value for each key: its version and its record in one.

    :param keys: no key twice.
    :param new: the record of each key.
    :param versions: the version of each key.
    :param newest: which former values are wanted: those of this version and older ones; 0: none.
    :return: how many more bytes all records have than before, without their versions; the positions of those keys that
        weren't there; and position → former value, of those that are wanted.
    """
    old = list(map(records.get, keys))
    replaced = list(filter(None, old))  # no value is empty: each begins with its version
    grown = sum(map(len, new)) - sum(map(len, replaced)) + len(replaced) * VERSION.size
    records.update(zip(keys, map(add, map(VERSION.pack, versions), new), strict=True))
    packed = VERSION.pack(newest)
    wanted = enumerate(old) if newest else ()
    older = {at: value for at, value in wanted if value is not None and value[: VERSION.size] <= packed}
    if len(replaced) == len(keys):
        return grown, [], older
    return grown, [position for position, value in enumerate(old) if value is None], older


put_values = dict_leaves.put_values if IN_USE else put_values_plainly
