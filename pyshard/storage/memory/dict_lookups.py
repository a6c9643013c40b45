"""What an index of a store in memory asks its dict of records beside single values.

Compiled, many keys are fetched from memory at once before they are looked up (`pyshard/compiled/dict_prefetch.pxd`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from pyshard.compiled import IN_USE, dict_leaves


def found_values_plainly(records: dict[bytes, bytes], keys: Sequence[bytes], room: int) -> list[bytes] | None:
    """The values of some keys; None: a key isn't there, or the values have `room` bytes or more."""
    values = list(map(records.get, keys))
    if not all(values):  # no value is empty
        return None
    found = cast("list[bytes]", values)
    return found if sum(map(len, found)) < room else None


found_values = dict_leaves.found_values if IN_USE else found_values_plainly


def has_all_plainly(records: dict[bytes, bytes], keys: Sequence[bytes]) -> bool:
    """Whether all of some keys are there."""
    return all(map(records.__contains__, keys))


has_all = dict_leaves.has_all if IN_USE else has_all_plainly


class _Equal:
    """Equal to a key, and knows what it was last compared with."""

    __slots__ = ("_key", "other")

    def __init__(self, key: bytes) -> None:
        self._key = self.other = key

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, bytes)
        self.other = other
        return other == self._key


def stored_key(records: Mapping[bytes, bytes], key: bytes) -> bytes:
    """The very object that a dict has as this key."""
    equal = _Equal(key)
    found = cast("bytes", equal) in records  # a dict takes whatever has the hash and is equal
    assert found
    return equal.other
