"""What every store keeps: the promises of `pyshard.storage.interface`, over each implementation.

A new store gets a kind of its own in tests/stores.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, groupby, pairwise
from operator import attrgetter
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from stores import (
    FAST_KINDS,
    INDEXES,
    KINDS,
    NAMED,
    PLENTY,
    Bench,
    Outcome,
    check_consistent,
    folder,
    outcomes,
    prepared,
    task,
    weight,
)

from pyshard import documents
from pyshard.batch import (
    ABSENT,
    ALWAYS,
    HEAD_BYTES,
    ITEM,
    VERSION,
    Has,
    Increment,
    Item,
    Pop,
    Read,
    Remove,
    Row,
    Run,
    Touch,
    Write,
)
from pyshard.cluster import DEFAULT_INDEX
from pyshard.errors import IndexNotFound, InvalidDocument
from pyshard.hashing import SLOTS, slot_of
from pyshard.storage import LmdbStore, Page, Task, layout

#: Writes that must not replace anything.
add = partial(Write, conditions=[ABSENT])


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of store."""
    return str(request.param)


@pytest.fixture
def bench(kind: str) -> Iterator[Bench]:
    """An empty store of each kind, with the indexes `NAMED`."""
    with prepared(kind) as bench:
        yield bench


@pytest.fixture(params=[one for one in KINDS if one != "memory"])
def durable(request: pytest.FixtureRequest, killed: bool) -> Iterator[Bench]:
    """An empty store of each kind that outlives a restart, with the indexes `NAMED`."""
    with prepared(request.param) as bench:
        bench.killed = killed
        yield bench


@pytest.fixture(params=[False, True], ids=["closed", "killed"])
def killed(request: pytest.FixtureRequest) -> bool:
    """Whether the process is killed before a restart."""
    return bool(request.param)


def number(value: int) -> bytes:
    """The record of an int."""
    return documents.encode(value)[0]


def neighbors() -> tuple[bytes, bytes, bytes]:
    """Three keys, in order, that share one slot of the default index."""
    by_slot: dict[int, list[bytes]] = {}
    for each in count():
        key = b"%d" % each
        same = by_slot.setdefault(slot_of(key), [])
        same.append(key)
        if len(same) == 3:
            first, second, third = sorted(same)
            return first, second, third
    raise AssertionError


# -- verbs ----------------------------------------------------------------------------------------------------------


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


# -- indexes --------------------------------------------------------------------------------------------------------


def test_indexes_are_apart(bench: Bench) -> None:
    """One key may be in several indexes, with a record in each."""
    bench.fill({b"a": b"default"})
    bench.fill({b"a": b"page", b"b": b""}, "pages")
    assert bench.answers(Read("", [b"a", b"b"]), Pop("pages", [b"a"]), Read("links", [b"a"]), Read("", [b"a"])) == [
        [b"default", None],
        [b"page"],
        [None],
        [b"default"],
    ]
    assert (bench.scan(), bench.scan(index="pages"), bench.scan(index="links")) == ([b"a"], [b"b"], [])
    assert bench.store.documents == 2


def test_unknown_index(bench: Bench) -> None:
    """Operations on an id that no index has are refused one by one, and the rest of the batch goes on."""
    assert bench.answers(
        Write("gone", [b"a", b"b"], [b"", b""]), Write("", [b"a"], [b"one"]), Read("gone", [b"a"]), Read("", [b"a"])
    ) == [["INDEX_NOT_FOUND", "INDEX_NOT_FOUND"], [True], ["INDEX_NOT_FOUND"], [b"one"]]
    assert bench.store.documents == 1


def test_page_of_unknown_index(bench: Bench) -> None:
    """A page of an id that no index has fails, in the Deferred."""
    asked = bench.store.page(INDEXES["gone"], 0, None, SLOTS, 10, 10)
    with pytest.raises(IndexNotFound, match=r"id 3 "):
        bench.result(asked)


def test_dropped_index(bench: Bench) -> None:
    """An index that isn't named any more is gone with its documents; the others and the default one keep theirs."""
    for index in ("", "pages", "links"):
        bench.fill({b"a": index.encode()}, index)
    bench.result(bench.store.set_indexes({"links": 2}))
    assert bench.answers(Read("pages", [b"a"]), Read("links", [b"a"]), Read("", [b"a"])) == [
        ["INDEX_NOT_FOUND"],
        [b"links"],
        [b""],
    ]
    assert bench.store.documents == 2
    bench.sweep()
    assert (bench.store.documents, bench.store.used) == (2, weight(b"a", b"links") + weight(b"a", b""))
    assert sum(bench.store.histogram(0, SLOTS, 3)) == 2


def test_index_created_again(bench: Bench) -> None:
    """A name that comes back with a new id is a new, empty index; the old id stays unknown."""
    bench.fill({b"a": b"old"}, "pages")
    bench.result(bench.store.set_indexes({"links": 2}))
    bench.result(bench.store.set_indexes({"links": 2, "pages": 3}))
    new = Task(Read("pages", [b"a"]), 3, [slot_of(b"a", b"pages")])
    old = Task(Read("pages", [b"a"]), 1, [slot_of(b"a", b"pages")])
    answered = bench.result(bench.store.apply([new, old], PLENTY, PLENTY))
    assert [outcomes(one) for one in answered] == [[None], ["INDEX_NOT_FOUND"]]
    bench.sweep()
    assert (bench.store.documents, bench.store.used) == (0, 0)


def test_same_indexes_again(bench: Bench) -> None:
    """Naming the indexes that there are changes nothing."""
    bench.fill({b"a": b"page"}, "pages")
    bench.result(bench.store.set_indexes(NAMED))
    assert bench.answers(Read("pages", [b"a"])) == [[b"page"]]


# -- the limit ------------------------------------------------------------------------------------------------------


def test_used(bench: Bench) -> None:
    """`used` counts key, record and overhead of each document, in all indexes."""
    bench.fill({b"a": b"one", b"bcd": b""})
    bench.fill({b"a": b"12345678"}, "pages")
    assert bench.store.used == (1 + 3 + 128) + (3 + 0 + 128) + (1 + 8 + 128)


@pytest.mark.parametrize("verb", [Write, add])
def test_full_exactly_at_the_limit(bench: Bench, verb: Any) -> None:
    """What takes `used` to the limit fits; what takes it one byte further is refused and changes nothing."""
    limit = weight(b"a", b"one") + weight(b"b", b"two")
    bench.fill({b"a": b"one"})
    assert bench.answers(verb("", [b"b"], [b"two!"]), limit=limit) == [["SHARD_FULL"]]
    assert (bench.store.documents, bench.store.used) == (1, weight(b"a", b"one"))
    assert bench.answers(Read("", [b"b"]), limit=limit) == [[None]]
    assert bench.answers(verb("", [b"b"], [b"two"]), limit=limit) == [[True]]
    assert (bench.store.documents, bench.store.used) == (2, limit)


