"""Operations on one key keep their order, whatever happens to their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest
from client_core.operation_queue.operations import CHANGING, READING, held, limit, operation
from hypothesis import given
from hypothesis import strategies as st

from pyshard.client_core import operation_queue
from pyshard.client_core.operation import Operation
from pyshard.client_core.operation_queue import Batch, Entry, OperationQueue

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
        box = self.queue.next_batch(0.0)
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
        self.queue.finished(box)
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


def test_a_long_queue_on_one_key_is_not_looked_at_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations on one key leave one by one; the work for each doesn't grow with the number of those behind it."""
    looked_at = []

    class Counted(Batch):
        def __init__(self, entries: Sequence[Entry], sent: float) -> None:
            looked_at.append(len(entries))
            super().__init__(entries, sent)

    monkeypatch.setattr(operation_queue, "Batch", Counted)
    queue = OperationQueue()
    for number in range(400):
        queue.add(operation("write" if number % 2 else "read", "k"))
    while (batch := queue.next_batch(0.0)) is not None:
        queue.finished(batch)
    assert not queue.waiting
    assert sum(looked_at) <= 400 * 10  # each one, and the first few
