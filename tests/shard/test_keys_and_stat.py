"""Pages of keys, counts, and what a shard tells of itself."""

from __future__ import annotations

import re

import pytest
from deferreds import result
from shard.states import HALF, LOW, A, B, C, D, E, X, answers, keys_of, with_low
from twisted.internet.task import Clock

from pyshard.compiled import IN_USE
from pyshard.errors import BadRequest, IndexNotFound, PyshardError, WrongShard
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.batch_operations import Read, Write
from pyshard.settings import settings
from pyshard.shard.shard import Shard
from pyshard.storage import MemoryStore, Page

# -- keys -----------------------------------------------------------------------------------------------------------


def test_keys(shard: Shard) -> None:
    """A page has the keys of one index, from a slot on, in (slot, key) order."""
    keys = sorted([A, B, C, D, E], key=slot_of)
    pages = keys_of(LOW, "pages")[:2]
    assert answers(shard, Write("", keys, [b""] * 5), Write("pages", pages, [b""] * 2)) == [[True] * 5, [True] * 2]
    assert result(shard.keys(7, "", 0, None)) == Page(keys, False, HALF)
    assert result(shard.keys(7, "", slot_of(keys[2]), None)) == Page(keys[2:], False, HALF)
    assert result(shard.keys(7, "", slot_of(keys[2]), keys[2])) == Page(keys[3:], False, HALF)
    assert sorted(result(shard.keys(7, "pages", 0, None)).keys) == sorted(pages)


def test_keys_of_a_full_page(new: Shard) -> None:
    """A page has at most 1,000 keys, and says that there are more."""
    result(new.configure("low", with_low(limit=10**9)))
    mine = [key for key in (b"%d" % number for number in range(3000)) if in_ranges(slot_of(key), LOW.ranges)][:1001]
    assert answers(new, Write("", mine, [b""] * 1001)) == [[True] * 1001]
    page = result(new.keys(7, "", 0, None))
    assert (len(page.keys), page.more) == (settings.PAGE_KEYS, True) == (1000, True)
    last = page.keys[-1]
    assert len(result(new.keys(7, "", slot_of(last), last)).keys) == 1


def test_keys_of_a_heavy_page(new: Shard) -> None:
    """A page ends with the key that takes it past 256 KiB."""
    result(new.configure("low", with_low(limit=10**9)))
    heavy = [
        key for key in (b"%d" % number * 10_000 for number in range(100, 200)) if in_ranges(slot_of(key), LOW.ranges)
    ]
    assert answers(new, Write("", heavy, [b""] * len(heavy))) == [[True] * len(heavy)]
    page = result(new.keys(7, "", 0, None))
    assert page.more
    assert sum(map(len, page.keys[:-1])) < settings.PAGE_BYTES <= sum(map(len, page.keys))


def test_keys_beside_many_that_have_expired(new: Shard) -> None:
    """A page that has looked at 2,000 keys ends, and says where the next one begins."""
    result(new.configure("low", with_low(limit=10**9)))
    mine = [key for key in (b"%d" % number for number in range(10_000)) if in_ranges(slot_of(key), LOW.ranges)]
    most = settings.BATCH_ONE_BY_ONE // 2  # with times to live
    for some in (mine[begin : begin + most] for begin in range(0, len(mine), most)):
        assert answers(new, Write("", some, [b""] * len(some), None, [1] * len(some))) == [[True] * len(some)]
    found = []
    monotonic: MemoryStore = new.store  # type: ignore[assignment]  # it is one
    monotonic._seconds = lambda: 1e9
    slot = 0
    while slot < HALF:
        page = result(new.keys(7, "", slot, None))
        assert page.slot is not None
        found.append(page)
        slot = page.slot
    assert [page.keys for page in found] == [[]] * len(found)
    assert len(found) == len(mine) // settings.PAGE_STEPS + 1