def test_limit_is_of_all_indexes(bench: Bench) -> None:
    """The limit is one for all indexes together."""
    bench.fill({b"a": b"one"})
    limit = weight(b"a", b"one") + weight(b"b", b"two")
    assert bench.answers(
        Write("pages", [b"b"], [b"two!"]), Write("links", [b"b"], [b"two"]), Write("", [b"c"], [b""]), limit=limit
    ) == [["SHARD_FULL"], [True], ["SHARD_FULL"]]


def test_replacing_counts_the_difference(bench: Bench) -> None:
    """A record may be replaced by one of the same size, and by one that fits in its place."""
    limit = weight(b"a", b"12345")
    bench.fill({b"a": b"123"})
    sizes = [b"12345", b"123456", b"54321", b"1", b"123456", b"12345"]
    stored = [True, "SHARD_FULL", True, True, "SHARD_FULL", True]
    assert bench.answers(Write("", [b"a"] * 6, sizes), Read("", [b"a"]), limit=limit) == [stored, [b"12345"]]
    assert bench.store.used == limit


def test_refused_replacement_keeps_the_old_record(bench: Bench) -> None:
    """A replacement that doesn't fit leaves the record that was there."""
    bench.fill({b"a": b"old"})
    assert bench.answers(Write("", [b"a"], [b"newer"]), Read("", [b"a"]), limit=weight(b"a", b"old") + 1) == [
        ["SHARD_FULL"],
        [b"old"],
    ]


def test_rest_of_the_batch_goes_on(bench: Bench) -> None:
    """After a refused write later ones that fit are stored, in the same run and in later ones."""
    limit = weight(b"a", b"1") + weight(b"b", b"1")
    assert bench.answers(
        Write("", [b"a", b"x", b"b", b"y"], [b"1", b"1" * 500, b"1", b""]),
        Read("", [b"a", b"x", b"b", b"y"]),
        limit=limit,
    ) == [[True, "SHARD_FULL", True, "SHARD_FULL"], [b"1", None, b"1", None]]


@pytest.mark.parametrize("verb", [Pop, Remove])
def test_removing_gives_room_back(bench: Bench, verb: type[Pop | Remove]) -> None:
    """What was removed gives back exactly what it took, within the same batch too."""
    bench.fill({b"a": b"12345", b"b": b"1"})
    limit = bench.store.used
    assert bench.answers(
        Write("", [b"c"], [b""]),
        verb("", [b"a"]),
        Write("", [b"c", b"c"], [b"123456", b"12345"]),
        Write("", [b"d"], [b""]),
        limit=limit,
    ) == [["SHARD_FULL"], [b"12345"], ["SHARD_FULL", True], ["SHARD_FULL"]]
    assert bench.store.used == limit
    assert bench.answers(verb("", [b"b", b"c", b"x"])) == [[b"1", b"12345", None]]
    assert (bench.store.documents, bench.store.used) == (0, 0)


def test_dropping_gives_room_back(bench: Bench) -> None:
    """The documents of a dropped index leave their room to others, bit by bit."""
    bench.fill({b"%02d" % each: b"12345" for each in range(20)}, "pages")
    each = weight(b"00", b"12345")
    limit = bench.store.used
    bench.result(bench.store.set_indexes({"links": 2}))
    assert (bench.store.documents, bench.store.used) == (0, limit)
    assert bench.one(Write("links", [b"00"], [b"12345"]), limit) == "SHARD_FULL"
    assert bench.result(bench.store.sweep(5)) is True
    assert bench.store.used == limit - 5 * each
    assert bench.answers(Write("links", [b"%02d" % one for one in range(6)], [b"12345"] * 6), limit=limit) == [
        [True] * 5 + ["SHARD_FULL"]
    ]
    bench.sweep()
    assert (bench.store.documents, bench.store.used) == (5, 5 * each)


def test_lowered_limit(bench: Bench) -> None:
    """A store past a limit that was lowered takes what doesn't grow it, and nothing else."""
    bench.fill({b"a": b"12345", b"b": b"12345"})
    assert bench.answers(
        Write("", [b"a", b"a", b"a", b"c"], [b"1234", b"4321", b"12345", b""]), Read("", [b"a"]), limit=10
    ) == [[True, True, "SHARD_FULL", "SHARD_FULL"], [b"4321"]]


def test_full_message(bench: Bench) -> None:
    """The refusal says how full the shard is and what the write needs."""
    bench.fill({b"a": b"123"})
    (answer,) = bench.result(bench.store.apply([task(Write("", [b"b"], [b"1" * 2000]))], 1000, PLENTY))
    (refused,) = answer.outcomes()
    assert str(refused) == (
        "the shard holds 132 of 1,000 bytes and this write needs 2,129 more; remove documents or raise the shard's size"
    )


# -- the room of an answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [Read, Pop])
def test_answer_takes_the_record_that_fills_it(bench: Bench, verb: type[Read | Pop]) -> None:
    """Records are taken while there is room; the one that fills it, or goes past it, is the last."""
    keys = [b"a", b"b", b"c", b"d"]
    two = 2 * (VERSION.size + 5)
    bench.fill(dict.fromkeys(keys, b"12345"))
    assert bench.answers(verb("", keys[:2]), room=two) == [[b"12345", b"12345"]]
    bench.fill(dict.fromkeys(keys, b"12345"))
    assert bench.answers(verb("", keys), room=two + 1) == [[b"12345", b"12345", b"12345", "ANSWER_FULL"]]
    bench.fill(dict.fromkeys(keys, b"12345"))
    assert bench.answers(verb("", keys), room=two) == [[b"12345", b"12345", "ANSWER_FULL", "ANSWER_FULL"]]


def test_room_is_of_all_runs(bench: Bench) -> None:
    """What one run's records take of the room the next one hasn't."""
    bench.fill(dict.fromkeys([b"a", b"b", b"c"], b"12345"))
    one = VERSION.size + 5
    first, second = Read("", [b"a", b"x"]), Read("", [b"x", b"b", b"c"])
    assert bench.answers(first, second, room=2 * one + 1) == [[b"12345", None], [None, b"12345", b"12345"]]
    assert bench.answers(first, second, room=2 * one) == [[b"12345", None], [None, b"12345", "ANSWER_FULL"]]
    items = Item("", [b"a", b"b", b"c"])
    assert bench.answers(items, room=ITEM.size + 6) == [[b"12345", b"12345", "ANSWER_FULL"]]
    assert bench.answers(items, room=ITEM.size + 5) == [[b"12345", "ANSWER_FULL", "ANSWER_FULL"]]


def test_answer_takes_one_large_record(bench: Bench) -> None:
    """A record larger than the room is answered all the same, so that it can be read at all."""
    bench.fill({b"a": b"1" * 1000, b"b": b""})
    assert bench.answers(Read("", [b"a", b"b"]), room=1) == [[b"1" * 1000, "ANSWER_FULL"]]


