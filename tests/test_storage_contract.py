"""What every store keeps: the promises of `pyshard.storage.interface`, over each implementation.

A new store gets a bench of its own in `BENCHES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count, pairwise
from typing import TypeAlias, TypeVar

import attrs
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.batch import HEAD_BYTES, Add, Answer, Has, Pop, Read, Remove, Result, Run, Write
from pyshard.cluster import DEFAULT_INDEX
from pyshard.errors import IndexNotFound, PyshardError
from pyshard.hashing import SLOTS, slot_of
from pyshard.settings import settings
from pyshard.storage import IStore, MemoryStore, Page, Task

_T = TypeVar("_T")

OVERHEAD = settings.ITEM_OVERHEAD
PLENTY = 1_000_000

#: An outcome as tests compare it: a result, or the code of a refusal.
Outcome: TypeAlias = Result | str


# -- a store on its bench -------------------------------------------------------------------------------------------


@attrs.frozen
class Bench:
    """A store, and how to wait for what it promises.

    :param wait: gives what a Deferred of this store comes to, or raises what it fails with.
    """

    store: IStore
    wait: Callable[[Deferred[object]], object]

    def result(self, deferred: Deferred[_T]) -> _T:
        """What a Deferred comes to."""
        return self.wait(deferred)  # type: ignore[arg-type, return-value]  # `wait` does this for any type

    def answers(self, *runs: Run, limit: int = PLENTY, room: int = PLENTY) -> list[list[Outcome]]:
        """Apply runs as one batch; for each, results and codes of refusals in the order of its keys."""
        tasks = [task(run) for run in runs]
        return [outcomes(answer) for answer in self.result(self.store.apply(tasks, limit, room))]

    def fill(self, records: Mapping[bytes, bytes], index: str = "") -> None:
        """Store records."""
        stored = self.answers(Write(index, list(records), list(records.values())))
        assert stored == [[True] * len(records)]

    def page(
        self,
        start: int = 0,
        after: bytes | None = None,
        end: int = SLOTS,
        most: int = 1000,
        most_bytes: int = PLENTY,
        index: str = "",
    ) -> Page:
        """One page of an index."""
        return self.result(self.store.page(INDEXES[index], start, after, end, most, most_bytes))

    def scan(
        self, start: int = 0, end: int = SLOTS, most: int = 1000, most_bytes: int = PLENTY, index: str = ""
    ) -> list[bytes]:
        """All keys of an index, page after page."""
        pages = list(self.pages(start, end, most, most_bytes, index))
        return [key for page in pages for key in page.keys]

    def pages(self, start: int, end: int, most: int, most_bytes: int, index: str) -> Iterator[Page]:
        """The pages of an index, each asked for when it is wanted."""
        after: bytes | None = None
        while True:
            page = self.page(start, after, end, most, most_bytes, index)
            yield page
            if not page.more:
                return
            assert page.keys, "a page that isn't the last one has keys"
            assert after is None or page.keys[-1] != after, "a page leads on"
            after = page.keys[-1]
            start = slot_of(after, index.encode())


def outcomes(answer: Answer) -> list[Outcome]:
    """Results, with the code of the refusal where there is one."""
    assert [answer.results[position] for position in answer.errors] == [None] * len(answer.errors)
    return [one.code if isinstance(one, PyshardError) else one for one in answer.outcomes()]


def at_once(deferred: Deferred[object]) -> object:
    """What a Deferred that has fired came to."""
    found: list[object] = []
    deferred.addBoth(found.append)
    assert found, "a store in memory answers at once"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]


@contextmanager
def memory_bench() -> Iterator[Bench]:
    """`MemoryStore`."""
    bench = Bench(MemoryStore("1d"), at_once)
    yield bench
    bench.result(bench.store.close())


#: Each store, empty, with the named indexes that tests use still to be made.
BENCHES: dict[str, Callable[[], AbstractContextManager[Bench]]] = {"memory": memory_bench}

#: The indexes that tests use: name → id.
INDEXES = {"": DEFAULT_INDEX, "pages": 1, "links": 2, "gone": 3}
NAMED = {"pages": 1, "links": 2}


@contextmanager
def prepared(kind: str) -> Iterator[Bench]:
    """A store of a kind, with the indexes `NAMED`."""
    with BENCHES[kind]() as bench:
        bench.result(bench.store.set_indexes(NAMED))
        yield bench


@pytest.fixture(params=BENCHES)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of store."""
    return str(request.param)


