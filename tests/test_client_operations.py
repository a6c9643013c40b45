"""The queue of one shard: what leaves when, in which order, and how each verb answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from pyshard import documents
from pyshard.batch import (
    ABSENT,
    ALWAYS,
    ITEM,
    VERSION,
    Answer,
    Has,
    Increment,
    Item,
    Pop,
    Read,
    Remove,
    Result,
    Run,
    Touch,
    Write,
)
from pyshard.client import queue as waiting
from pyshard.client.chunks import Chunk
from pyshard.client.operations import NO_OPTIONS, Operation, Options
from pyshard.client.queue import Box, OperationQueue
from pyshard.errors import InvalidDocument, Overloaded, PyshardError, ShardFull, Unavailable
from pyshard.settings import settings

READING = ["read", "has", "item"]
CHANGING = ["write", "pop", "remove", "touch", "increment"]


def operation(
    verb: str = "write",
    key: str = "k",
    record: bytes = b"r",
    *,
    index: str = "",
    expires: float = 10.0,
    slot: int = 0,
    size: int = 0,
    options: Options = NO_OPTIONS,
) -> Operation:
    """An operation; one that stores nothing has no record."""
    record = record if verb in ("write", "increment") else b""
    return Operation(verb, index, key.encode(), slot, expires, record, size, options)


def queue_of(*waiting: Operation, limit: int = settings.BOXES_IN_FLIGHT) -> OperationQueue:
    """A queue in which these wait."""
    queue = OperationQueue(limit)
    for one in waiting:
        queue.add(one)
    return queue


def next_box(queue: OperationQueue, now: float = 0.0) -> Box:
    """The next box; there must be one."""
    box = queue.next_box(now)
    assert box is not None
    return box


def held(box: Box) -> list[Operation]:
    """The single operations that a box holds."""
    assert all(isinstance(one, Operation) for one in box.entries)
    return cast("list[Operation]", list(box.entries))


def outcome(deferred: Deferred[object]) -> object:
    """What a Deferred has fired with, or the exception."""
    found: list[object] = []
    deferred.addCallbacks(found.append, lambda failure: found.append(failure.value))
    assert len(found) == 1
    return found[0]


def limit(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
    """Have the queue go by other settings."""
    monkeypatch.setattr(waiting, "settings", attrs.evolve(settings, **changed))


# ---------------------------------------------------------------------- boxes


def test_operations_leave_in_the_order_of_issue() -> None:
    """A box holds what waited, in the order in which it was issued, whatever the verbs, keys and indexes."""
    issued = [
        operation(verb, key, index=index)
        for verb, key, index in [
            ("write", "b", ""),
            ("read", "a", ""),
            ("pop", "b", "pages"),
            ("has", "c", ""),
            ("touch", "d", ""),
            ("remove", "b", ""),
            ("item", "e", ""),
            ("increment", "b", ""),
        ]
    ]
    queue = queue_of(*issued)
    assert len(queue) == 8
    assert held(next_box(queue, 3.5)) == issued
    assert queue.in_flight[0].sent == 3.5
    assert len(queue) == 0
    assert queue.next_box(4.0) is None


def test_runs_join_neighbors_only() -> None:
    """Neighbors of one verb and index become one run; nothing is sorted, so the order stays."""
    box = Box(
        [
            operation("write", "a", b"1"),
            operation("write", "a", b"2"),
            operation("read", "a"),
            operation("write", "b", b"3"),
            operation("write", "b", b"4", index="pages"),
            operation("increment", "c", b"5", index="pages", options=Options(initial=b"6")),
            operation("increment", "d", b"7", index="pages", options=Options(initial=b"8")),
            operation("has", "c"),
            operation("pop", "c"),
            operation("remove", "c"),
            operation("remove", "d"),
            operation("touch", "c", options=Options(ttl=1000)),
            operation("touch", "d"),
            operation("item", "c"),
        ],
        0.0,
    )
    expected: list[Run] = [
        Write("", [b"a", b"a"], [b"1", b"2"]),
        Read("", [b"a"]),
        Write("", [b"b"], [b"3"]),
        Write("pages", [b"b"], [b"4"]),
        Increment("pages", [b"c", b"d"], [b"5", b"7"], [b"6", b"8"]),
        Has("", [b"c"]),
        Pop("", [b"c"]),
        Remove("", [b"c", b"d"]),
        Touch("", [b"c", b"d"], [1000, 0]),
        Item("", [b"c"]),
    ]
    assert box.runs == expected


@pytest.mark.parametrize(
    ("options", "conditions", "ttls"),
    [
        ([NO_OPTIONS, NO_OPTIONS], None, None),
        ([Options(ABSENT), NO_OPTIONS], [ABSENT, ALWAYS], None),
        ([NO_OPTIONS, Options(7)], [ALWAYS, 7], None),
        ([NO_OPTIONS, Options(ttl=5)], None, [0, 5]),
        ([Options(7, 5), Options(8)], [7, 8], [5, 0]),
    ],
)
def test_runs_carry_conditions_and_ttls(
    options: list[Options], conditions: list[int] | None, ttls: list[int] | None
) -> None:
    """A run of writes says for each which condition and time to live it has, and nothing when none has any."""
    writes = [operation("write", key, b"r", options=one) for key, one in zip("ab", options, strict=True)]
    assert Box(writes, 0.0).runs == [Write("", [b"a", b"b"], [b"r", b"r"], conditions, ttls)]
    if ttls is None:
        for verb, kind in (("pop", Pop), ("remove", Remove)):
            some = [operation(verb, key, options=one) for key, one in zip("ab", options, strict=True)]
            assert Box(some, 0.0).runs == [kind("", [b"a", b"b"], conditions)]


def test_a_box_has_at_most_so_many_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A box takes BOX_OPERATIONS and leaves the rest to the next ones."""
    limit(monkeypatch, BOX_OPERATIONS=3)
    issued = [operation("read", f"{number}") for number in range(7)]
    queue = queue_of(*issued)
    assert [held(next_box(queue)) for _ in range(3)] == [issued[:3], issued[3:6], issued[6:]]


