"""The queue of one shard: what leaves when, and in which order."""

from __future__ import annotations

import pytest
from client_core.operation_queue.operations import (
    CHANGING,
    READING,
    held,
    limit,
    next_batch,
    operation,
    outcome,
    queue_of,
)

from pyshard.client_core.operation import NO_OPTIONS, VerbOptions
from pyshard.client_core.operation_queue import Batch
from pyshard.errors import Unavailable
from pyshard.protocol.batch_encoding import decode_runs, encode_runs
from pyshard.protocol.batch_operations import (
    ABSENT,
    ALWAYS,
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
from pyshard.settings import settings


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
    assert held(next_batch(queue, 3.5)) == issued
    assert queue.in_flight[0].sent == 3.5
    assert len(queue) == 0
    assert queue.next_batch(4.0) is None


def test_a_run_for_each_operation() -> None:
    """A box in which no two neighbors share a run has no more runs than a shard takes."""
    verbs = ["read", "has"] * settings.MAX_RUNS
    queue = queue_of(*(operation(verb, str(number)) for number, verb in enumerate(verbs)))
    first = next_batch(queue)
    assert len(first.runs) == len(first.operations) == settings.MAX_RUNS
    assert decode_runs(encode_runs(first.runs)) == first.runs


def test_runs_join_neighbors_only() -> None:
    """Neighbors of one verb and index become one run; nothing is sorted, so the order stays."""
    box = Batch(
        [
            operation("write", "a", b"1"),
            operation("write", "a", b"2"),
            operation("read", "a"),
            operation("write", "b", b"3"),
            operation("write", "b", b"4", index="pages"),
            operation("increment", "c", b"5", index="pages", options=VerbOptions(initial=b"6")),
            operation("increment", "d", b"7", index="pages", options=VerbOptions(initial=b"8")),
            operation("has", "c"),
            operation("pop", "c"),
            operation("remove", "c"),
            operation("remove", "d"),
            operation("touch", "c", options=VerbOptions(ttl=1000)),
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
        ReadItem("", [b"c"]),
    ]
    assert box.runs == expected


@pytest.mark.parametrize(
    ("options", "conditions", "ttls"),
    [
        ([NO_OPTIONS, NO_OPTIONS], None, None),
        ([VerbOptions(ABSENT), NO_OPTIONS], [ABSENT, ALWAYS], None),
        ([NO_OPTIONS, VerbOptions(7)], [ALWAYS, 7], None),
        ([NO_OPTIONS, VerbOptions(ttl=5)], None, [0, 5]),
        ([VerbOptions(7, 5), VerbOptions(8)], [7, 8], [5, 0]),
    ],
)
def test_runs_carry_conditions_and_ttls(
    options: list[VerbOptions], conditions: list[int] | None, ttls: list[int] | None
) -> None:
    """A run of writes says for each which condition and time to live it has, and nothing when none has any."""
    writes = [operation("write", key, b"r", options=one) for key, one in zip("ab", options, strict=True)]
    assert Batch(writes, 0.0).runs == [Write("", [b"a", b"b"], [b"r", b"r"], conditions, ttls)]
    if ttls is None:
        for verb, kind in (("pop", Pop), ("remove", Remove)):
            some = [operation(verb, key, options=one) for key, one in zip("ab", options, strict=True)]
            assert Batch(some, 0.0).runs == [kind("", [b"a", b"b"], conditions)]


def test_a_box_has_at_most_so_many_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A box takes BOX_OPERATIONS and leaves the rest to the next ones."""
    limit(monkeypatch, BOX_OPERATIONS=3)
    issued = [operation("read", f"{number}") for number in range(7)]
    queue = queue_of(*issued)
    assert [held(next_batch(queue)) for _ in range(3)] == [issued[:3], issued[3:6], issued[6:]]


def test_a_box_has_at_most_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A box takes keys and records up to BOX_BYTES; an operation that alone has more travels alone."""
    limit(monkeypatch, BOX_BYTES=10)
    sizes = [4, 5, 1, 1, 30, 2, 9]
    issued = [operation("write", f"{place}", b"x" * (size - 1)) for place, size in enumerate(sizes)]
    queue = queue_of(*issued, limit=10)
    boxes = [[one.weight for one in held(next_batch(queue))] for _ in range(5)]
    assert boxes == [[4, 5, 1], [1], [30], [2], [9]]


def test_an_increments_initial_value_weighs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an increment begins with travels with it, and counts among the bytes of its box."""
    limit(monkeypatch, BOX_BYTES=10)
    issued = [operation("increment", "k", b"xx", options=VerbOptions(initial=b"x" * 4)) for _ in range(2)]
    queue = queue_of(*issued)
    assert [one.weight for one in issued] == [7, 7]
    assert held(next_batch(queue)) == issued[:1]


def test_only_so_many_boxes_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """No box leaves while as many as allowed are in flight; one that lands makes room for one."""
    limit(monkeypatch, BOX_OPERATIONS=1)
    queue = queue_of(*(operation("read", f"{number}") for number in range(4)), limit=2)
    first, _ = next_batch(queue), next_batch(queue)
    assert queue.next_batch(0.0) is None
    queue.finished(first)
    next_batch(queue)
    assert queue.next_batch(0.0) is None
    assert len(queue) == 1


@pytest.mark.parametrize("first", READING + CHANGING)
@pytest.mark.parametrize("second", READING + CHANGING)
def test_boxes_in_flight_share_a_key_only_to_read_it(first: str, second: str) -> None:
    """While a box is in flight, an operation on one of its keys leaves only if both do nothing but read."""
    queue = queue_of(operation(first))
    box = next_batch(queue)
    queue.add(operation(second))
    if first in READING and second in READING:
        next_batch(queue)
    else:
        assert queue.next_batch(0.0) is None
        queue.finished(box)
        next_batch(queue)


def test_a_change_waits_for_every_box_that_reads_its_key() -> None:
    """A key that two boxes in flight read is changed only when both have finished."""
    queue = queue_of(operation("read"))
    first = next_batch(queue)
    queue.add(operation("read"))
    second = next_batch(queue)
    queue.add(operation("write"))
    queue.finished(first)
    assert queue.next_batch(0.0) is None
    queue.finished(second)
    next_batch(queue)


def test_one_box_may_hold_a_key_many_times() -> None:
    """Changes of one key, and reads behind them, share a box: a batch takes effect in its order."""
    issued = [operation(verb) for verb in ("write", "pop", "increment", "remove", "touch", "has", "item", "read")]
    assert held(next_batch(queue_of(*issued))) == issued


@pytest.mark.parametrize("reading", READING)
@pytest.mark.parametrize("changing", CHANGING)
def test_a_box_does_not_change_a_key_after_reading_it(reading: str, changing: str) -> None:
    """A read whose answer is lost goes out again; were the change behind it in the same box, it would read that."""
    read, other, change = operation(reading), operation(changing, "other"), operation(changing)
    queue = queue_of(read, other, change)
    box = next_batch(queue)
    assert held(box) == [read, other]
    queue.finished(box)
    queue.put_back([read])
    assert held(next_batch(queue)) == [read]
    assert queue.next_batch(0.0) is None


def test_a_key_of_another_index_is_another_key() -> None:
    """The same text in two indexes names two keys, which don't wait for each other."""
    queue = queue_of(operation("write", index=""))
    next_batch(queue)
    queue.add(operation("write", index="pages"))
    next_batch(queue)


def test_nothing_overtakes_an_operation_that_must_wait() -> None:
    """What was issued after an operation whose key is in flight waits with it."""
    queue = queue_of(operation("write", "a"))
    box = next_batch(queue)
    free, blocked, behind = operation("write", "b"), operation("write", "a"), operation("write", "c")
    for one in (free, blocked, behind):
        queue.add(one)
    assert held(next_batch(queue)) == [free]
    assert queue.next_batch(0.0) is None
    queue.finished(box)
    assert held(next_batch(queue)) == [blocked, behind]


def test_what_is_put_back_goes_before_all_others() -> None:
    """Operations that must go out again leave first, in the order given; those that are done meanwhile don't."""
    first, done, second, later = (operation("write", key) for key in "abcd")
    queue = queue_of(first, done, second)
    box = next_batch(queue)
    queue.add(later)
    done.finish(Unavailable("too late"))
    outcome(done.deferred)
    queue.finished(box)
    queue.put_back(held(box))
    assert len(queue) == 3
    assert held(next_batch(queue)) == [first, second, later]