@pytest.fixture
def bench(kind: str) -> Iterator[Bench]:
    """An empty store of each kind, with the indexes `NAMED`."""
    with prepared(kind) as bench:
        yield bench


def task(run: Run) -> Task:
    """The task of a run, in one of `INDEXES`."""
    return Task(run, INDEXES[run.index], [slot_of(key, run.index.encode()) for key in run.keys])


def weight(key: bytes, record: bytes) -> int:
    """Bytes that a document counts."""
    return len(key) + len(record) + OVERHEAD


def in_order(keys: Sequence[bytes] | set[bytes], index: str = "") -> list[bytes]:
    """Keys in (slot, key) order."""
    return sorted(keys, key=lambda key: (slot_of(key, index.encode()), key))


def neighbors() -> tuple[bytes, bytes, bytes]:
    """Three keys, in order, that share one slot of the default index."""
    by_slot: dict[int, list[bytes]] = {}
    for number in count():
        key = b"%d" % number
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
    """`add` stores what is new and leaves what is there."""
    assert bench.answers(Add("", [b"a", b"b", b"a"], [b"one", b"two", b"three"])) == [[True, True, False]]
    assert bench.answers(Add("", [b"b"], [b"four"]), Read("", [b"a", b"b"])) == [[False], [b"one", b"two"]]


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
        Add("", [b"a"], [b"three"]),
        Pop("", [b"a", b"a"]),
        Add("", [b"a"], [b"four"]),
        Remove("", [b"a"]),
        Has("", [b"a"]),
    ) == [[None], [True, True], [b"two"], [False], [b"two", None], [True], [b"four"], [False]]


def test_order_of_batches(bench: Bench) -> None:
    """Batches take effect in the order in which they were given, also when none waits for the one before."""
    asked = [bench.store.apply([task(Write("", [b"a"], [b"%d" % number]))], PLENTY, PLENTY) for number in range(10)]
    asked.append(bench.store.apply([task(Read("", [b"a"]))], PLENTY, PLENTY))
    found = [outcomes(bench.result(one)[0]) for one in asked]
    assert found == [[True]] * 10 + [[b"9"]]


def test_empty_batch_and_run(bench: Bench) -> None:
    """A batch without runs has no answers, and a run without keys an empty one."""
    assert bench.answers() == []
    assert bench.answers(Read("", []), Write("", [], []), Pop("", []), room=0) == [[], [], []]


def test_records_are_opaque(bench: Bench) -> None:
    """Any bytes are a key, and any a record."""
    records = {b"": b"\x00", b"\x00": b"", bytes(range(256)): bytes(range(256)) * 10, b"k" * 5000: b"r" * 100_000}
    bench.fill(records)
    assert bench.answers(Read("", list(records))) == [list(records.values())]
    assert bench.scan() == in_order(list(records))


def test_long_keys_are_whole(bench: Bench) -> None:
    """Keys that differ in their last byte only are different keys, however long they are."""
    keys = [b"k" * length + end for length in (510, 511, 512, 65_535) for end in (b"", b"1", b"2")]
    bench.fill({key: b"%d" % number for number, key in enumerate(keys)})
    assert bench.answers(Read("", keys)) == [[b"%d" % number for number in range(len(keys))]]
    assert bench.scan(most=1) == in_order(keys)
    assert bench.answers(Pop("", keys[1::2]))[0] == [b"%d" % number for number in range(1, len(keys), 2)]
    assert bench.answers(Has("", keys)) == [[number % 2 == 0 for number in range(len(keys))]]


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
    assert (bench.store.documents, bench.store.used) == (2, weight(b"a", b"links") + weight(b"a", b""))