def test_a_box_has_at_most_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A box takes keys and records up to BOX_BYTES; an operation that alone has more travels alone."""
    limit(monkeypatch, BOX_BYTES=10)
    sizes = [4, 5, 1, 1, 30, 2, 9]
    issued = [operation("write", f"{place}", b"x" * (size - 1)) for place, size in enumerate(sizes)]
    queue = queue_of(*issued, limit=10)
    boxes = [[one.weight for one in held(next_box(queue))] for _ in range(5)]
    assert boxes == [[4, 5, 1], [1], [30], [2], [9]]


def test_an_increments_initial_value_weighs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an increment begins with travels with it, and counts among the bytes of its box."""
    limit(monkeypatch, BOX_BYTES=10)
    issued = [operation("increment", "k", b"xx", options=Options(initial=b"x" * 4)) for _ in range(2)]
    queue = queue_of(*issued)
    assert [one.weight for one in issued] == [7, 7]
    assert held(next_box(queue)) == issued[:1]


def test_only_so_many_boxes_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """No box leaves while as many as allowed are in flight; one that lands makes room for one."""
    limit(monkeypatch, BOX_OPERATIONS=1)
    queue = queue_of(*(operation("read", f"{number}") for number in range(4)), limit=2)
    first, _ = next_box(queue), next_box(queue)
    assert queue.next_box(0.0) is None
    queue.landed(first)
    next_box(queue)
    assert queue.next_box(0.0) is None
    assert len(queue) == 1


@pytest.mark.parametrize("first", READING + CHANGING)
@pytest.mark.parametrize("second", READING + CHANGING)
def test_boxes_in_flight_share_a_key_only_to_read_it(first: str, second: str) -> None:
    """While a box is in flight, an operation on one of its keys leaves only if both do nothing but read."""
    queue = queue_of(operation(first))
    box = next_box(queue)
    queue.add(operation(second))
    if first in READING and second in READING:
        next_box(queue)
    else:
        assert queue.next_box(0.0) is None
        queue.landed(box)
        next_box(queue)