def test_full_answer_refuses_missing_keys_too(bench: Bench) -> None:
    """Behind the record that filled the answer nothing is looked up, so that nobody takes a key for missing."""
    bench.fill({b"a": b"12345"})
    room = VERSION.size + 5
    assert bench.answers(Read("", [b"x", b"a", b"x"]), room=room) == [[None, b"12345", "ANSWER_FULL"]]
    assert bench.answers(Read("", [b"a", b"a", b"x"]), room=room) == [[b"12345", "ANSWER_FULL", "ANSWER_FULL"]]
    assert bench.answers(Pop("", [b"a", b"x"]), room=room) == [[b"12345", "ANSWER_FULL"]]


@pytest.mark.parametrize("filler", [Read, Pop, Remove])
def test_full_answer_stops_everything_behind_it(bench: Bench, filler: type[Read | Pop | Remove]) -> None:
    """Once the answer is full, no later run of the batch is applied, whatever its verb and index."""
    bench.fill({b"a": b"12345", b"b": b"two"})
    bench.fill({b"p": b"page"}, "pages")
    before = bench.store.used - weight(b"a", b"12345") * (filler is not Read)
    full = "ANSWER_FULL"
    assert bench.answers(
        filler("", [b"a"]),
        Write("", [b"b", b"new"], [b"other", b""]),
        add("pages", [b"new"], [b""]),
        Has("", [b"b"]),
        Read("pages", [b"p"]),
        Item("pages", [b"p"]),
        Pop("", [b"b"]),
        Remove("pages", [b"p"]),
        Touch("", [b"b"], [1]),
        Increment("", [b"new"], [number(1)], [number(0)]),
        room=5,
    ) == [[b"12345"], [full, full], *([full] for _ in range(8))]
    bench.clock.advance(1)
    assert bench.answers(Read("", [b"b", b"new"]), Read("pages", [b"p", b"new"])) == [[b"two", None], [b"page", None]]
    assert bench.store.used == before


def test_room_is_one_for_the_batch(bench: Bench) -> None:
    """All runs of a batch share the room, whichever verbs they have."""
    bench.fill(dict.fromkeys([b"a", b"b", b"c", b"d"], b"12345"))
    room = 3 * (VERSION.size + 5) + 1
    assert bench.answers(
        Read("", [b"a"]), Read("", [b"b"]), Pop("", [b"b"]), Remove("", [b"c"]), Read("", [b"d"]), room=room
    ) == [[b"12345"], [b"12345"], [b"12345"], [b"12345"], ["ANSWER_FULL"]]
    assert bench.answers(Has("", [b"b", b"c", b"d"])) == [[False, False, True]]


@pytest.mark.parametrize("verb", [Pop, Remove])
def test_full_answer_stops_removing(bench: Bench, verb: type[Pop | Remove]) -> None:
    """What is behind the record that filled the answer stays in the store."""
    bench.fill({b"a": b"12345", b"b": b"12345", b"c": b"12345"})
    room = 6 if verb is Remove else VERSION.size + 6
    assert bench.answers(verb("", [b"a", b"b", b"c"]), room=room) == [[b"12345", b"12345", "ANSWER_FULL"]]
    assert bench.answers(Has("", [b"a", b"b", b"c"])) == [[False, False, True]]
    assert (bench.store.documents, bench.store.used) == (1, weight(b"c", b"12345"))


def test_remove_answers_with_heads_only(bench: Bench) -> None:
    """`remove` takes of the room what it answers with: five bytes, however long the record."""
    bench.fill({b"a": b"1" * 1000, b"b": b"1" * 1000, b"c": b""})
    assert bench.answers(Remove("", [b"a", b"b", b"c"]), room=10) == [[b"11111", b"11111", "ANSWER_FULL"]]
    assert bench.answers(Has("", [b"c"])) == [[True]]


def test_verbs_without_records_take_no_room(bench: Bench) -> None:
    """`has`, `write`, `touch` and keys that don't exist leave the room to others."""
    assert bench.answers(
        Write("", [b"a"], [b"12345"]),
        add("", [b"b"], [b"12345"]),
        Has("", [b"a"]),
        Touch("", [b"a"], [0]),
        Read("", [b"x", b"a"]),
        room=1,
    ) == [[True], [True], [True], [True], [None, b"12345"]]


