"""What every store does with keys and records: each verb, their order, and things of any size."""

from __future__ import annotations

import pytest
from storage.contract.samples import add
from stores import PLENTY, Bench, outcomes, task, weight

from pyshard.model.key_slots import SLOTS
from pyshard.protocol.batch_answers import VERSION
from pyshard.protocol.batch_operations import ABSENT, HEAD_BYTES, Has, Pop, Read, Remove, Write
from pyshard.storage import Page


def test_new_store_is_empty(bench: Bench) -> None:
    """A new store holds nothing and remembers nothing."""
    store = bench.store
    assert (store.documents, store.used, store.recall()) == (0, 0, None)
    assert store.histogram(0, SLOTS, 4) == [0, 0, 0, 0]
    assert bench.page() == Page([], False)


def test_read(bench: Bench) -> None:
    """`read` gives the record of each key, or nil, in the order asked, as often as asked."""
    bench.fill({b"a": b"one", b"b": b""})
    assert bench.answers(Read("", [b"b", b"c", b"a", b"b"])) == [[b"", None, b"one", b""]]


def test_has(bench: Bench) -> None:
    """`has` says of each key whether it exists; an empty record exists."""
    bench.fill({b"a": b"one", b"": b""})
    assert bench.answers(Has("", [b"b", b"a", b""])) == [[False, True, True]]


def test_write(bench: Bench) -> None:
    """`write` stores, and replaces what is there."""
    assert bench.answers(Write("", [b"a", b"b"], [b"one", b"two"])) == [[True, True]]
    assert bench.answers(Write("", [b"a"], [b"three"]), Read("", [b"a", b"b"])) == [[True], [b"three", b"two"]]
    assert bench.store.documents == 2


def test_add(bench: Bench) -> None:
    """A write of what must not exist stores what is new and leaves what is there."""
    adding = Write("", [b"a", b"b", b"a"], [b"one", b"two", b"three"], [ABSENT] * 3)
    assert bench.answers(adding) == [[True, True, False]]
    assert bench.answers(add("", [b"b"], [b"four"]), Read("", [b"a", b"b"])) == [[False], [b"one", b"two"]]


def test_pop(bench: Bench) -> None:
    """`pop` removes, and gives the record that was there."""
    bench.fill({b"a": b"a longer record", b"b": b""})
    assert bench.answers(Pop("", [b"a", b"c", b"a", b"b"])) == [[b"a longer record", None, None, b""]]
    assert bench.store.documents == 0


def test_remove(bench: Bench) -> None:
    """`remove` removes, and gives the first five bytes of the record that was there."""
    bench.fill({b"a": b"a longer record", b"b": b"abc", b"c": b"12345"})
    assert HEAD_BYTES == 5
    assert bench.answers(Remove("", [b"a", b"x", b"b", b"c", b"a"])) == [[b"a lon", None, b"abc", b"12345", None]]
    assert bench.answers(Has("", [b"a", b"b", b"c"])) == [[False, False, False]]


def test_order_within_a_batch(bench: Bench) -> None:
    """Each operation sees what those before it in the batch did, between runs and within one."""
    assert bench.answers(
        Read("", [b"a"]),
        Write("", [b"a", b"a"], [b"one", b"two"]),
        Read("", [b"a"]),
        add("", [b"a"], [b"three"]),
        Pop("", [b"a", b"a"]),
        add("", [b"a"], [b"four"]),
        Remove("", [b"a"]),
        Has("", [b"a"]),
    ) == [[None], [True, True], [b"two"], [False], [b"two", None], [True], [b"four"], [False]]


def test_order_of_batches(bench: Bench) -> None:
    """Batches take effect in the order in which they were given, also when none waits for the one before."""
    asked = [bench.store.apply([task(Write("", [b"a"], [b"%d" % number]))], PLENTY, PLENTY) for number in range(10)]
    asked.append(bench.store.apply([task(Read("", [b"a"]))], PLENTY, PLENTY))
    found = [outcomes(bench.result(one)[0]) for one in asked]
    assert found[:10] == [[True]] * 10
    if bench.kind != "lmdb with a thread":  # there a batch that only reads may overtake those that change something
        assert found[10] == [VERSION.pack(bench.version(b"a")) + b"9"]
    assert bench.one(Read("", [b"a"])) == b"9"


def test_a_batch_that_also_changes_keeps_its_place(bench: Bench) -> None:
    """Reads that share a batch with a change take effect where they stand among all changes."""
    for each in range(10):
        bench.store.apply([task(Write("", [b"a"], [b"%d" % each]))], PLENTY, PLENTY)
    assert bench.answers(Read("", [b"a"]), Write("", [b"b"], [b""])) == [[b"9"], [True]]


def test_empty_batch_and_run(bench: Bench) -> None:
    """A batch without runs has no answers, and a run without keys an empty one."""
    assert bench.answers() == []
    assert bench.answers(Read("", []), Write("", [], []), Pop("", []), room=0) == [[], [], []]


def test_records_are_opaque(bench: Bench) -> None:
    """Any bytes are a key, and any a record."""
    records = {b"": b"\x00", b"\x00": b"", bytes(range(256)): bytes(range(256)) * 10, b"k" * 5000: b"r" * 100_000}
    bench.fill(records)
    assert bench.answers(Read("", list(records))) == [list(records.values())]
    assert bench.scan() == bench.in_order(list(records))