def test_index_created_again(bench: Bench) -> None:
    """A name that comes back with a new id is a new, empty index; the old id stays unknown."""
    bench.fill({b"a": b"old"}, "pages")
    bench.result(bench.store.set_indexes({"links": 2}))
    bench.result(bench.store.set_indexes({"links": 2, "pages": 3}))
    new = Task(Read("pages", [b"a"]), 3, [slot_of(b"a", b"pages")])
    old = Task(Read("pages", [b"a"]), 1, [slot_of(b"a", b"pages")])
    answered = bench.result(bench.store.apply([new, old], PLENTY, PLENTY))
    assert [outcomes(one) for one in answered] == [[None], ["INDEX_NOT_FOUND"]]


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


@pytest.mark.parametrize("verb", [Write, Add])
def test_full_exactly_at_the_limit(bench: Bench, verb: type[Write | Add]) -> None:
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
    """The documents of a dropped index leave their room to others."""
    bench.fill({b"a": b"12345"}, "pages")
    limit = bench.store.used
    bench.result(bench.store.set_indexes({"links": 2}))
    assert bench.answers(Write("links", [b"b"], [b"12345"]), limit=limit) == [[True]]


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
    bench.fill(dict.fromkeys(keys, b"12345"))
    assert bench.answers(verb("", keys[:2]), room=10) == [[b"12345", b"12345"]]
    bench.fill(dict.fromkeys(keys, b"12345"))
    assert bench.answers(verb("", keys), room=11) == [[b"12345", b"12345", b"12345", "ANSWER_FULL"]]
    bench.fill(dict.fromkeys(keys, b"12345"))
    assert bench.answers(verb("", keys), room=10) == [[b"12345", b"12345", "ANSWER_FULL", "ANSWER_FULL"]]


def test_answer_takes_one_large_record(bench: Bench) -> None:
    """A record larger than the room is answered all the same, so that it can be read at all."""
    bench.fill({b"a": b"1" * 1000, b"b": b""})
    assert bench.answers(Read("", [b"a", b"b"]), room=1) == [[b"1" * 1000, "ANSWER_FULL"]]


def test_full_answer_refuses_missing_keys_too(bench: Bench) -> None:
    """Behind the record that filled the answer nothing is looked up, so that nobody takes a key for missing."""
    bench.fill({b"a": b"12345"})
    assert bench.answers(Read("", [b"x", b"a", b"x"]), room=5) == [[None, b"12345", "ANSWER_FULL"]]
    assert bench.answers(Read("", [b"a", b"a", b"x"]), room=5) == [[b"12345", "ANSWER_FULL", "ANSWER_FULL"]]
    assert bench.answers(Pop("", [b"a", b"x"]), room=5) == [[b"12345", "ANSWER_FULL"]]


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
        Add("pages", [b"new"], [b""]),
        Has("", [b"b"]),
        Read("pages", [b"p"]),
        Pop("", [b"b"]),
        Remove("pages", [b"p"]),
        room=5,
    ) == [[b"12345"], [full, full], [full], [full], [full], [full], [full]]
    assert bench.answers(Read("", [b"b", b"new"]), Read("pages", [b"p", b"new"])) == [[b"two", None], [b"page", None]]
    assert bench.store.used == before


def test_room_is_one_for_the_batch(bench: Bench) -> None:
    """All runs of a batch share the room, whichever verbs they have."""
    bench.fill(dict.fromkeys([b"a", b"b", b"c", b"d"], b"12345"))
    assert bench.answers(
        Read("", [b"a"]), Read("", [b"b"]), Pop("", [b"b"]), Remove("", [b"c"]), Read("", [b"d"]), room=16
    ) == [[b"12345"], [b"12345"], [b"12345"], [b"12345"], ["ANSWER_FULL"]]
    assert bench.answers(Has("", [b"b", b"c", b"d"])) == [[False, False, True]]


