"""Chunks of a bulk verb in the queue, among single operations."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from client.operation_queue.operations import next_box, operation

from pyshard.client.bulk_part import Chunk
from pyshard.client.operation_queue import OperationQueue
from pyshard.errors import InvalidDocument, ShardFull, Unavailable
from pyshard.model import documents
from pyshard.protocol.answers import VERSION
from pyshard.protocol.batches import Has, Pop, Read, Remove, Run, Write, verb_of


class Landed:
    """Whoever has a chunk: keeps what became of it."""

    def __init__(self) -> None:
        self.outcomes: dict[int, object] = {}

    def landed(self, chunk: Chunk, outcomes: Sequence[object]) -> None:
        """See `pyshard.client.bulk_part.Receiver`."""
        self.outcomes |= dict(zip(chunk.positions, outcomes, strict=True))


def chunk_of(run: Run, receiver: Landed | None = None, expires: float = 10.0) -> Chunk:
    """A chunk."""
    keys = range(len(run.keys))
    return Chunk(run, [128 * number for number in keys], keys, expires, receiver or Landed())


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
        verb, index = verb_of(second), second.index
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
    assert landed.outcomes == {0: True, 2: full}
    chunk.fail(Unavailable("late"))
    assert landed.outcomes == {0: True, 2: full}
    again.part([1]).finish([True], {}, [])
    again.part([0]).fail(full)
    assert landed.outcomes == {0: True, 1: full, 2: full, 3: True}


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