def test_long_keys_are_whole(bench: Bench) -> None:
    """Keys that differ in their last byte only are different keys, however long they are."""
    keys = [b"k" * length + end for length in (510, 511, 512, 65_535) for end in (b"", b"1", b"2")]
    bench.fill({key: b"%d" % each for each, key in enumerate(keys)})
    assert bench.answers(Read("", keys)) == [[b"%d" % each for each in range(len(keys))]]
    assert bench.scan(most=1) == bench.in_order(keys)
    assert bench.answers(Pop("", keys[1::2]))[0] == [b"%d" % each for each in range(1, len(keys), 2)]
    assert bench.answers(Has("", keys)) == [[each % 2 == 0 for each in range(len(keys))]]


@pytest.mark.parametrize("last", [b"short", b"long" * 200])
@pytest.mark.parametrize("expiring", [False, True])
def test_plain_writes_go_a_shorter_way(bench: Bench, expiring: bool, last: bytes) -> None:
    """A run without conditions and times to live keeps the same accounts, for keys of every past."""
    bench.fill({b"old": b"12345", b"gone": b"1"})
    bench.one(Pop("", [b"gone"]))
    if expiring:
        bench.fill({b"brief": b"123", b"over": b"1"}, ttl=1000)
        bench.clock.advance(0.5)
        bench.fill({b"over": b"12"}, ttl=100)
        bench.clock.advance(0.2)
    before = bench.version(b"old")
    keys = [b"new", b"old", b"brief", b"over", b"gone", last]
    assert bench.answers(Write("", keys, [b"x" * place for place in range(6)])) == [[True] * 6]
    versions = [bench.version(key) for key in keys]
    assert versions == sorted(set(versions))
    assert versions[0] > before
    bench.clock.advance(100)
    assert bench.answers(Read("", keys)) == [[b"x" * place for place in range(6)]]
    assert bench.store.used == sum(weight(key, b"x" * place) for place, key in enumerate(keys))
    assert bench.answers(Write("", [b"new", b"twice", b"new", b"twice"], [b"1", b"22", b"333", b"4444"])) == [
        [True] * 4
    ]
    assert bench.answers(Read("", [b"new", b"twice"])) == [[b"333", b"4444"]]
    assert bench.store.documents == 7
    assert bench.scan() == bench.in_order({*keys, b"twice"})
    assert sum(bench.store.histogram(0, SLOTS, 10)) == 7


def test_holds(bench: Bench) -> None:
    """A store says that it holds keys only when it holds each of them, in that index."""
    bench.fill({b"a": b"1", b"b": b"2"})
    assert bench.store.surely_has_all(0, [b"a", b"b", b"a"]) is not bench.durable
    for index, keys in ((0, [b"a", b"c"]), (1, [b"a"]), (7, [b"a"])):
        assert not bench.store.surely_has_all(index, keys)


def test_what_is_read_at_hand(bench: Bench) -> None:
    """It is what `apply` answers, where that is records alone and has room; else the usual way is to be gone."""
    bench.fill({b"a": b"1", b"b": b"22"})
    keys = [b"b", b"a", b"b"]
    (answer,) = bench.applied(Read("", keys))
    room = sum(len(one) for one in answer if isinstance(one, bytes)) + 1
    assert bench.store.read_at_hand(0, keys, room) == (None if bench.durable else answer)
    assert bench.store.read_at_hand(0, keys, room - 1) is None
    for index, others in ((0, [b"a", b"c"]), (1, [b"a"]), (7, [b"a"])):
        assert bench.store.read_at_hand(index, others, room) is None
    bench.fill({b"brief": b"1"}, ttl=1000)
    assert bench.store.read_at_hand(0, keys, room) == (None if bench.durable else answer)
    bench.clock.advance(1)
    assert bench.store.read_at_hand(0, [b"brief"], room) is None
    assert bench.store.read_at_hand(0, keys, room) is None  # until the other one is swept
    bench.sweep()
    assert bench.store.read_at_hand(0, keys, room) == (None if bench.durable else answer)


def test_large_things(bench: Bench) -> None:
    """Records of 16 MiB, keys of 8 KiB that differ in their last byte, empty records and the empty key, together."""
    large = bytes(range(256)) * (1 << 16)
    url = b"https://example.com/" + b"x" * 8172
    records = {b"large": large, url + b"1": b"one", url + b"2": large[:-1], b"": b"", b"empty": b""}
    bench.fill(records, ttl=1000)
    bench.fill(records, "pages")
    assert bench.store.used == sum(weight(key, record, ttl) for key, record in records.items() for ttl in (0, 1000))
    assert bench.answers(Read("", list(records)), Read("pages", list(records))) == [list(records.values())] * 2
    assert bench.scan(most=1) == bench.in_order(list(records))
    assert bench.answers(Has("", [url, url + b"3"]), Pop("pages", [url + b"2"])) == [[False, False], [large[:-1]]]
    bench.clock.advance(1)
    bench.sweep(1)
    assert (bench.store.documents, bench.scan()) == (4, [])