@pytest.mark.parametrize("verb", [Pop, Remove])
def test_full_answer_stops_removing(bench: Bench, verb: type[Pop | Remove]) -> None:
    """What is behind the record that filled the answer stays in the store."""
    bench.fill({b"a": b"12345", b"b": b"12345", b"c": b"12345"})
    assert bench.answers(verb("", [b"a", b"b", b"c"]), room=6) == [[b"12345", b"12345", "ANSWER_FULL"]]
    assert bench.answers(Has("", [b"a", b"b", b"c"])) == [[False, False, True]]
    assert (bench.store.documents, bench.store.used) == (1, weight(b"c", b"12345"))


def test_remove_answers_with_heads_only(bench: Bench) -> None:
    """`remove` takes of the room what it answers with: five bytes, however long the record."""
    bench.fill({b"a": b"1" * 1000, b"b": b"1" * 1000, b"c": b""})
    assert bench.answers(Remove("", [b"a", b"b", b"c"]), room=10) == [[b"11111", b"11111", "ANSWER_FULL"]]
    assert bench.answers(Has("", [b"c"])) == [[True]]


def test_verbs_without_records_take_no_room(bench: Bench) -> None:
    """`has`, `write`, `add` and keys that don't exist leave the room to others."""
    assert bench.answers(
        Write("", [b"a"], [b"12345"]), Add("", [b"b"], [b"12345"]), Has("", [b"a"]), Read("", [b"x", b"a"]), room=1
    ) == [[True], [True], [True], [None, b"12345"]]


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
    keys = in_order([b"%d" % number for number in range(50)])
    bench.fill(dict.fromkeys(keys, b""))
    slots = [slot_of(key) for key in keys]
    assert bench.page(slots[10], None, slots[20]) == Page(keys[10:20], False)
    assert bench.page(slots[10] + 1, None, slots[20] + 1) == Page(keys[11:21], False)
    assert bench.page(slots[10], keys[10], slots[20], most=5) == Page(keys[11:16], True)
    assert bench.page(slots[10], None, slots[10]) == Page([], False)
    assert bench.page(SLOTS - 1, None, SLOTS) == Page([], False)


def test_page_takes_the_key_that_fills_it(bench: Bench) -> None:
    """Keys are taken while there is room in bytes; the one that fills it, or goes past it, is the last."""
    keys = in_order([b"%03d" % number for number in range(10)])
    bench.fill(dict.fromkeys(keys, b""))
    assert bench.page(most_bytes=6) == Page(keys[:2], True)
    assert bench.page(most_bytes=7) == Page(keys[:3], True)
    assert bench.page(most_bytes=1) == Page(keys[:1], True)
    assert bench.page(most_bytes=30).keys == keys


key_sets = st.sets(st.binary(max_size=6) | st.integers(0, 2000).map(lambda number: b"%d" % number), max_size=60)


@pytest.mark.parametrize("kind", BENCHES)
@given(key_sets, st.integers(1, 70), st.integers(1, 200), st.sampled_from(["", "pages"]))
def test_scan_gives_each_key_once(kind: str, keys: set[bytes], most: int, most_bytes: int, index: str) -> None:
    """Pages of any size, in keys or bytes, give all keys of the index in (slot, key) order, each once."""
    with prepared(kind) as bench:
        bench.fill(dict.fromkeys(keys, b""), index)
        bench.fill({b"other": b""}, "links")
        pages = list(bench.pages(0, SLOTS, most, most_bytes, index))
    assert [key for page in pages for key in page.keys] == in_order(keys, index)
    for page in pages:
        assert len(page.keys) <= most
        assert sum(map(len, page.keys[:-1])) < most_bytes


