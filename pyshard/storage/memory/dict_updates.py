"""What an index of a store in memory does to its dict of records for many keys at once."""

from __future__ import annotations

from collections.abc import Sequence
from operator import add

from pyshard.compiled import IN_USE, dict_leaves
from pyshard.protocol.batch_answers import VERSION


def put_values_plainly(
    records: dict[bytes, bytes], keys: Sequence[bytes], new: Sequence[bytes], versions: Sequence[int]
) -> tuple[int, list[int]]:
    """Store a value for each key: its version and its record in one.

    :param keys: no key twice.
    :param new: the record of each key.
    :param versions: the version of each key.
    :return: how many more bytes all records have than before, without their versions; and the positions of those keys
        that weren't there.
    """
    old = list(map(records.get, keys))
    replaced = list(filter(None, old))  # no value is empty: each begins with its version
    grown = sum(map(len, new)) - sum(map(len, replaced)) + len(replaced) * VERSION.size
    records.update(zip(keys, map(add, map(VERSION.pack, versions), new), strict=True))
    if len(replaced) == len(keys):
        return grown, []
    return grown, [position for position, value in enumerate(old) if value is None]


put_values = dict_leaves.put_values if IN_USE else put_values_plainly