def test_keys_of_nothing_it_owns(shard: Shard) -> None:
    """A slot of another shard is a redirect, also when it is the first one behind the range."""
    for slot in (HALF, SLOTS - 1):
        with pytest.raises(WrongShard) as refused:
            shard.keys(7, "", slot, None)
        assert str(refused.value).startswith("shard 'low' owns [0.0, 0.5) at epoch 7, not ")
    assert result(shard.keys(7, "", HALF - 1, None)) == Page([], False, HALF)


@pytest.mark.parametrize("slot", [-1, SLOTS, 10**30])
def test_keys_of_no_slot(shard: Shard, slot: int) -> None:
    """What is no slot is a mistake of the caller."""
    with pytest.raises(BadRequest) as refused:
        shard.keys(7, "", slot, None)
    assert str(refused.value) == f"slot: found {slot}, expected 0 to 9999999"


def test_keys_of_no_index(shard: Shard) -> None:
    """There are no keys of an index that doesn't exist."""
    with pytest.raises(IndexNotFound):
        shard.keys(7, "gone", 0, None)


# -- count ----------------------------------------------------------------------------------------------------------


def test_count(shard: Shard) -> None:
    """A shard counts the documents of one index, wherever in its range the caller begins."""
    assert answers(shard, Write("", [A, B, C], [b""] * 3), Write("pages", keys_of(LOW, "pages")[:2], [b""] * 2))
    assert [result(shard.count(7, index, 0)) for index in ("", "pages")] == [(3, LOW.ranges), (2, LOW.ranges)]
    assert result(shard.count(6, "", HALF - 1)) == (3, LOW.ranges)


def test_count_of_nothing_it_owns(shard: Shard) -> None:
    """What `keys` refuses `count` refuses as well, in the same words."""
    for epoch, index, slot in ((7, "", HALF), (7, "", -1), (7, "gone", 0), (8, "", 0)):
        with pytest.raises(PyshardError) as refused:
            shard.keys(epoch, index, slot, None)
        with pytest.raises(type(refused.value), match=f"^{re.escape(str(refused.value))}$"):
            shard.count(epoch, index, slot)
    assert shard.operations == 0


# -- stat -----------------------------------------------------------------------------------------------------------


def test_stat_of_a_new_shard(new: Shard, clock: Clock) -> None:
    """Before it is configured a shard tells of its store and of its time."""
    clock.advance(2.5)
    assert new.stat() == {
        "id": "1d",
        "incarnation": "1d",
        "documents": 0,
        "bytes": 0,
        "operations": 0,
        "parked": 0,
        "uptime": 2.5,
        "ephemeral": True,
        "compiled": IN_USE,
    }


def test_stat_tells_of_an_incarnation(new: Shard) -> None:
    """It is the store's, which a store may change without a new id."""
    assert isinstance(new.store, MemoryStore)
    new.store.incarnation = "2e"
    assert (new.stat()["id"], new.stat()["incarnation"]) == ("1d", "2e")


def test_stat(shard: Shard, clock: Clock) -> None:
    """A configured shard tells of its range too; an operation counts once, whatever came of it."""
    clock.advance(100.00049)
    assert answers(shard, Write("", [A, X], [b"one", b"x"]), Read("", [A]), Read("gone", [A])) == [
        [True, "WRONG_SHARD"],
        [b"one"],
        ["INDEX_NOT_FOUND"],
    ]
    result(shard.keys(7, "", 0, None))
    histogram = [0] * 10
    histogram[slot_of(A) * 10 // HALF] = 1
    assert shard.stat() == {
        "id": "1d",
        "incarnation": "1d",
        "documents": 1,
        "bytes": len(A) + 3 + 128,
        "operations": 5,
        "parked": 0,
        "uptime": 100.0,
        "ephemeral": True,
        "compiled": IN_USE,
        "name": "low",
        "ranges": [[0.0, 0.5]],
        "epoch": 7,
        "limit": 100_000,
        "histogram": [histogram],
    }


def test_uptime_counts_from_the_start() -> None:
    """A clock that began long before the shard doesn't count."""
    clock = Clock()
    clock.advance(1000)
    shard = Shard(MemoryStore("1d", clock.seconds), clock.seconds)
    clock.advance(1)
    assert shard.stat()["uptime"] == 1.0