@pytest.mark.parametrize("kind", BENCHES)
@given(key_sets, st.lists(st.integers(0, SLOTS), max_size=5), st.integers(1, 70))
def test_parts_make_the_whole(kind: str, keys: set[bytes], cuts: list[int], most: int) -> None:
    """Scans of neighboring ranges give together what one scan of both gives."""
    bounds = [0, *sorted(cuts), SLOTS]
    with prepared(kind) as bench:
        bench.fill(dict.fromkeys(keys, b""))
        parts = [bench.scan(start, end, most) for start, end in pairwise(bounds)]
    assert [key for part in parts for key in part] == in_order(keys)


@pytest.mark.parametrize("kind", BENCHES)
@given(key_sets, st.lists(st.tuples(key_sets, key_sets), min_size=1, max_size=8), st.integers(1, 10))
def test_scan_while_keys_come_and_go(
    kind: str, stay: set[bytes], changes: list[tuple[set[bytes], set[bytes]]], most: int
) -> None:
    """A key that is there from a scan's start to its end comes exactly once, and none comes twice."""
    with prepared(kind) as bench:
        bench.fill(dict.fromkeys(stay, b"stays"))
        ever = set(stay)
        seen: list[bytes] = []
        for number, page in enumerate(bench.pages(0, SLOTS, most, PLENTY, "")):
            seen += page.keys
            come, go = changes[number % len(changes)]
            bench.answers(Remove("", list(go - stay)), Add("", list(come), [b"comes"] * len(come)))
            ever |= come
    assert len(seen) == len(set(seen))
    assert seen == in_order(seen)
    assert stay <= set(seen) <= ever


# -- counts, memory, end --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BENCHES)
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
    keys = [key for key in (b"%d" % number for number in range(30_000)) if slot_of(key) < end]
    bench.fill(dict.fromkeys(keys, b""))
    check_bars(bench.store.histogram(0, end, 40), [slot_of(key) for key in keys], 0, end)


def test_histogram_at_the_ends(bench: Bench) -> None:
    """Documents at the very ends of the range asked for count in the first and the last bar."""
    keys = [b"%d" % number for number in range(2000)]
    for key in keys:
        slot = slot_of(key)
        bench.fill({key: b""})
        for start, end in ((slot, SLOTS), (0, slot + 1), (slot, slot + 1)):
            assert sum(bench.store.histogram(start, end, 3)) == 1
        bench.answers(Remove("", [key]))


def test_histogram_after_removing(bench: Bench) -> None:
    """Documents that were removed don't count."""
    keys = [b"%d" % number for number in range(1000)]
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


# -- any sequence ---------------------------------------------------------------------------------------------------

_FEW_KEYS = [*neighbors(), *(b"key%d" % number for number in range(9)), b"", b"k" * 600]
_keys = st.sampled_from(_FEW_KEYS)
_records = st.binary(max_size=12)
_NAMES = ["pages", "links", "gone"]
_names = st.sampled_from(["", *_NAMES])
_KEEP: list[type[Write | Add]] = [Write, Add]
_LOOK: list[type[Read | Has | Pop | Remove]] = [Read, Has, Pop, Remove]


@st.composite
def _runs(draw: st.DrawFn) -> Run:
    index = draw(_names)
    keys = draw(st.lists(_keys, max_size=6))
    if draw(st.booleans()):
        keep = draw(st.sampled_from(_KEEP))
        return keep(index, keys, [draw(_records) for _ in keys])
    look = draw(st.sampled_from(_LOOK))
    return look(index, keys)