def test_a_change_waits_for_every_box_that_reads_its_key() -> None:
    """A key that two boxes in flight read is changed only when both have landed."""
    queue = queue_of(operation("read"))
    first = next_box(queue)
    queue.add(operation("read"))
    second = next_box(queue)
    queue.add(operation("write"))
    queue.landed(first)
    assert queue.next_box(0.0) is None
    queue.landed(second)
    next_box(queue)


def test_one_box_may_hold_a_key_many_times() -> None:
    """Changes of one key, and reads behind them, share a box: a batch takes effect in its order."""
    issued = [operation(verb) for verb in ("write", "pop", "increment", "remove", "touch", "has", "item", "read")]
    assert held(next_box(queue_of(*issued))) == issued


@pytest.mark.parametrize("reading", READING)
@pytest.mark.parametrize("changing", CHANGING)
def test_a_box_does_not_change_a_key_after_reading_it(reading: str, changing: str) -> None:
    """A read whose answer is lost goes out again; were the change behind it in the same box, it would read that."""
    read, other, change = operation(reading), operation(changing, "other"), operation(changing)
    queue = queue_of(read, other, change)
    box = next_box(queue)
    assert held(box) == [read, other]
    queue.landed(box)
    queue.put_back([read])
    assert held(next_box(queue)) == [read]
    assert queue.next_box(0.0) is None


def test_a_key_of_another_index_is_another_key() -> None:
    """The same text in two indexes names two keys, which don't wait for each other."""
    queue = queue_of(operation("write", index=""))
    next_box(queue)
    queue.add(operation("write", index="pages"))
    next_box(queue)


def test_nothing_overtakes_an_operation_that_must_wait() -> None:
    """What was issued after an operation whose key is in flight waits with it."""
    queue = queue_of(operation("write", "a"))
    box = next_box(queue)
    free, blocked, behind = operation("write", "b"), operation("write", "a"), operation("write", "c")
    for one in (free, blocked, behind):
        queue.add(one)
    assert held(next_box(queue)) == [free]
    assert queue.next_box(0.0) is None
    queue.landed(box)
    assert held(next_box(queue)) == [blocked, behind]


def test_what_is_put_back_goes_before_all_others() -> None:
    """Operations that must go out again leave first, in the order given; those that are done meanwhile don't."""
    first, done, second, later = (operation("write", key) for key in "abcd")
    queue = queue_of(first, done, second)
    box = next_box(queue)
    queue.add(later)
    done.finish(Unavailable("too late"))
    outcome(done.deferred)
    queue.landed(box)
    queue.put_back(held(box))
    assert len(queue) == 3
    assert held(next_box(queue)) == [first, second, later]


# ---------------------------------------------------------------------- bounds


def test_only_so_many_operations_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """One operation more than MAX_WAITING is refused; what has left doesn't count."""
    limit(monkeypatch, MAX_WAITING=3)
    queue = queue_of(*(operation("read") for _ in range(3)))
    with pytest.raises(Overloaded, match="3 operations"):
        queue.add(operation("read"))
    next_box(queue)
    queue.add(operation("read"))
    assert len(queue) == 1


def test_only_so_many_bytes_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """With MAX_WAITING_BYTES of keys and records waiting nothing more is taken, until some of them have left."""
    limit(monkeypatch, MAX_WAITING_BYTES=100, BOX_OPERATIONS=1)
    first, second = operation("write", "a", b"x" * 50), operation("write", "b", b"x" * 48)
    queue = queue_of(first, second)
    with pytest.raises(Overloaded, match="100 bytes"):
        queue.add(operation("write", "c", b""))
    box = next_box(queue)
    queue.add(operation("write", "c", b"x"))
    queue.landed(box)
    queue.put_back([first])
    with pytest.raises(Overloaded, match="102 bytes"):
        queue.add(operation("write", "d", b""))


