"""Unused entries of the dicts of a store in memory are given back to the system, and nothing else is."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from compiled_twins import built
from stores import PLENTY, at_once, task

from pyshard.compiled import IN_USE, dict_leaves
from pyshard.protocol.batch_operations import Read, Write
from pyshard.storage import MemoryStore
from pyshard.storage.memory.unused_entries import UnusedEntries, give_back_unused_plainly

_STATM = Path("/proc/self/statm")
_PAGE = 4096
_ENTRY = 24  # bytes

#: With so many keys a dict has just been made larger, and has place for as many more.
FULL = 349_526

measured = pytest.mark.skipif(not (IN_USE and _STATM.exists()), reason="only compiled code gives memory back")


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE


def numbered(count: int) -> dict[bytes, bytes]:
    """A dict of so many keys, made key by key as a store's is, whose size was never known."""
    table: dict[bytes, bytes] = {}
    for number in range(count):
        table[b"key %d" % number] = b"value"
    return table


@measured
def test_they_are_given_back() -> None:
    """The entries of a dict that was just made larger take no memory, also when that has happened again."""
    table = numbered(FULL)
    unused = UnusedEntries(table)
    for times in (1, 2):
        before = resident()
        unused.give_back()
        assert 0.9 * times * FULL * _ENTRY < before - resident() < 1.1 * times * FULL * _ENTRY
        for number in range(times * FULL, 2 * times * FULL):
            table[b"key %d" % number] = b"value"


@measured
def test_a_dict_that_did_not_move_is_not_looked_at() -> None:
    """So that a sweep costs nothing."""
    table = numbered(FULL)
    place = ctypes.c_size_t.from_address(id(table) + dict.__basicsize__ - 16).value  # of the last but one of its fields
    before = resident()
    assert dict_leaves.give_back_unused(table, place) == place
    assert before - resident() < 0.1 * FULL * _ENTRY
    assert dict_leaves.give_back_unused(table, 0) == place
    assert before - resident() > 0.9 * FULL * _ENTRY


@built
@pytest.mark.parametrize("count", [0, 1, 5, 6, 150, 171, 1365, 1366, 40_000, 43_690, 43_691])
def test_a_dict_stays_as_it_is(count: int) -> None:
    """Whatever comes and goes, and however often memory is given back."""
    random = Random(count)
    table = numbered(count)
    model = [*table.items()]
    place = 0
    for step in range(5):
        place = dict_leaves.give_back_unused(table, place if step % 2 else 0)  # every other time as if it had moved
        assert place != 0
        assert [*table.items()] == model
        for key in random.sample(sorted(table), min(len(table), 3 ** (step + 1))):
            del table[key]
            dict_leaves.give_back_unused(table, 0)
        for number in range(count // 2 + 3 * step):
            table[b"key %d" % (random.randrange(2 * count + 9))] = b"step %d, %d" % (step, number)
        if table:
            table.popitem()
        model = [(key, table[key]) for key in table]
        assert dict(model) == dict([*table.items()])
    place = dict_leaves.give_back_unused(table, 0)
    assert dict_leaves.give_back_unused(table, place) == place
    table.clear()
    assert dict_leaves.give_back_unused(table, place) not in (0, place)


def test_in_plain_python_nothing_is() -> None:
    """The plain twin knows no place."""
    assert give_back_unused_plainly(numbered(1000), 0) == 0


def alone(store: MemoryStore) -> None:
    """Leave a store as it is."""


def as_member(store: MemoryStore) -> None:
    """Make a store a member of a group, which doesn't lead."""
    at_once(store.be_member())


@measured
@pytest.mark.parametrize("become", [alone, as_member])
@pytest.mark.parametrize("ttl", [None, 10_000])
def test_a_sweep_of_a_store_gives_them_back(become: Callable[[MemoryStore], None], ttl: int | None) -> None:
    """Those of records, and of expiries; of a replica, too. What is stored is still there, and more finds room."""
    store, count = MemoryStore("1d", lambda: 0.0), 87_382
    keys = [b"key %d" % number for number in range(count)]
    for start in range(0, count, 1000):
        part = keys[start : start + 1000]
        ttls = None if ttl is None else [ttl] * len(part)
        at_once(store.apply([task(Write("", part, part, None, ttls))], PLENTY, PLENTY))
    become(store)
    before = resident()
    at_once(store.sweep(100))
    assert before - resident() > 0.8 * count * _ENTRY * (1 if ttl is None else 2)
    if become is alone:
        more = [b"more %d" % number for number in range(1000)]
        at_once(store.apply([task(Write("", more, more))], PLENTY, PLENTY))
        (answer,) = at_once(store.apply([task(Read("", [*keys[-1000:], *more]))], PLENTY, PLENTY))
        assert [bytes(value)[8:] for value in answer.results if isinstance(value, bytes)] == [*keys[-1000:], *more]
