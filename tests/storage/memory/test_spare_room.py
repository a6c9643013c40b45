"""How much dicts and sets take for keys that have gone is told, and what was just made never takes too much."""

from __future__ import annotations

from sys import getsizeof

import pytest
from compiled_twins import built

from pyshard.compiled import dict_leaves
from pyshard.storage.memory.spare_room import is_thin, taken_bytes_plainly, takes_too_much


def numbered(count: int) -> dict[bytes, bytes]:
    """A dict of so many keys, made key by key as a store's is."""
    table: dict[bytes, bytes] = {}
    for number in range(count):
        table[b"key %d" % number] = b"value"
    return table


@pytest.mark.parametrize("count", [*range(40), 170, 171, 172, 1365, 1366, 43_690, 43_691, 87_381, 87_382])
def test_what_was_just_made_takes_enough(count: int) -> None:
    """Whether its size was known or not, however far it was made larger; and a set as well."""
    table = numbered(count)
    assert not takes_too_much(table)
    assert not takes_too_much(dict(table))
    assert count & (count - 1) or not (is_thin(table) or is_thin(set(table)) or is_thin({*table, b"more"}))


@pytest.mark.parametrize("count", [100, 5000, 60_000])
def test_what_lost_most_keys_takes_too_much(count: int) -> None:
    """A dict of which a sixth is left, or one key, or none."""
    table = numbered(count)
    for left in (count // 6, 1, 0):
        for key in [*table][left:]:
            del table[key]
        assert takes_too_much(table) == (getsizeof(table) > 2048)
        assert not takes_too_much(dict(table))


def test_a_dict_that_others_replace_is_not_copied_again_and_again() -> None:
    """One key comes for each that goes: it takes too much only after as many changes as it has keys."""
    table, copied = numbered(1000), 0
    for number in range(1000, 101_000):
        del table[b"key %d" % (number - 1000)]
        table[b"key %d" % number] = b"value"
        if takes_too_much(table):
            table, copied = dict(table), copied + 1
    assert copied <= 100


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000, 1024, 3000, 40_000])
def test_a_set_that_shrinks_is_thin_in_time(count: int) -> None:
    """A set, and a dict, that lose one key after the other never take more than some hundred bytes for each."""
    table = numbered(count)
    keys = set(table)
    for key in [*table][1:]:
        del table[key]
        keys.remove(key)
        table = dict(table) if is_thin(table) else table
        keys = set(keys) if is_thin(keys) else keys
        assert getsizeof(keys) <= 2048 + 2 * 160 * (len(keys) + 1024 * (len(keys) > 1024))
        assert getsizeof(table) <= 2048 + 2 * 160 * (len(table) + 1024 * (len(table) > 1024))


@built
@pytest.mark.parametrize("count", [0, 1, 100, 1366, 43_691])
def test_compiled_and_plain(count: int) -> None:
    """The guess of plain Python is half of all. Compiled it is what lies before the entries that were never used."""
    table = numbered(count)
    assert taken_bytes_plainly(table) == getsizeof(table) // 2
    assert 0 < dict_leaves.taken_bytes(table) <= getsizeof(table)
    if count >= 1366:
        assert 24 * count < dict_leaves.taken_bytes(table) < 48 * count
