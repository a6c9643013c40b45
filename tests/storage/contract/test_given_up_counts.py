"""Counts of what each kind of store gives up: taken some records at a time, and right whatever changes meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from storage.contract.ranges import ABOVE, BELOW, CUT, HIGH, KEYS, LOW, check_visible, failed, stage
from stores import FAST_KINDS, INDEXES, NAMED, Bench, Outcome, prepared, weight

from pyshard.errors import BadRequest
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.batch_operations import Remove, Touch, Write
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage import LmdbStore
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.hidden_counts import MOST_AT_ONCE
from pyshard.storage.memory.index_records import MemoryIndex
from pyshard.storage.slot_histogram import BUCKET_BITS, BUCKETS

MANY = [b"many %d" % each for each in range(2 * MOST_AT_ONCE + 700)]  # more than the half of them is above the cut
HIGH_MANY = [key for key in MANY if slot_of(key) >= CUT]


def count_ahead(bench: Bench, ranges: SlotRanges = BELOW, most: int = 400) -> int:
    """Count all that is to be given up; return how many steps that took."""
    steps = 1
    while bench.result(bench.store.count_ahead(ranges, most)):
        steps += 1
    return steps


def looked_at(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """From now on, how many records are looked at to count them."""
    looks: Counter[str] = Counter()

    def counted(real: Callable[..., int]) -> Callable[..., int]:
        def look(*args: object) -> int:
            looks["at"] += 1
            return real(*args)

        return look

    monkeypatch.setattr(lmdb_encoding, "used_by", counted(lmdb_encoding.used_by))
    monkeypatch.setattr(MemoryIndex, "used_by", counted(MemoryIndex.used_by))
    return looks


def test_what_is_given_up_is_counted_ahead(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No step, and no `own`, looks at more records than it may. What isn't counted isn't given up."""
    assert len(HIGH_MANY) > MOST_AT_ONCE + 100
    bench.fill(dict.fromkeys(MANY, b"text"))
    looks = looked_at(monkeypatch)
    sequence = bench.store.sequence
    failed(bench, bench.store.own(BELOW), BadRequest, r"more than 1,000 records in \[.*count them ahead")
    assert looks["at"] <= MOST_AT_ONCE
    assert (bench.store.ranges, bench.store.documents) == (StoreRanges(), len(MANY))
    looks.clear()
    rest = len(HIGH_MANY) - MOST_AT_ONCE
    assert rest // 100 <= count_ahead(bench, most=100) <= rest // 100 + 2
    assert looks["at"] <= rest
    looks.clear()
    assert count_ahead(bench) == 1
    bench.result(bench.store.own(BELOW))
    assert looks["at"] == 0
    check_visible(bench, [key for key in MANY if key not in HIGH_MANY])
    assert bench.store.ranges == StoreRanges(BELOW, {}, ABOVE)
    assert bench.store.sequence == sequence + 1  # to count is no change
    bench.sweep()
    assert bench.store.ranges == StoreRanges(BELOW)


def test_other_counts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other ranges are counted anew; with what is owned nothing is counted, and changes cost nothing more."""
    bench.fill(dict.fromkeys(MANY, b"text"))
    count_ahead(bench)
    failed(bench, bench.store.own(ABOVE), BadRequest, "count them ahead")
    count_ahead(bench, ABOVE)
    looks = looked_at(monkeypatch)
    some = dict.fromkeys(MANY[:200], b"others")
    bench.fill(some)
    assert looks["at"] > 0
    assert count_ahead(bench, bench.store.ranges.owned) == 1
    looks.clear()
    bench.fill(some)
    assert looks["at"] == 0
    failed(bench, bench.store.own(ABOVE), BadRequest, "count them ahead")
    assert not bench.result(bench.store.count_ahead(((0, 1), *ABOVE), 5000))
    bench.result(bench.store.own(((0, 1), *ABOVE)))
    assert bench.store.documents == len(HIGH_MANY)


def test_what_is_counted_ahead_is_given_up_in_part(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts are of no use any more, and nothing is counted on."""
    bench.fill(dict.fromkeys(KEYS, b"text"))
    count_ahead(bench, ())
    bench.result(bench.store.own(BELOW))
    looks = looked_at(monkeypatch)
    bench.fill(dict.fromkeys(LOW, b"text"))
    bench.sweep()
    assert looks["at"] == (0 if bench.durable else len(HIGH))  # a store in memory looks what it removes
    check_visible(bench, LOW)
    bench.result(bench.store.own(()))
    check_visible(bench, [])


def test_a_copy_that_comes_while_others_are_counted(bench: Bench) -> None:
    """A range that is owned only since, and is given up then, is counted as it is."""
    bench.result(bench.store.own(BELOW))
    bench.fill(dict.fromkeys(LOW, b"text"))
    count_ahead(bench, ((0, 1),))
    stage(bench, [])
    bench.result(bench.store.own(BELOW + ABOVE))
    bench.fill(dict.fromkeys(KEYS[30:], b"text"))
    bench.result(bench.store.own(BELOW))
    check_visible(bench, LOW)