@pytest.mark.parametrize("filler", [Read, Item])
def test_reading_stops_where_the_answer_is_full(
    bench: Bench, filler: type[Read | Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has no room in the answer isn't fetched: a batch of many large documents costs no more than its answer."""
    keys = [b"%03d" % each for each in range(200)]
    bench.fill(dict.fromkeys(keys, b"1" * 50_000))
    found = bench.answers(filler("", keys), room=100_000)
    assert found == [[b"1" * 50_000] * 2 + ["ANSWER_FULL"] * 198]
    if bench.durable:
        fetched: list[str] = []
        for name in ("unpack", "result"):
            take = getattr(layout, name)

            def noted(*arguments: object, name: str = name, take: Callable[..., object] = take) -> object:
                fetched.append(name)
                return take(*arguments)

            monkeypatch.setattr(layout, name, noted)
        bench.answers(filler("", keys), room=100_000)
        assert fetched == ["result" if filler is Read else "unpack"] * 2


# -- pages ----------------------------------------------------------------------------------------------------------


def test_page_of_one_slot(bench: Bench) -> None:
    """Keys that share a slot come in the order of their bytes, and `after` goes on between them."""
    first, second, third = neighbors()
    slot = slot_of(first)
    bench.fill(dict.fromkeys([third, first, second], b""))
    assert bench.page(slot, None, slot + 1) == Page([first, second, third], False)
    assert bench.page(slot, first, slot + 1, most=1) == Page([second], True)
    assert bench.page(slot, second, slot + 1, most=1) == Page([third], False)
    assert bench.page(slot, third, slot + 1) == Page([], False)


def test_after_need_not_exist(bench: Bench) -> None:
    """A page begins behind `after`, also when that key is gone."""
    first, second, third = neighbors()
    bench.fill(dict.fromkeys([first, third], b""))
    assert bench.page(slot_of(second), second).keys == [third]


def test_page_keeps_to_its_slots(bench: Bench) -> None:
    """`start` is the first slot looked at, `end` the first that isn't."""
    keys = bench.in_order([b"%d" % each for each in range(50)])
    bench.fill(dict.fromkeys(keys, b""))
    slots = [slot_of(key) for key in keys]
    assert bench.page(slots[10], None, slots[20]) == Page(keys[10:20], False)
    assert bench.page(slots[10] + 1, None, slots[20] + 1) == Page(keys[11:21], False)
    assert bench.page(slots[10], keys[10], slots[20], most=5) == Page(keys[11:16], True)
    assert bench.page(slots[10], None, slots[10]) == Page([], False)
    assert bench.page(SLOTS - 1, None, SLOTS) == Page([], False)


def test_page_takes_the_key_that_fills_it(bench: Bench) -> None:
    """Keys are taken while there is room in bytes; the one that fills it, or goes past it, is the last."""
    keys = bench.in_order([b"%03d" % each for each in range(10)])
    bench.fill(dict.fromkeys(keys, b""))
    assert bench.page(most_bytes=6) == Page(keys[:2], True)
    assert bench.page(most_bytes=7) == Page(keys[:3], True)
    assert bench.page(most_bytes=1) == Page(keys[:1], True)
    assert bench.page(most_bytes=30).keys == keys


key_sets = st.sets(
    st.binary(max_size=6)
    | st.integers(0, 2000).map(lambda each: b"%d" % each)
    | st.integers(0, 9).map(lambda each: b"%d" % each * 600),
    max_size=60,
)


@pytest.mark.parametrize("kind", FAST_KINDS)
@given(key_sets, st.integers(1, 70), st.integers(1, 200), st.sampled_from(["", "pages"]))
def test_scan_gives_each_key_once(kind: str, keys: set[bytes], most: int, most_bytes: int, index: str) -> None:
    """Pages of any size, in keys or bytes, give all keys of the index in (slot, key) order, each once."""
    with prepared(kind) as bench:
        bench.fill(dict.fromkeys(keys, b""), index)
        bench.fill({b"other": b""}, "links")
        pages = list(bench.pages(0, SLOTS, most, most_bytes, index))
        assert [key for page in pages for key in page.keys] == bench.in_order(keys, index)
    for page in pages:
        assert len(page.keys) <= most
        assert sum(map(len, page.keys[:-1])) < most_bytes


@pytest.mark.parametrize("kind", FAST_KINDS)
@given(key_sets, st.lists(st.integers(0, SLOTS), max_size=5), st.integers(1, 70))
def test_parts_make_the_whole(kind: str, keys: set[bytes], cuts: list[int], most: int) -> None:
    """Scans of neighboring ranges give together what one scan of both gives."""
    bounds = [0, *sorted(cuts), SLOTS]
    with prepared(kind) as bench:
        bench.fill(dict.fromkeys(keys, b""))
        parts = [bench.scan(start, end, most) for start, end in pairwise(bounds)]
        assert [key for part in parts for key in part] == bench.in_order(keys)


@pytest.mark.parametrize("kind", FAST_KINDS)
@given(key_sets, st.lists(st.tuples(key_sets, key_sets), min_size=1, max_size=8), st.integers(1, 10))
def test_scan_while_keys_come_and_go(
    kind: str, stay: set[bytes], changes: list[tuple[set[bytes], set[bytes]]], most: int
) -> None:
    """A key that is there from a scan's start to its end comes exactly once, and none comes twice."""
    with prepared(kind) as bench:
        bench.fill(dict.fromkeys(stay, b"stays"))
        ever = set(stay)
        seen: list[bytes] = []
        for each, page in enumerate(bench.pages(0, SLOTS, most, PLENTY, "")):
            seen += page.keys
            come, go = changes[each % len(changes)]
            adding = Write("", list(come), [b"comes"] * len(come), [ABSENT] * len(come))
            bench.answers(Remove("", list(go - stay)), adding)
            ever |= come
        assert seen == bench.in_order(seen)
    assert len(seen) == len(set(seen))
    assert stay <= set(seen) <= ever


# -- counts, memory, end --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAST_KINDS)
@given(key_sets, st.integers(1, 20), st.integers(0, SLOTS - 1), st.integers(1, SLOTS))
def test_histogram(kind: str, keys: set[bytes], bars: int, start: int, length: int) -> None:
    """The bars hold all documents of all indexes, each at most 8,192 slots from its place."""
    end = min(start + length, SLOTS)
    own = [key for key in keys if start <= slot_of(key) < end]
    pages = [key for key in keys if start <= slot_of(key, b"pages") < end]
    slots = [slot_of(key) for key in own] + [slot_of(key, b"pages") for key in pages]
    with prepared(kind) as bench:
        bench.fill(dict.fromkeys(own, b""))
        bench.fill(dict.fromkeys(pages, b""), "pages")
        counts = bench.store.histogram(start, end, bars)
        assert sum(counts) == bench.store.documents == len(slots)
    assert len(counts) == bars
    check_bars(counts, slots, start, end)


def check_bars(counts: list[int], slots: list[int], start: int, end: int) -> None:
    """Each document counts in a bar that is at most 8,192 slots away from it."""
    for bar in range(len(counts)):
        bound = start + (end - start) * (bar + 1) / len(counts)
        assert sum(counts[: bar + 1]) >= sum(slot < bound - 8192 for slot in slots)
        assert sum(counts[bar + 1 :]) >= sum(slot >= bound + 8192 for slot in slots)


def test_histogram_of_a_small_range(bench: Bench) -> None:
    """Bars that are as narrow as the bounds may be off are still right to that measure."""
    end = 40 * 8192
    keys = [key for key in (b"%d" % each for each in range(30_000)) if slot_of(key) < end]
    bench.fill(dict.fromkeys(keys, b""))
    check_bars(bench.store.histogram(0, end, 40), [slot_of(key) for key in keys], 0, end)


def test_histogram_at_the_ends(bench: Bench) -> None:
    """Documents at the very ends of the range asked for count in the first and the last bar."""
    keys = [b"%d" % each for each in range(400)]
    for key in keys:
        slot = slot_of(key)
        bench.fill({key: b""})
        for start, end in ((slot, SLOTS), (0, slot + 1), (slot, slot + 1)):
            assert sum(bench.store.histogram(start, end, 3)) == 1
        bench.answers(Remove("", [key]))


def test_histogram_after_removing(bench: Bench) -> None:
    """Documents that were removed don't count."""
    keys = [b"%d" % each for each in range(1000)]
    bench.fill(dict.fromkeys(keys, b""))
    bench.answers(Remove("", keys[:900]))
    assert sum(bench.store.histogram(0, SLOTS, 10)) == 100


def test_remember(bench: Bench) -> None:
    """`recall` gives the text last given to `remember`; it takes no room."""
    bench.result(bench.store.remember(b"first"))
    bench.result(bench.store.remember(b""))
    assert bench.store.recall() == b""
    bench.result(bench.store.remember(b"last \x00"))
    bench.fill({b"a": b"one"})
    bench.result(bench.store.set_indexes({}))
    assert bench.store.recall() == b"last \x00"
    assert bench.store.used == weight(b"a", b"one")


def test_identity(bench: Bench, kind: str) -> None:
    """A store has an identity, and says whether a restart loses its data."""
    assert bench.store.identity
    assert bench.store.ephemeral == (kind == "memory")


# -- versions and conditions ----------------------------------------------------------------------------------------


def test_versions_rise(bench: Bench) -> None:
    """Each write has a version that is higher than all before, whatever the key and the index."""
    seen = [0]
    for key, index in ((b"a", ""), (b"b", ""), (b"a", "pages"), (b"a", ""), (b"b", "")):
        bench.fill({key: b"same"}, index)
        seen.append(bench.version(key, index))
    bench.answers(Increment("", [b"n"], [number(1)], [number(0)]))
    seen.append(bench.version(b"n"))
    bench.answers(Remove("", [b"a"]), Write("", [b"a"], [b"same"]))
    seen.append(bench.version(b"a"))
    assert seen == sorted(set(seen))


def test_every_verb_tells_one_version(bench: Bench) -> None:
    """`read`, `item` and `pop` give the same version, which only writing the key changes."""
    bench.fill({b"a": b"one", b"b": b"two"})
    version = bench.version(b"a")
    bench.fill({b"b": b"three"})
    bench.answers(Touch("", [b"a"], [5000]), Remove("", [b"b"]), Write("", [b"a"], [b"no"], [ABSENT]))
    stored = VERSION.pack(version) + b"one"
    assert bench.applied(Read("", [b"a"]), Item("", [b"a"]), Pop("", [b"a"])) == [
        [stored],
        [ITEM.pack(version, bench.now + 5000, 5000) + b"one"],
        [stored],
    ]


def test_a_batch_sees_its_own_versions(bench: Bench) -> None:
    """A write's version is there for the next operation of its batch."""
    ((_,), (first,), (_,), (second,)) = bench.applied(
        Write("", [b"a"], [b"1"]), Read("", [b"a"]), Write("", [b"a"], [b"2"]), Read("", [b"a"])
    )
    assert isinstance(first, bytes)
    assert isinstance(second, bytes)
    assert VERSION.unpack_from(first)[0] < VERSION.unpack_from(second)[0] == bench.version(b"a")


def test_write_with_a_version(bench: Bench) -> None:
    """Of writes that want one version the first is done; a version that a key had before, or never, is not met."""
    bench.fill({b"a": b"one"})
    version = bench.version(b"a")
    swap = Write("", [b"a"] * 3, [b"two", b"three", b"four"], [version - 1, version, version])
    assert bench.answers(swap, Read("", [b"a"])) == [[False, True, False], [b"three"]]
    assert bench.version(b"a") > version
    assert bench.one(Write("", [b"a"], [b"five"], [bench.version(b"a")])) is True
    assert bench.one(Write("", [b"x"], [b""], [version])) is False
    assert bench.answers(Has("", [b"x"]), Read("", [b"a"])) == [[False], [b"five"]]


@pytest.mark.parametrize("verb", [Pop, Remove])
def test_removing_with_a_version(bench: Bench, verb: type[Pop | Remove]) -> None:
    """Removed is what has the version that is asked for, and nothing else."""
    bench.fill({b"a": b"12345"})
    version = bench.version(b"a")
    assert bench.answers(verb("", [b"a", b"a", b"x"], [version + 1, ABSENT, version])) == [[None, None, None]]
    assert bench.answers(verb("", [b"a", b"a"], [version, version])) == [[b"12345", None]]
    assert bench.store.documents == 0


def test_conditions_of_one_run(bench: Bench) -> None:
    """Each operation of a run has a condition of its own."""
    bench.fill({b"a": b"", b"b": b"", b"c": b""})
    conditions = [ALWAYS, ABSENT, bench.version(b"c"), ABSENT]
    assert bench.answers(Write("", [b"a", b"b", b"c", b"d"], [b"new"] * 4, conditions)) == [[True, False, True, True]]
    assert bench.answers(Read("", [b"a", b"b", b"c", b"d"])) == [[b"new", b"", b"new", b"new"]]


def test_unmet_conditions_are_no_refusals(bench: Bench) -> None:
    """A write that isn't done because of its condition needs no room, and takes no version and no time to live."""
    bench.fill({b"a": b""})
    version = bench.version(b"a")
    assert bench.one(Write("", [b"a"], [b"1" * 500], [ABSENT], [1]), limit=0) is False
    assert bench.one(Write("", [b"b"], [b"1" * 500], [version], [1]), limit=0) is False
    bench.clock.advance(1)
    assert bench.answers(Has("", [b"a", b"b"])) == [[True, False]]
    assert bench.version(b"a") == version


def test_a_new_store_goes_on_with_the_versions(kind: str) -> None:
    """A store that takes another one's place a little later gives no version that the other gave."""
    with folder() as first, folder() as second:
        old = Bench(kind, first)
        for each in range(100):
            old.fill({b"a": b"%d" % each})
        version = old.version(b"a")
        old.close()
        old.clock.advance(1)
        new = Bench(kind, second, old.clock)
        new.fill({b"a": b""})
        assert new.version(b"a") > version
        new.close()


# -- expiry ---------------------------------------------------------------------------------------------------------

ALL_GONE: list[tuple[Any, Outcome]] = [
    (Read("", [b"a"]), None),
    (Has("", [b"a"]), False),
    (Item("", [b"a"]), None),
    (Pop("", [b"a"]), None),
    (Remove("", [b"a"]), None),
    (Touch("", [b"a"], [1000]), False),
    (Increment("", [b"a"], [number(1)], [number(10)]), number(11)),
    (Write("", [b"a"], [b"new"], [ABSENT]), True),
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
    ]
    assert bench.answers(*runs) == [[False], [None], [None]]


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
    ((first, second),) = bench.applied(Item("", [b"a", b"b"]))
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
    each = weight(b"00", b"12345")
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
    limit = bench.store.used
    bench.clock.advance(1)
    assert bench.one(Write("", [b"a"], [b"123456"]), limit) == "SHARD_FULL"
    assert bench.one(Write("", [b"a"], [b"54321"]), limit) is True
    bench.sweep()
    assert (bench.store.documents, bench.store.used) == (1, limit)
    assert bench.one(Read("", [b"a"])) == b"54321"


def test_nothing_to_sweep(bench: Bench) -> None:
    """Sweeping a store in which everything is alive removes nothing."""
    bench.fill({b"a": b""}, ttl=1000)
    bench.fill({b"b": b""})
    assert bench.sweep() == 1
    assert bench.store.documents == 2


# -- counters -------------------------------------------------------------------------------------------------------


def test_increment(bench: Bench) -> None:
    """`increment` adds to what is there, or to the initial value, and gives the new value, as often as asked."""
    counting = Increment("", [b"n", b"m", b"n"], [number(5), number(-1), number(2)], [number(10), number(0), number(7)])
    assert bench.answers(counting, Read("", [b"n", b"m"])) == [
        [number(15), number(-1), number(17)],
        [number(17), number(-1)],
    ]


@pytest.mark.parametrize("start", [2**31, 2**63 - 1, 2**64 - 1, -(2**63), 2**1000, -(2**1000)])
def test_increment_of_any_size(bench: Bench, start: int) -> None:
    """Counters go past 64 bits, both ways, and back."""
    bench.fill({b"n": number(start)})
    counting = Increment("", [b"n"] * 3, [number(one) for one in (1, -2, 2**2000)], [number(0)] * 3)
    assert bench.answers(counting) == [[number(start + 1), number(start - 1), number(start - 1 + 2**2000)]]


@pytest.mark.parametrize("document", [None, True, False, 1.0, "1", b"1", [1], {"n": 1}])
def test_increment_of_something_else(bench: Bench, document: Any) -> None:
    """What is no int stays as it is."""
    record = documents.encode(document)[0]
    bench.fill({b"n": record})
    version = bench.version(b"n")
    assert bench.one(Increment("", [b"n"], [number(1)], [number(0)])) == "NOT_A_NUMBER"
    assert bench.one(Read("", [b"n"])) == record
    assert bench.version(b"n") == version


@pytest.mark.parametrize("garbage", [b"", b"\x02\0\0\0\x1c\x01", number(1)[:5], number(2**70)[:-1], b"\xff" * 20])
def test_increment_of_garbage(bench: Bench, garbage: bytes) -> None:
    """A record, an amount or an initial value that can't be read is no number, and nothing is stored."""
    bench.fill({b"n": garbage})
    one, zero = number(1), number(0)
    counting = Increment("", [b"n", b"x", b"x"], [one, garbage, one], [zero, zero, garbage])
    assert bench.answers(counting, Has("", [b"x"])) == [["NOT_A_NUMBER"] * 3, [False]]


def test_increment_keeps_the_time_to_live(bench: Bench) -> None:
    """A counter expires when it was to expire; then it begins anew, and lives on."""
    bench.fill({b"n": number(1)}, ttl=1000)
    assert bench.one(Increment("", [b"n"], [number(1)], [number(0)])) == number(2)
    bench.clock.advance(1)
    assert bench.one(Increment("", [b"n"], [number(1)], [number(0)])) == number(1)
    bench.clock.advance(10)
    bench.sweep()
    assert bench.one(Increment("", [b"n"], [number(1)], [number(0)])) == number(2)


def test_increment_at_the_limit(bench: Bench) -> None:
    """A counter that has no room to grow, or to begin, is refused and stays as it is."""
    bench.fill({b"n": number(127)})
    limit = bench.store.used
    counting = Increment("", [b"n", b"x", b"n"], [number(1), number(1), number(-1)], [number(0)] * 3)
    assert bench.answers(counting, limit=limit) == [["SHARD_FULL", "SHARD_FULL", number(126)]]
    assert bench.store.used == limit


# -- sizes ----------------------------------------------------------------------------------------------------------


def test_large_things(bench: Bench) -> None:
    """Records of 16 MiB, keys of 8 KiB that differ in their last byte, empty records and the empty key, together."""
    large = bytes(range(256)) * (1 << 16)
    url = b"https://example.com/" + b"x" * 8172
    records = {b"large": large, url + b"1": b"one", url + b"2": large[:-1], b"": b"", b"empty": b""}
    bench.fill(records, ttl=1000)
    bench.fill(records, "pages")
    assert bench.store.used == 2 * sum(weight(key, record) for key, record in records.items())
    assert bench.answers(Read("", list(records)), Read("pages", list(records))) == [list(records.values())] * 2
    assert bench.scan(most=1) == bench.in_order(list(records))
    assert bench.answers(Has("", [url, url + b"3"]), Pop("pages", [url + b"2"])) == [[False, False], [large[:-1]]]
    bench.clock.advance(1)
    bench.sweep(1)
    assert (bench.store.documents, bench.scan()) == (4, [])


def test_a_hundred_indexes(bench: Bench) -> None:
    """A hundred indexes hold one key each their own way; half of them go, and the others stay."""
    ids = {f"index{each}": each for each in range(1, 101)}
    bench.result(bench.store.set_indexes(ids))

    def ask(make: Any) -> list[list[Outcome]]:
        tasks = [Task(make(name), each, [slot_of(b"a", name.encode())]) for name, each in ids.items()]
        return [outcomes(one) for one in bench.result(bench.store.apply(tasks, PLENTY, PLENTY))]

    assert ask(lambda name: Write(name, [b"a"], [name.encode()])) == [[True]] * 100
    bench.result(bench.store.set_indexes({name: each for name, each in ids.items() if each % 2}))
    expected: list[list[Outcome]] = [[True] if each % 2 else ["INDEX_NOT_FOUND"] for each in ids.values()]
    assert ask(lambda name: Has(name, [b"a"])) == expected
    bench.sweep(7)
    assert ask(lambda name: Has(name, [b"a"])) == expected
    assert bench.store.documents == 50


# -- restarts -------------------------------------------------------------------------------------------------------


def test_a_restart_keeps_everything(durable: Bench) -> None:
    """Documents, indexes, counts, versions, expiries, identity and what was remembered outlive a restart."""
    keys = [b"%d" % each for each in range(100)] + [b"k" * 2000]
    durable.fill(dict.fromkeys(keys, b"one"))
    durable.fill({b"a": b"two", b"b": b"three"}, "pages", ttl=5000)
    durable.result(durable.store.remember(b"text"))

    def all_of_it() -> list[object]:
        store = durable.store
        return [
            durable.applied(Item("", keys), Item("pages", [b"a", b"b"]), Has("links", [b"a"])),
            [durable.scan(), durable.scan(index="pages")],
            [store.documents, store.used, store.histogram(0, SLOTS, 20), store.identity, store.recall()],
        ]

    before = all_of_it()
    durable.restart()
    assert all_of_it() == before
    version = max(durable.version(key, "pages") for key in (b"a", b"b"))
    durable.fill({b"new": b""})
    assert durable.version(b"new") > version
    assert durable.one(Write("pages", [b"a"], [b""], [durable.version(b"a", "pages")])) is True


def test_a_snapshot_after_a_restart(durable: Bench) -> None:
    """What was there before a restart is in the first snapshot after it, though nothing has been changed since."""
    durable.fill({b"a": b"one", b"b": b"two"})
    durable.restart()
    snapshot = durable.store.snapshot()
    rows = sorted((row.key, row.record) for row in snapshot.page(PLENTY))
    snapshot.close()
    assert (snapshot.documents, rows) == (2, [(b"a", b"one"), (b"b", b"two")])


@pytest.mark.parametrize("key", [b"short", b"long" * 200])
def test_what_was_made_and_removed_within_a_batch(durable: Bench, key: bytes) -> None:
    """It has left nothing after a restart, whether it was there before or not."""
    for _ in range(2):
        assert durable.answers(Write("", [key], [b"one"]), Pop("", [key])) == [[True], [b"one"]]
        durable.restart()
        assert (durable.store.documents, durable.store.used, durable.scan()) == (0, 0, [])
        durable.fill({key: b"old"})
        durable.restart()


def test_versions_rise_over_a_restart_without_records(durable: Bench) -> None:
    """The versions of records that are gone aren't given again."""
    durable.fill({b"a": b""})
    version = durable.version(b"a")
    durable.one(Remove("", [b"a"]))
    durable.restart()
    durable.fill({b"a": b""})
    assert durable.version(b"a") > version


def test_time_passes_while_it_is_stopped(durable: Bench) -> None:
    """What expires while the store is closed isn't seen when it is open again, and its room comes back."""
    durable.fill({b"a": b"", b"b": b"", b"c": b""}, ttl=1000)
    durable.fill({b"c": b""}, ttl=1001)
    durable.close()
    durable.clock.advance(1)
    durable.open()
    assert durable.answers(Has("", [b"a", b"b", b"c"])) == [[False, False, True]]
    assert durable.store.documents == 3
    durable.sweep()
    assert (durable.store.documents, durable.store.used) == (1, weight(b"c", b""))


def test_dropped_indexes_are_swept_away_after_a_restart(durable: Bench) -> None:
    """What a dropped index held stays out of sight, and its sweeping goes on where it was."""
    durable.fill({b"%d" % each: b"" for each in range(20)}, "pages", ttl=1000)
    durable.fill({b"a": b""})
    durable.result(durable.store.set_indexes({"links": 2}))
    durable.result(durable.store.sweep(5))
    used = durable.store.used
    durable.restart()
    assert (durable.store.documents, durable.store.used) == (1, used)
    assert durable.one(Has("pages", [b"1"])) == "INDEX_NOT_FOUND"
    durable.sweep(5)
    assert (durable.store.documents, durable.store.used) == (1, weight(b"a", b""))
    durable.clock.advance(1)
    durable.sweep()
    assert durable.store.documents == 1


def test_limit_holds_over_a_restart(durable: Bench) -> None:
    """A store that is full is full after a restart too."""
    durable.fill({b"a": b"12345"})
    limit = durable.store.used
    durable.restart()
    assert durable.one(Write("", [b"b"], [b""]), limit) == "SHARD_FULL"
    assert durable.one(Pop("", [b"a"]), limit) == b"12345"
    assert durable.one(Write("", [b"b"], [b"12345"]), limit) is True


# -- any sequence ---------------------------------------------------------------------------------------------------

_LONG = b"k" * 600
_LARGE = 30_000
_FEW_KEYS = [*neighbors(), *(b"key%d" % each for each in range(7)), b"", _LONG, _LONG + b"2"]
_keys = st.sampled_from(_FEW_KEYS)
_records = (
    st.binary(max_size=12)
    | st.integers(-300, 300).map(number)
    | st.builds(bytes, st.just(_LARGE))
    | st.integers(2**63, 2**70).map(number)
)
_NAMES = ["pages", "links", "gone"]
_names = st.sampled_from(["", *_NAMES])
_ttls = st.sampled_from([0, 0, 1, 250, 1000, 1001])  # time passes in steps of 250

#: What a write or removal asks for: nothing, that the key is new, that it has the version it has, or another one.
_WANTS = ["always", "always", "absent", "present", "other"]


@attrs.frozen
class Wish:
    """One operation, before it is known which versions there are."""

    verb: str
    key: bytes
    record: bytes
    want: str
    ttl: int


_wishes = st.builds(
    Wish,
    st.sampled_from(["read", "has", "item", "write", "write", "write", "pop", "remove", "touch", "increment"]),
    _keys,
    _records,
    st.sampled_from(_WANTS),
    _ttls,
)


@attrs.frozen
class Stored:
    """A record of the model.

    :param order: rises with every write of the machine, as versions do.
    """

    order: int
    expires: int
    record: bytes


class Model:
    """What a store is, said as plainly as can be: a dict of records for each index.

    :ivar versions: order → version, of the writes of which a version was seen.
    """

    def __init__(self) -> None:
        self.indexes: dict[str, dict[bytes, Stored]] = {"": {}}
        self.dropped: list[dict[bytes, Stored]] = []
        self.order = 0
        self.versions: dict[int, int] = {}

    @property
    def used(self) -> int:
        held = [*self.indexes.values(), *self.dropped]
        return sum(weight(key, stored.record) for index in held for key, stored in index.items())

    @property
    def documents(self) -> int:
        return sum(map(len, self.indexes.values()))

    def live(self, name: str, now: int) -> dict[bytes, Stored]:
        """What can be seen of an index."""
        return {key: one for key, one in self.indexes[name].items() if not 0 < one.expires <= now}

    def sweep(self, now: int) -> None:
        """Forget what nobody can see."""
        self.dropped = []
        self.indexes = {name: self.live(name, now) for name in self.indexes}

    def saw(self, stored: Stored, version: int) -> None:
        """Compare a version that the store gave with those that it gave before."""
        assert self.versions.setdefault(stored.order, version) == version
        in_order = [self.versions[order] for order in sorted(self.versions)]
        assert in_order == sorted(set(in_order))

    def apply(self, run: Run, found: list[Outcome], limit: int, room: int, now: int) -> int:
        """Compare the outcomes of a run with what they must be; what room is left for others."""
        for position, (key, outcome) in enumerate(zip(run.keys, found, strict=True)):
            if room <= 0:
                assert outcome == "ANSWER_FULL"
                continue
            self._one(run, position, key, outcome, limit, now)
            room -= len(outcome) if isinstance(outcome, bytes) else 0
        return room

    def _one(self, run: Run, position: int, key: bytes, outcome: Outcome, limit: int, now: int) -> None:
        index = self.indexes[run.index]
        old = self.live(run.index, now).get(key)
        if isinstance(run, Has):
            assert outcome is (old is not None)
        elif isinstance(run, Read):
            self._check_record(outcome, old, VERSION.size, b"")
        elif isinstance(run, Item):
            expires = old.expires if old else 0
            tail = VERSION.pack(expires) + VERSION.pack(max(0, expires - now))
            self._check_record(outcome, old, VERSION.size, tail)
        elif isinstance(run, Touch):
            assert outcome is (old is not None)
            if old is not None:
                index[key] = attrs.evolve(old, expires=now + run.ttls[position] if run.ttls[position] else 0)
        elif isinstance(run, Pop | Remove):
            met = old is not None and self._met(run.conditions, position, old)
            if isinstance(run, Pop):
                self._check_record(outcome, old if met else None, VERSION.size, b"")
            else:
                assert outcome == (old.record[:5] if old and met else None)
            if met:
                del index[key]
        elif isinstance(run, Write):
            if self._met(run.conditions, position, old):
                ttl = run.ttls[position] if run.ttls else 0
                self._store(index, key, run.records[position], now + ttl if ttl else 0, outcome, True, limit)
            else:
                assert outcome is False
        else:
            assert isinstance(run, Increment)
            try:
                values = [
                    documents.decode(one)
                    for one in (old.record if old else run.initials[position], run.amounts[position])
                ]
            except InvalidDocument:
                values = [None]
            if any(type(one) is not int for one in values):
                assert outcome == "NOT_A_NUMBER"
            else:
                record = number(sum(values))  # type: ignore[arg-type]  # ints, as was just seen
                self._store(index, key, record, old.expires if old else 0, outcome, record, limit)

    def _check_record(self, outcome: Outcome, stored: Stored | None, version_size: int, between: bytes) -> None:
        if stored is None:
            assert outcome is None
            return
        assert isinstance(outcome, bytes)
        assert outcome[version_size:] == between + stored.record
        self.saw(stored, VERSION.unpack_from(outcome)[0])

    def _met(self, conditions: list[int] | None, position: int, old: Stored | None) -> bool:
        wanted = ALWAYS if conditions is None else conditions[position]
        if wanted in (ALWAYS, ABSENT):
            return wanted == ALWAYS or old is None
        return old is not None and self.versions.get(old.order) == wanted

    def _store(
        self,
        index: dict[bytes, Stored],
        key: bytes,
        record: bytes,
        expires: int,
        outcome: Outcome,
        expected: Outcome,
        limit: int,
    ) -> None:
        there = index.get(key)
        grows = weight(key, record) - (0 if there is None else weight(key, there.record))
        if grows > 0 and self.used + grows > limit:
            assert outcome == "SHARD_FULL"
            return
        assert outcome == expected
        self.order += 1
        index[key] = Stored(self.order, expires, record)


class StoreAgainstModel(RuleBasedStateMachine):
    """Any sequence of batches, index changes, scans, sweeps and restarts: the store does what the model does."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.ids = {"": DEFAULT_INDEX}
        self.next_id = 1
        self.text: bytes | None = None
        self.folder = folder()
        self.bench = Bench(self.kind, self.folder.__enter__())

    def teardown(self) -> None:
        if isinstance(self.bench.store, LmdbStore):
            check_consistent(self.bench.store)
        self.bench.close()
        self.folder.__exit__(None, None, None)

    def _ask(self, runs: list[Run], limit: int = PLENTY, room: int = PLENTY) -> None:
        """Apply a batch to both."""
        tasks = [Task(run, self.ids[run.index], [slot_of(key, run.index.encode()) for key in run.keys]) for run in runs]
        answered = self.bench.result(self.bench.store.apply(tasks, limit, room))
        for run, answer in zip(runs, answered, strict=True):
            room = self.model.apply(run, outcomes(answer), limit, room, self.bench.now)

    def _condition(self, name: str, wish: Wish) -> int:
        stored = self.model.live(name, self.bench.now).get(wish.key)
        version = self.model.versions.get(stored.order, 1) if stored else 1
        return {"always": ALWAYS, "absent": ABSENT, "present": version, "other": version + 1}[wish.want]

    @rule(
        groups=st.lists(st.tuples(_names, st.lists(_wishes, max_size=8)), max_size=4),
        free=st.integers(-300, 1500) | st.just(PLENTY),
        room=st.just(PLENTY) | st.integers(0, 80),
    )
    def batch(self, groups: list[tuple[str, list[Wish]]], free: int, room: int) -> None:
        """Any batch, with little room to grow and little room to answer."""
        groups = [(name, wishes) for name, wishes in groups if name in self.ids]
        self._ask([Item(name, [wish.key for wish in wishes]) for name, wishes in groups])  # so versions are known
        runs: list[Run] = []
        for name, wishes in groups:
            for verb, some in groupby(wishes, attrgetter("verb")):
                together = list(some)
                keys, records = [wish.key for wish in together], [wish.record for wish in together]
                conditions = [self._condition(name, wish) for wish in together]
                ttls = [wish.ttl for wish in together]
                made: dict[str, Run] = {
                    "read": Read(name, keys),
                    "has": Has(name, keys),
                    "item": Item(name, keys),
                    "write": Write(name, keys, records, conditions, ttls),
                    "pop": Pop(name, keys, conditions),
                    "remove": Remove(name, keys, conditions),
                    "touch": Touch(name, keys, ttls),
                    "increment": Increment(name, keys, [number(1)] * len(keys), records),
                }
                runs.append(made[verb])
        self._ask(runs, self.model.used + free, room)

    @rule(name=st.sampled_from(_NAMES))
    def create_or_drop(self, name: str) -> None:
        """Drop an index that is there, create one that isn't, under an id of its own."""
        if name in self.ids:
            del self.ids[name]
            self.model.dropped.append(self.model.indexes.pop(name))
        else:
            self.ids[name], self.next_id = self.next_id, self.next_id + 1
            self.model.indexes[name] = {}
        self.bench.result(self.bench.store.set_indexes({name: each for name, each in self.ids.items() if name}))

    @rule(name=_names, most=st.integers(1, 20), most_bytes=st.integers(1, 2000))
    def scan(self, name: str, most: int, most_bytes: int) -> None:
        """All pages of an index."""
        name = name if name in self.ids else ""
        store, start, after, found = self.bench.store, 0, None, list[bytes]()
        while True:
            page = self.bench.result(store.page(self.ids[name], start, after, SLOTS, most, most_bytes))
            found += page.keys
            if not page.more:
                break
            start, after = slot_of(found[-1], name.encode()), found[-1]
        assert found == self.bench.in_order(set(self.model.live(name, self.bench.now)), name)

    @rule(steps=st.integers(1, 8))
    def time_passes(self, steps: int) -> None:
        """A quarter of a second, or some."""
        self.bench.clock.advance(steps / 4)

    @rule(most=st.integers(1, 20))
    def sweep(self, most: int) -> None:
        """What nobody can see goes, so many at a time."""
        store, more = self.bench.store, True
        while more:
            used = store.used
            more = self.bench.result(store.sweep(most))
            assert 0 <= used - store.used <= most * weight(_LONG + b"2", bytes(_LARGE))
        self.model.sweep(self.bench.now)

    @rule(most_bytes=st.integers(1, 3000))
    def snapshot(self, most_bytes: int) -> None:
        """A snapshot has what can be seen."""
        snapshot, found = self.bench.store.snapshot(), list[Row]()
        while page := snapshot.page(most_bytes):
            found += page
        snapshot.close()
        expected = [
            Row(each, key, stored.expires, stored.record)
            for name, each in self.ids.items()
            for key, stored in self.model.live(name, self.bench.now).items()
        ]
        assert snapshot.documents == len(found)
        assert sorted(found, key=lambda row: (row.index, row.key)) == sorted(
            expected, key=lambda row: (row.index, row.key)
        )

    @rule(text=st.binary(max_size=5))
    def remember(self, text: bytes) -> None:
        """The store keeps a text of the shard's."""
        self.bench.result(self.bench.store.remember(text))
        self.text = text

    @precondition(lambda self: self.bench.durable)
    @rule()
    def restart(self) -> None:
        """Close the store, and open it again."""
        self.bench.restart()

    @precondition(lambda self: self.bench.durable)
    @rule()
    def crash(self) -> None:
        """Kill the store's process, and open the store again. What had been swept away may have to be once more."""
        self.bench.crash()
        self.bench.sweep()
        self.model.sweep(self.bench.now)

    @invariant()
    def counts_are_exact(self) -> None:
        """Documents, bytes and histogram are what a full recount gives, and the text is what it was."""
        store, dropped = self.bench.store, sum(map(len, self.model.dropped))
        assert (store.documents, store.used, store.recall()) == (self.model.documents, self.model.used, self.text)
        assert store.documents <= sum(store.histogram(0, SLOTS, 7)) <= store.documents + dropped


@pytest.mark.parametrize("kind", FAST_KINDS)
def test_store_against_model(kind: str) -> None:
    """After any sequence of operations the store holds, answers and counts what the model does."""
    machine = type("StoreAgainstModel", (StoreAgainstModel,), {"kind": kind})
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(
            max_examples=60, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
        ),
    )


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
    assert bench.store.holds(0, [b"a", b"b", b"a"]) is not bench.durable
    for index, keys in ((0, [b"a", b"c"]), (1, [b"a"]), (7, [b"a"])):
        assert not bench.store.holds(index, keys)