def test_what_is_taken_out_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """`take_waiting` gives everything in order, and leaves an empty queue that takes as much as a new one."""
    limit(monkeypatch, MAX_WAITING=2, MAX_WAITING_BYTES=10)
    issued = [operation("write", "a", b"xxxx"), operation("write", "b", b"xxxx")]
    queue = queue_of(*issued)
    assert queue.take_waiting() == issued
    assert queue.idle
    for one in issued:
        queue.add(one)


def test_what_has_expired_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations that ended at their deadline count no longer, so a shard that is away doesn't fill its queue."""
    limit(monkeypatch, MAX_WAITING=2, MAX_WAITING_BYTES=10)
    queue = queue_of(operation("write", "a", b"xxxx", expires=1.0), operation("write", "b", b"xxxx", expires=2.0))
    waiting, flying = queue.expired(1.0)
    assert ([str(one) for one in waiting], flying, len(queue)) == (["write of key 'a'"], [], 1)
    queue.add(operation("write", "c", b"xxxx"))
    assert [one.key for one in held(next_box(queue))] == [b"b", b"c"]


def test_idle_is_nothing_waiting_and_nothing_in_flight() -> None:
    """A queue is idle until something is added, and again when the last box has landed."""
    queue = OperationQueue()
    idle = [queue.idle]
    queue.add(operation())
    idle.append(queue.idle)
    box = next_box(queue)
    idle.append(queue.idle)
    queue.landed(box)
    idle.append(queue.idle)
    assert idle == [True, False, False, True]


# ---------------------------------------------------------------------- deadlines


def test_expired_tells_waiting_from_flying() -> None:
    """An operation has expired at its deadline, not before; those in flight come apart from those that wait."""
    queue = queue_of(operation("read", "a", expires=5.0), operation("read", "b", expires=6.0))
    flying_early, flying_late = held(next_box(queue))
    waiting_early, waiting_late = operation("read", "c", expires=5.0), operation("read", "d", expires=6.0)
    queue.add(waiting_early)
    queue.add(waiting_late)
    assert queue.expired(4.999) == ([], [])
    assert queue.expired(5.0) == ([waiting_early], [flying_early])
    flying_early.finish(None)
    assert queue.expired(6.0) == ([waiting_late], [flying_late])


def test_the_next_deadline_is_the_earliest_of_what_is_not_done() -> None:
    """`next_deadline` looks at what waits and what is in flight, and passes by what is done."""
    queue = OperationQueue()
    assert queue.next_deadline() is None
    queue.add(operation("read", "a", expires=3.0))
    box = next_box(queue)
    queue.add(operation("read", "b", expires=4.0))
    assert queue.next_deadline() == 3.0
    held(box)[0].finish(None)
    assert queue.next_deadline() == 4.0
    queue.take_waiting()
    assert queue.next_deadline() is None


# ---------------------------------------------------------------------- answers

RECORD, SIZE = documents.encode({"hello": "world"})
FOUND = VERSION.pack(7) + RECORD
ITSELF = {"key": "test", "hash_": 0.1671936, "record": {"hello": "world"}, "version": 7, "size": 54}


@pytest.mark.parametrize(
    ("verb", "result", "expected"),
    [
        ("read", FOUND, {"hash_": 0.1671936, "record": {"hello": "world"}}),
        ("read", None, None),
        ("pop", FOUND, {"hash_": 0.1671936, "record": {"hello": "world"}}),
        ("pop", None, None),
        ("item", ITEM.pack(7, 0, 0) + RECORD, {**ITSELF, "expiry": None, "ttl": None}),
        ("item", ITEM.pack(7, 1_000_000_001, 1) + RECORD, {**ITSELF, "expiry": 1_000_000.001, "ttl": 0.001}),
        ("item", None, None),
        ("has", True, True),
        ("has", False, False),
        ("write", True, 54),
        ("write", False, 0),
        ("touch", True, True),
        ("touch", False, False),
        ("increment", documents.encode(2**70)[0], 2**70),
        ("increment", documents.encode(-1)[0], -1),
        ("remove", RECORD[:5], 54),
        ("remove", None, 0),
    ],
)
def test_each_verb_has_its_answer(verb: str, result: Result, expected: object) -> None:
    """What the shard answers becomes what the verb promises."""
    box = Box([operation(verb, "test", RECORD, slot=1671936, size=SIZE)], 0.0)
    (found,) = box.outcomes([Answer([result])])
    assert (found, type(found)) == (expected, type(expected))


