"""Times to live in every store: what expires, what doesn't any more, and the room that sweeping gives back."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import pytest
from storage.contract.samples import number
from stores import Bench, Outcome, weight

from pyshard.model.key_slots import SLOTS
from pyshard.protocol.batch_answers import ITEM
from pyshard.protocol.batch_operations import (
    ABSENT,
    KEEP,
    PRESENT,
    Has,
    Increment,
    Pop,
    Read,
    ReadItem,
    Remove,
    Run,
    Touch,
    Write,
)
from pyshard.storage import MemoryStore, Page
from pyshard.storage.durable import lmdb_encoding

ALL_GONE: list[tuple[Any, Outcome]] = [
    (Read("", [b"a"]), None),
    (Has("", [b"a"]), False),
    (ReadItem("", [b"a"]), None),
    (Pop("", [b"a"]), None),
    (Remove("", [b"a"]), None),
    (Touch("", [b"a"], [1000]), False),
    (Increment("", [b"a"], [number(1)], [number(10)]), number(11)),
    (Write("", [b"a"], [b"new"], [ABSENT]), True),
    (Write("", [b"a"], [b"new"], [PRESENT]), False),
]


@pytest.mark.parametrize(("run", "expected"), ALL_GONE)
@pytest.mark.parametrize("swept", [False, True])
def test_expired(bench: Bench, run: Any, expected: Outcome, swept: bool) -> None:
    """From the moment it expires no verb sees a record, and up to it each one does."""
    bench.fill({b"a": number(1)}, ttl=2000)
    bench.clock.advance(1.75)
    assert bench.answers(Has("", [b"a"])) == [[True]]
    bench.clock.advance(0.25)
    if swept:
        bench.sweep()
    assert bench.one(run) == expected


def test_expired_has_no_version(bench: Bench) -> None:
    """A condition on a record that has expired isn't met."""
    bench.fill({b"a": b"old"}, ttl=1000)
    version = bench.version(b"a")
    bench.clock.advance(1)
    runs: list[Run] = [
        Write("", [b"a"], [b"new"], [version]),
        Pop("", [b"a"], [version]),
        Remove("", [b"a"], [version]),
        Touch("", [b"a"], [1000], [version]),
    ]
    assert bench.answers(*runs) == [[False], [None], [None], [False]]


def test_expired_is_on_no_page(bench: Bench) -> None:
    """Pages pass by what has expired, also when it would fill them."""
    keys = bench.in_order([b"%d" % each for each in range(40)])
    bench.fill(dict.fromkeys(keys[::2], b""), ttl=1000)
    bench.fill(dict.fromkeys(keys[1::2], b""))
    assert bench.scan(most=3) == keys
    bench.clock.advance(1)
    assert bench.scan(most=3) == keys[1::2]
    assert bench.page(most=20) == Page(keys[1::2], False)


def test_an_item_tells_its_expiry(bench: Bench) -> None:
    """An item has the moment of its expiry and the time until then, or 0 for both."""
    bench.fill({b"a": b"", b"b": b""}, ttl=1500)
    bench.fill({b"b": b""})
    bench.clock.advance(1)
    ((first, second),) = bench.applied(ReadItem("", [b"a", b"b"]))
    assert isinstance(first, bytes)
    assert isinstance(second, bytes)
    assert ITEM.unpack(first)[1:] == (bench.now + 500, 500)
    assert ITEM.unpack(second)[1:] == (0, 0)


def test_writing_replaces_the_time_to_live(bench: Bench) -> None:
    """The last write says how long a record lives; one without a time to live makes it stay."""
    bench.fill({b"a": b"", b"b": b"", b"c": b""}, ttl=1000)
    bench.fill({b"a": b""})
    bench.fill({b"b": b""}, ttl=3000)
    bench.clock.advance(1)
    assert bench.answers(Has("", [b"a", b"b", b"c"])) == [[True, True, False]]
    bench.sweep()
    bench.clock.advance(2)
    assert bench.answers(Has("", [b"a", b"b"])) == [[True, False]]
    bench.sweep()
    assert bench.store.documents == 1


def test_writing_may_keep_the_time_to_live(bench: Bench) -> None:
    """A write may leave the expiry as it is; a key that doesn't exist, or has expired, has none to keep."""
    bench.fill({b"a": b""}, ttl=2000)
    bench.fill({b"b": b"", b"gone": b""}, ttl=1000)
    bench.fill({b"b": b""})
    bench.clock.advance(1)
    keys = [b"a", b"b", b"gone", b"new"]
    assert bench.answers(Write("", keys, [b"new"] * 4, None, [KEEP] * 4)) == [[True] * 4]
    (items,) = bench.applied(ReadItem("", keys))
    expiries = [ITEM.unpack_from(item)[1] for item in items if isinstance(item, bytes)]
    assert expiries == [bench.now + 1000, 0, 0, 0]
    bench.clock.advance(1)
    bench.sweep()
    assert bench.answers(Has("", keys)) == [[False, True, True, True]]