CUTS = [SLOTS * each // 6 for each in range(7)]
#: Keys of two slots.
SAME_SLOT = [b"169", b"738", b"719", b"746"]
SOME = [b"%d" % each for each in range(40)] + [b"long" * 200, *SAME_SLOT]

GIVEN_UP: list[SlotRanges] = [(), ((0, CUTS[3]),), ((CUTS[1], CUTS[2]), (CUTS[4], CUTS[6]))]
CHANGES = ["write", "one by one", "expire", "remove", "touch"]
RARE = ["sweep", "drop", "create", "wait", "flush", "count others"]


@pytest.mark.parametrize("kind", FAST_KINDS)
@pytest.mark.parametrize("seed", range(15))
def test_given_up_counts(kind: str, seed: int) -> None:
    """Whatever is written, removed, given an expiry, swept, dropped or created: what stays is counted as it is.

    The histories are random and always the same.
    """
    random = Random(seed)
    last = GIVEN_UP[seed % 3]
    with prepared(kind) as bench:
        expected: dict[tuple[str, bytes], tuple[bytes, int]] = {}  # record and expiry
        indexes = dict(NAMED)

        def drop(name: str) -> None:
            del indexes[name]
            bench.result(bench.store.set_indexes(indexes, 50))
            for place in [place for place in expected if place[0] == name]:
                del expected[place]

        for _ in range(50):
            what = random.choice(["count"] + 2 * CHANGES + random.sample(RARE, 1))
            if what == "count":
                bench.result(bench.store.count_ahead(last, random.randint(1, 12)))
            elif what == "count others":
                bench.result(bench.store.count_ahead(((0, 1),), 3))
            elif what == "sweep":
                bench.sweep(3)
                expected = {place: was for place, was in expected.items() if not 0 < was[1] <= bench.now}
            elif what == "drop" and "pages" in indexes:
                drop("pages")
            elif what == "create":
                indexes |= {"new": 60}
                bench.result(bench.store.set_indexes(indexes))
            elif what == "wait":
                bench.clock.advance(2)
            elif what == "flush" and isinstance(bench.store, LmdbStore):
                bench.store._engine.flush_all()
            elif what in CHANGES:
                name = random.choice(["", *(name for name in ("pages", "new") if name in indexes)])
                _change(bench, what, random.sample(SOME, random.randint(1, 12)), name, expected)
        bench.result(bench.store.own(last))
        _check(bench, indexes, expected, exactly="pages" in indexes)
        while bench.result(bench.store.sweep(3)):
            expected = {place: was for place, was in expected.items() if not 0 < was[1] <= bench.now}
        expected = {place: was for place, was in expected.items() if not 0 < was[1] <= bench.now}
        _check(bench, indexes, expected, exactly=True)
        assert bench.store.ranges == StoreRanges(last)


def _change(
    bench: Bench,
    what: str,
    keys: list[bytes],
    name: str,
    expected: dict[tuple[str, bytes], tuple[bytes, int]],
) -> None:
    """Change records, and what is expected of them."""
    record = b"text" * len(keys)
    ttl = 1000 if what == "expire" else 0
    touched: list[Outcome] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(INDEXES, "new", 60)
        if what == "remove":
            bench.applied(Remove(name, keys))
        elif what == "touch":
            touched = bench.answers(Touch(name, keys, [3000] * len(keys)))[0]
        else:
            plain = what == "write"
            bench.answers(Write(name, keys, [record] * len(keys), None, None if plain else [ttl] * len(keys)))
    for position, key in enumerate(keys):
        place = name, key
        if what == "remove":
            if place in expected and not 0 < expected[place][1] <= bench.now:
                del expected[place]
        elif what == "touch":
            if touched[position] is True:
                expected[place] = expected[place][0], bench.now + 3000
        else:
            expected[place] = record, bench.now + ttl if ttl else 0


def _check(
    bench: Bench, indexes: dict[str, int], expected: dict[tuple[str, bytes], tuple[bytes, int]], exactly: bool
) -> None:
    """The store counts what it owns of what is expected.

    :param exactly: whether no records of dropped indexes wait for a sweep; else they count in some places.
    """
    store = bench.store
    slots = {(name, key): slot_of(key, name.encode()) for name, key in expected}
    owned = {place: was for place, was in expected.items() if in_ranges(slots[place], store.ranges.owned)}
    assert store.documents == len(owned)
    for name, number in {"": 0, **indexes}.items():
        assert store.count(number) == sum(1 for place in owned if place[0] == name)
    if exactly:
        assert store.used == sum(weight(key, *was) for (_, key), was in owned.items())
        buckets = Counter(slot_of(key, name.encode()) >> BUCKET_BITS for name, key in owned)
        bars = store.histogram(0, (BUCKETS - 1) << BUCKET_BITS, BUCKETS - 1)
        assert bars == [buckets[bucket] for bucket in range(BUCKETS - 1)]