def test_an_operation_is_finished_once() -> None:
    """The first outcome counts; whatever comes later changes nothing."""
    one = operation("read")
    one.finish(Unavailable("too late"))
    one.finish({"hash_": 0.0, "record": 1})
    one.finish(ShardFull("full"))
    assert isinstance(outcome(one.deferred), Unavailable)


@pytest.mark.parametrize(
    ("verb", "result"),
    [
        ("read", VERSION.pack(1) + b"\xffjunk"),
        ("pop", VERSION.pack(1) + b"\x01\0\0\0\x10"),
        ("pop", VERSION.pack(1)),
        ("item", ITEM.pack(1, 0, 0) + b"\xffjunk"),
        ("remove", b"\xff"),
        ("increment", b"\xff"),
    ],
)
def test_a_record_that_cannot_be_read_is_an_error(verb: str, result: bytes) -> None:
    """A record in another format fails its own operation, with a `PyshardError`."""
    (found,) = Box([operation(verb)], 0.0).outcomes([Answer([result])])
    assert isinstance(found, InvalidDocument)


def test_outcomes_are_in_the_order_of_the_operations() -> None:
    """Over all runs of a box; where an operation was refused, or its record can't be read, there is the error."""
    writes = [operation("write", key, b"r", size=size) for key, size in (("a", 7), ("b", 8), ("c", 9))]
    box = Box([*writes, operation("read", "d", slot=128), operation("read", "e"), operation("has", "f")], 0.0)
    stored, read = Answer([True, None, False], {1: ("SHARD_FULL", "no room")}), Answer([FOUND, VERSION.pack(1) + b"?"])
    size, full, none, record, damaged, there = box.outcomes([stored, read, Answer([True])])
    assert (size, none, there) == (7, 0, True)
    assert record == {"hash_": 0.0000128, "record": {"hello": "world"}}
    assert (type(full), type(damaged), str(full)) == (ShardFull, InvalidDocument, "no room")


def test_an_operation_names_itself() -> None:
    """Messages name verb and key; a long key is cut."""
    assert str(operation("pop", "a b")) == "pop of key 'a b'"
    assert len(str(operation("read", "x" * 5000))) < 80


@pytest.mark.parametrize("verb", READING + CHANGING)
def test_only_reading_changes_nothing(verb: str) -> None:
    """`read`, `has` and `item` may be repeated; every other verb may not."""
    assert operation(verb).changes == (verb in CHANGING)


# ---------------------------------------------------------------------- all of it together

STEPS = st.one_of(
    st.tuples(st.just("issue"), st.sampled_from(READING + CHANGING), st.sampled_from("abc")),
    st.tuples(st.just("send")),
    st.tuples(st.just("land"), st.integers(0, 9), st.sampled_from(["done", "again", "end again", "a again"])),
)