class Model:
    """What a store is, said as plainly as can be: a dict of records for each index."""

    def __init__(self) -> None:
        self.indexes: dict[str, dict[bytes, bytes]] = {"": {}}

    @property
    def used(self) -> int:
        return sum(weight(key, record) for index in self.indexes.values() for key, record in index.items())

    def apply(self, runs: list[Run], limit: int, room: int) -> list[list[Outcome]]:
        """The outcomes of a batch on indexes that exist."""
        answers = []
        for run in runs:
            answer: list[Outcome] = []
            records = run.records if isinstance(run, Write | Add) else run.keys
            for key, record in zip(run.keys, records, strict=True):
                outcome = "ANSWER_FULL" if room <= 0 else self._one(run, self.indexes[run.index], key, record, limit)
                if isinstance(outcome, bytes):
                    room -= len(outcome)
                answer.append(outcome)
            answers.append(answer)
        return answers

    def _one(self, run: Run, index: dict[bytes, bytes], key: bytes, record: bytes, limit: int) -> Outcome:
        old = index.get(key)
        if isinstance(run, Read):
            return old
        if isinstance(run, Has):
            return old is not None
        if isinstance(run, Pop | Remove):
            index.pop(key, None)
            return old if isinstance(run, Pop) or old is None else old[:5]
        if isinstance(run, Add) and old is not None:
            return False
        grows = weight(key, record) - (0 if old is None else weight(key, old))
        if grows > 0 and self.used + grows > limit:
            return "SHARD_FULL"
        index[key] = record
        return True


class StoreAgainstModel(RuleBasedStateMachine):
    """Any sequence of batches, index changes and scans: the store does what the model does."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.ids = {"": DEFAULT_INDEX}
        self.next_id = 1
        self.opened = BENCHES[self.kind]()
        self.bench = self.opened.__enter__()

    def teardown(self) -> None:
        self.opened.__exit__(None, None, None)

    @rule(
        runs=st.lists(_runs(), max_size=6),
        free=st.integers(-300, 1500),
        room=st.just(PLENTY) | st.integers(0, 40),
    )
    def batch(self, runs: list[Run], free: int, room: int) -> None:
        """Any batch, with little room to grow and little room to answer."""
        runs = [run for run in runs if run.index in self.ids]
        limit = self.model.used + free
        tasks = [Task(run, self.ids[run.index], [slot_of(key, run.index.encode()) for key in run.keys]) for run in runs]
        answered = self.bench.result(self.bench.store.apply(tasks, limit, room))
        assert [outcomes(one) for one in answered] == self.model.apply(runs, limit, room)

    @rule(name=st.sampled_from(_NAMES))
    def create_or_drop(self, name: str) -> None:
        """Drop an index that is there, create one that isn't, under an id of its own."""
        if name in self.ids:
            del self.ids[name], self.model.indexes[name]
        else:
            self.ids[name], self.next_id = self.next_id, self.next_id + 1
            self.model.indexes[name] = {}
        self.bench.result(self.bench.store.set_indexes({name: number for name, number in self.ids.items() if name}))

    @rule(name=_names, most=st.integers(1, 20), most_bytes=st.integers(1, 2000))
    def scan(self, name: str, most: int, most_bytes: int) -> None:
        """All pages of an index."""
        name = name if name in self.ids else ""
        store, start, after, found = self.bench.store, 0, None, list[bytes]()
        while True:
            page = self.bench.result(store.page(self.ids[name], start, after, SLOTS, most, most_bytes))
            found += page.keys
            assert len(found) <= len(self.model.indexes[name])
            if not page.more:
                break
            assert page.keys, "a page that isn't the last one has keys"
            start, after = slot_of(found[-1], name.encode()), found[-1]
        assert found == in_order(list(self.model.indexes[name]), name)

    @invariant()
    def counts_are_exact(self) -> None:
        """Documents, bytes and histogram are what a full recount gives."""
        store = self.bench.store
        documents = sum(len(index) for index in self.model.indexes.values())
        assert (store.documents, store.used) == (documents, self.model.used)
        assert sum(store.histogram(0, SLOTS, 7)) == documents


def test_store_against_model(kind: str) -> None:
    """After any sequence of operations the store holds, answers and counts what the model does."""
    machine = type(f"StoreAgainstModel_{kind}", (StoreAgainstModel,), {"kind": kind})
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(
            max_examples=60, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
