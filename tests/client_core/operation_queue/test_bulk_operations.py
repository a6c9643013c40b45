"""Chunks of a bulk verb in the queue, among single operations."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from client_core.operation_queue.operations import next_batch, operation

from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.client_core.operation_queue import OperationQueue
from pyshard.client_core.read_room import UNREAD, ReadRoom
from pyshard.client_core.result_decoding import outcomes_of
from pyshard.errors import ShardFull, Unavailable, UnreadableRecord
from pyshard.model import document_encoding
from pyshard.protocol.batch_answers import VERSION, Answer, encode_answers
from pyshard.protocol.batch_operations import Has, Pop, Read, Remove, Run, Write, verb_of


class Outcomes:
    """Has a bulk operation: keeps what became of it."""

    decode = staticmethod(outcomes_of)
    room: ReadRoom | None = None

    def __init__(self) -> None:
        self.outcomes: dict[int, object] = {}

    def part_done(self, bulk_operation: BulkOperation, outcomes: Sequence[object]) -> None:
        """See `pyshard.client_core.bulk_operation.BulkReceiver`."""
        self.outcomes |= dict(zip(bulk_operation.positions, outcomes, strict=True))


def bulk_operation_of(run: Run, receiver: Outcomes | None = None, expires: float = 10.0) -> BulkOperation:
    """A bulk operation."""
    keys = range(len(run.keys))
    return BulkOperation(run, [128 * number for number in keys], keys, expires, receiver or Outcomes())


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
def test_bulk_operations_in_flight_together(flying: Run, behind: Run, together: bool) -> None:
    """Two bulk operations are in flight at once unless one changes a key of the other, as with single operations."""
    queue = OperationQueue()
    queue.add(bulk_operation_of(flying))
    queue.add(bulk_operation_of(behind))
    box = next_batch(queue)
    assert (queue.next_batch(0.0) is not None) is together
    queue.finished(box)
    assert (queue.next_batch(0.0) is None) is together
    for first, second in ((flying, behind), (behind, flying)):
        queue = OperationQueue()
        verb, index = verb_of(second), second.index
        queue.add(bulk_operation_of(first))
        for key in second.keys:
            queue.add(operation(verb, key.decode(), index=index))
        next_batch(queue)
        found = queue.next_batch(0.0)
        assert (found is not None and len(found.entries) == len(second.keys)) is together


def test_a_bulk_part_is_a_box_of_its_own() -> None:
    """Single operations before it and behind it are gathered apart from it; all are counted while they wait."""
    first, bulk_operation, second = operation(key="a"), bulk_operation_of(Read("", [b"b", b"c"])), operation(key="d")
    queue = OperationQueue()
    for one in (first, bulk_operation, second):
        queue.add(one)
    assert len(queue) == 4
    boxes = [next_batch(queue) for _ in range(3)]
    assert [list(box.entries) for box in boxes] == [[first], [bulk_operation], [second]]
    assert boxes[1].runs == [bulk_operation.run]
    assert len(queue) == 0
    queue.put_back([bulk_operation])
    assert (len(queue), queue.take_waiting(), len(queue)) == (2, [bulk_operation], 0)


def test_a_bulk_part_of_which_some_goes_out_again() -> None:
    """Outcomes are handed on for all but those; a part of a part still knows where its outcomes belong."""
    finished = Outcomes()
    bulk_operation = bulk_operation_of(Write("", [b"a", b"b", b"c", b"d"], [b"1", b"2", b"3", b"4"]), finished)
    again = bulk_operation.part([1, 3])
    assert again.run == Write("", [b"b", b"d"], [b"2", b"4"])
    full = ShardFull("full")
    bulk_operation.finish([True, None, None, None], {2: full}, [1, 3])
    assert finished.outcomes == {0: True, 2: full}
    bulk_operation.fail(Unavailable("late"))
    assert finished.outcomes == {0: True, 2: full}
    again.part([1]).finish([True], {}, [])
    again.part([0]).fail(full)
    assert finished.outcomes == {0: True, 1: full, 2: full, 3: True}


def test_a_bulk_part_past_its_deadline() -> None:
    """It is given as one, waiting or in flight, and its answer comes too late for it."""
    finished = Outcomes()
    flying, waiting_ = (
        bulk_operation_of(Read("", [b"a"]), finished, 1.0),
        bulk_operation_of(Pop("", [b"a"]), finished, 2.0),
    )
    queue = OperationQueue()
    queue.add(flying)
    queue.add(waiting_)
    next_batch(queue)
    assert queue.next_deadline(0.0) == 1.0
    assert queue.expired(1.0) == ([], [flying])
    flying.fail(Unavailable("late"))
    flying.finish([None], {}, [])
    assert isinstance(finished.outcomes[0], Unavailable)
    assert queue.expired(2.0) == ([waiting_], [])
    assert len(queue) == 0


def test_a_damaged_record_concerns_its_key_alone() -> None:
    """The other records of the bulk operation are given."""
    finished = Outcomes()
    good = VERSION.pack(1) + document_encoding.encode({"a": 1})[0]
    bulk_operation_of(Read("", [b"a", b"b", b"c"]), finished).finish(
        [good, VERSION.pack(1) + b"\x01broken", None], {}, []
    )
    assert finished.outcomes[0] == {"hash_": 0.0, "record": {"a": 1}}
    assert isinstance(finished.outcomes[1], UnreadableRecord)
    assert finished.outcomes[2] is None


def test_a_read_without_room_is_not_sent() -> None:
    """Once answers have taken the room of a bulk read, its parts that wait are told so, and nothing else is."""
    receiver, other = Outcomes(), Outcomes()
    receiver.room = ReadRoom(5)
    queue, parts = OperationQueue(2), [BulkOperation(Read("", [b"a"]), [0], [n], 9.0, receiver) for n in range(4)]
    for part in parts:
        queue.add(part)
    parts[3].answer_bytes = 9  # as of a part that goes out again
    queue.add(BulkOperation(Read("", [b"a"]), [0], [0], 9.0, other))
    first, second = next_batch(queue), next_batch(queue)
    document = VERSION.pack(1) + document_encoding.encode("x")[0]
    parts[0].finish(parts[0].answer_in(encode_answers([Answer([document], {})])).results, {}, [])
    queue.finished(first)
    queue.put_back([parts[1]])
    queue.finished(second)
    assert next_batch(queue).entries[0].receiver is other  # type: ignore[union-attr]  # it is a bulk operation
    assert queue.next_batch(0.0) is None
    assert [receiver.outcomes[n] for n in (1, 2, 3)] == [UNREAD] * 3
    assert receiver.outcomes[0] == {"hash_": 0.0, "record": "x"}
    assert (len(queue), other.outcomes, parts[3].answer_bytes) == (0, {}, 0)


def test_who_is_told_of_it_may_ask_for_more() -> None:
    """A receiver that adds operations and has them sent when it is told that something wasn't read exceeds no limit."""
    queue, receiver = OperationQueue(1), Outcomes()
    receiver.room = ReadRoom(0)
    later = operation("read", "later")

    def told(bulk_operation: BulkOperation, outcomes: Sequence[object]) -> None:
        queue.add(later)
        next_batch(queue)
        queue.add(operation("read", "last"))

    receiver.part_done = told  # type: ignore[method-assign]
    queue.add(BulkOperation(Read("", [b"a"]), [0], [0], 9.0, receiver))
    assert queue.next_batch(0.0) is None
    assert [batch.entries[0] for batch in queue.in_flight] == [later]
    assert len(queue) == 1