class Shard:
    """A shard as the queue meets it: boxes land in any order, some operations of a box must go out again."""

    def __init__(self) -> None:
        self.queue = OperationQueue(3)
        self.issued: list[Operation] = []
        self.applied: list[Operation] = []
        self.leaves: dict[Operation, int] = {}
        self.returns: dict[Operation, int] = {}

    def issue(self, verb: str, key: str) -> None:
        one = operation(verb, key)
        self.issued.append(one)
        self.queue.add(one)

    def send(self) -> None:
        """Whatever leaves must be free to take effect in any order among the boxes in flight."""
        others = [one for box in self.queue.in_flight for one in held(box)]
        box = self.queue.next_box(0.0)
        if box is None:
            return
        for place, one in enumerate(held(box)):
            self.leaves[one] = self.leaves.get(one, 0) + 1
            assert not any(_conflict(one, other) for other in others)
            before = self.issued[: self.issued.index(one)]
            assert all(other.done or other in held(box)[:place] for other in before if _conflict(one, other)), (
                "an operation that must come first has neither been done nor stands before"
            )

    def land(self, number: int, how: str) -> None:
        if not self.queue.in_flight:
            return
        box = self.queue.in_flight[number % len(self.queue.in_flight)]
        self.queue.landed(box)
        middle = len(held(box)) // 2
        again = {
            "done": [],
            "again": held(box),
            "end again": held(box)[middle:],  # as with AnswerFull
            "a again": [one for one in held(box) if one.key == b"a"],  # as with WrongShard
        }[how]
        for one in held(box):
            if one not in again:
                self.applied.append(one)
                one.finish(None)
        for one in again:
            self.returns[one] = self.returns.get(one, 0) + 1
        self.queue.put_back(again)


def _conflict(one: Operation, other: Operation) -> bool:
    return one.key == other.key and (one.changes or other.changes)


@given(st.lists(STEPS, max_size=80))
def test_order_holds_whatever_happens(steps: list[tuple[str, str, str] | tuple[str, int, str] | tuple[str]]) -> None:
    """Operations on one key take effect in the order of issue, and each leaves once and once more for each return.

    Two that only read have no order between them.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        limit(monkeypatch, BOX_OPERATIONS=3)
        shard = Shard()
        for step in steps:
            getattr(shard, step[0])(*step[1:])
        for _ in range(len(shard.issued)):
            shard.send()
            shard.land(0, "done")
    assert shard.queue.idle
    assert all(one.done for one in shard.issued)
    for key in (b"a", b"b", b"c"):
        order = [shard.issued.index(one) for one in shard.applied if one.key == key]
        assert len(order) == len(set(order))
        for earlier, later in combinations(order, 2):
            assert earlier < later or not (shard.issued[earlier].changes or shard.issued[later].changes)
    assert shard.leaves == {one: 1 + shard.returns.get(one, 0) for one in shard.issued}


def test_an_error_reaches_its_caller() -> None:
    """A shard's refusal of one operation is what its Deferred fails with."""
    one = operation("write")
    refusal: PyshardError = ShardFull("no room")
    one.finish(refusal)
    assert outcome(one.deferred) is refusal


# -- chunks among single operations ----------------------------------------------------------------------------------


class Landed:
    """Whoever has a chunk: keeps what became of it."""

    def __init__(self) -> None:
        self.outcomes: dict[int, object] = {}

    def landed(self, chunk: Chunk, outcomes: Sequence[object]) -> None:
        """See `pyshard.client.chunks.Receiver`."""
        self.outcomes |= dict(zip(chunk.positions, outcomes, strict=True))


def chunk_of(run: Run, receiver: Landed | None = None, expires: float = 10.0) -> Chunk:
    """A chunk."""
    keys = range(len(run.keys))
    sizes = [50 + number for number in keys] if isinstance(run, Write) else ()
    return Chunk(run, [128 * number for number in keys], list(keys), sizes, expires, receiver or Landed())