def test_touch(bench: Bench) -> None:
    """`touch` gives a key that exists a new time to live, from now on, and changes nothing else."""
    bench.fill({b"a": b"one", b"b": b"two"}, ttl=1000)
    bench.fill({b"c": b"three"})
    version = bench.version(b"a")
    assert bench.answers(Touch("", [b"a", b"b", b"c", b"x"], [3000, 0, 500, 1000])) == [[True, True, True, False]]
    bench.clock.advance(1)
    bench.sweep()
    assert bench.answers(Read("", [b"a", b"b", b"c", b"x"])) == [[b"one", b"two", None, None]]
    assert bench.version(b"a") == version
    bench.clock.advance(2)
    assert bench.answers(Has("", [b"a", b"b"])) == [[False, True]]


def test_touching_again_and_again(bench: Bench) -> None:
    """However often its time to live is changed, a record goes once, at the last of its expiries."""
    bench.fill({b"a": b""}, ttl=1000)
    for each in range(2500):
        assert bench.one(Touch("", [b"a"], [1000 + each % 3])) is True
    assert bench.one(Touch("", [b"a"], [2000])) is True
    bench.clock.advance(1.5)
    bench.sweep()
    assert bench.one(Has("", [b"a"])) is True
    bench.clock.advance(0.5)
    assert bench.one(Has("", [b"a"])) is False
    bench.sweep()
    assert (bench.store.documents, bench.store.used) == (0, 0)


def test_expired_uses_room_until_it_is_swept_away(bench: Bench) -> None:
    """The limit counts what has expired; sweeping gives its room back, so many records at a time."""
    keys = [b"%02d" % each for each in range(30)]
    bench.fill(dict.fromkeys(keys[:20], b"12345"), ttl=1000)
    bench.fill(dict.fromkeys(keys[20:], b"12345"), "pages", ttl=1250)
    each = weight(b"00", b"12345", expires=1)
    bench.clock.advance(1)
    limit = bench.store.used
    assert (bench.store.documents, limit) == (30, 30 * each)
    assert bench.one(Write("", [b"new"], [b""]), limit) == "SHARD_FULL"
    assert bench.result(bench.store.sweep(7)) is True
    assert (bench.store.documents, bench.store.used) == (23, 23 * each)
    assert bench.one(Write("", [b"new"], [b""]), limit) is True
    assert bench.sweep(7) in (2, 3)
    assert bench.store.documents == 11
    assert bench.scan(index="pages") == bench.in_order(keys[20:], "pages")
    bench.clock.advance(0.25)
    bench.sweep()
    assert (bench.store.documents, bench.store.used) == (1, weight(b"new", b""))
    assert sum(bench.store.histogram(0, SLOTS, 5)) == 1


def test_expired_room_goes_to_the_same_key(bench: Bench) -> None:
    """A key whose record has expired may be written in its place, at the limit too."""
    bench.fill({b"a": b"12345"}, ttl=1000)
    bench.clock.advance(1)
    limit = weight(b"a", b"12345")
    assert bench.one(Write("", [b"a"], [b"x" * 200]), limit) == "SHARD_FULL"
    assert bench.one(Write("", [b"a"], [b"54321"]), limit) is True
    bench.sweep()
    assert (bench.store.documents, bench.store.used) == (1, limit)
    assert bench.one(Read("", [b"a"])) == b"54321"


def test_a_sweep_of_long_keys(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep hashes and removes few long keys, however many have expired; all of them go in the end."""
    keys = [b"%d" % number + b"k" * 60_000 for number in range(40)]
    for key in keys:
        bench.fill({key: b"r"}, ttl=1)
    bench.clock.advance(1)
    hashed: list[bytes] = []

    def counted(hash_of: Callable[..., Any]) -> Callable[..., Any]:
        def noted(key: bytes, *arguments: Any, **options: Any) -> Any:
            hashed.append(key)
            return hash_of(key, *arguments, **options)

        return noted

    if isinstance(bench.store, MemoryStore):
        index = bench.store._indexes[0]
        monkeypatch.setattr(index, "slot_of", counted(index.slot_of))
    else:
        monkeypatch.setattr(lmdb_encoding, "blake2b", counted(blake2b))
    bench.result(bench.store.sweep(500))
    few = 500 // 59 + 1
    assert sum(len(key) > 1000 for key in hashed) <= few
    assert bench.store.documents >= 40 - 2 * few  # some from the memtable, some from LMDB
    bench.sweep(500)
    assert (bench.store.documents, bench.store.used) == (0, 0)


def test_nothing_to_sweep(bench: Bench) -> None:
    """Sweeping a store in which everything is alive removes nothing."""
    bench.fill({b"a": b""}, ttl=1000)
    bench.fill({b"b": b""})
    assert bench.sweep() == 1
    assert bench.store.documents == 2