@pytest.mark.parametrize(
    ("flying", "behind", "together"),
    [
        (Read("", [b"a"]), Read("", [b"a"]), True),
        (Read("", [b"a"]), Has("", [b"a", b"b"]), True),
        (Read("", [b"a"]), Pop("", [b"a"]), False),
        (Pop("", [b"a"]), Read("", [b"a"]), False),
        (Write("", [b"a"], [b"r"]), Write("", [b"a"], [b"r"]), False),
        (Write("", [b"a"], [b"r"]), Write("", [b"b"], [b"r"]), True),
        (Write("", [b"a"], [b"r"]), Write("i", [b"a"], [b"r"]), True),
        (Write("i", [b"a"], [b"r"]), Remove("i", [b"b", b"a"]), False),
    ],
)
def test_chunks_in_flight_together(flying: Run, behind: Run, together: bool) -> None:
    """Two chunks are in flight at once unless one changes a key of the other; single operations keep to the same."""
    queue = OperationQueue()
    queue.add(chunk_of(flying))
    queue.add(chunk_of(behind))
    box = next_box(queue)
    assert (queue.next_box(0.0) is not None) is together
    queue.landed(box)
    assert (queue.next_box(0.0) is None) is together
    for first, second in ((flying, behind), (behind, flying)):
        queue = OperationQueue()
        verb, index = type(second).__name__.lower(), second.index
        queue.add(chunk_of(first))
        for key in second.keys:
            queue.add(operation(verb, key.decode(), index=index))
        next_box(queue)
        found = queue.next_box(0.0)
        assert (found is not None and len(found.entries) == len(second.keys)) is together


def test_a_chunk_is_a_box_of_its_own() -> None:
    """Single operations before it and behind it are gathered apart from it; all are counted while they wait."""
    first, chunk, second = operation(key="a"), chunk_of(Read("", [b"b", b"c"])), operation(key="d")
    queue = OperationQueue()
    for one in (first, chunk, second):
        queue.add(one)
    assert len(queue) == 4
    boxes = [next_box(queue) for _ in range(3)]
    assert [list(box.entries) for box in boxes] == [[first], [chunk], [second]]
    assert boxes[1].runs == [chunk.run]
    assert len(queue) == 0
    queue.put_back([chunk])
    assert (len(queue), queue.take_waiting(), len(queue)) == (2, [chunk], 0)


def test_a_chunk_of_which_some_goes_out_again() -> None:
    """Outcomes are handed on for all but those; a part of a part still knows where its outcomes belong."""
    landed = Landed()
    chunk = chunk_of(Write("", [b"a", b"b", b"c", b"d"], [b"1", b"2", b"3", b"4"]), landed)
    again = chunk.part([1, 3])
    assert again.run == Write("", [b"b", b"d"], [b"2", b"4"])
    full = ShardFull("full")
    chunk.finish([True, None, None, None], {2: full}, [1, 3])
    assert landed.outcomes == {0: 50, 2: full}
    chunk.fail(Unavailable("late"))
    assert landed.outcomes == {0: 50, 2: full}
    again.part([1]).finish([True], {}, [])
    again.part([0]).fail(full)
    assert landed.outcomes == {0: 50, 1: full, 2: full, 3: 53}


def test_a_chunk_past_its_deadline() -> None:
    """It is given as one, waiting or in flight, and its answer comes too late for it."""
    landed = Landed()
    flying, waiting_ = chunk_of(Read("", [b"a"]), landed, 1.0), chunk_of(Pop("", [b"a"]), landed, 2.0)
    queue = OperationQueue()
    queue.add(flying)
    queue.add(waiting_)
    next_box(queue)
    assert queue.next_deadline() == 1.0
    assert queue.expired(1.0) == ([], [flying])
    flying.fail(Unavailable("late"))
    flying.finish([None], {}, [])
    assert isinstance(landed.outcomes[0], Unavailable)
    assert queue.expired(2.0) == ([waiting_], [])
    assert len(queue) == 0


def test_a_damaged_record_concerns_its_key_alone() -> None:
    """The other records of the chunk are given."""
    landed = Landed()
    good = VERSION.pack(1) + documents.encode({"a": 1})[0]
    chunk_of(Read("", [b"a", b"b", b"c"]), landed).finish([good, VERSION.pack(1) + b"\x01broken", None], {}, [])
    assert landed.outcomes[0] == {"hash_": 0.0, "record": {"a": 1}}
    assert isinstance(landed.outcomes[1], InvalidDocument)
    assert landed.outcomes[2] is None
