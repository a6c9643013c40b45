"""How much waits in the queue of one shard, and for how long."""

from __future__ import annotations

import pytest
from client_core.operation_queue.operations import held, limit, next_batch, operation, queue_of

from pyshard.client_core.operation_queue import OperationQueue
from pyshard.errors import Overloaded
from pyshard.settings import settings


def test_only_so_many_operations_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """One operation more than MAX_WAITING is refused; what has left doesn't count."""
    limit(monkeypatch, MAX_WAITING=3)
    queue = queue_of(*(operation("read") for _ in range(3)))
    with pytest.raises(Overloaded, match="3 operations"):
        queue.add(operation("read"))
    next_batch(queue)
    queue.add(operation("read"))
    assert len(queue) == 1


def test_only_so_many_bytes_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """With MAX_WAITING_BYTES of keys and records waiting nothing more is taken, until some of them have left."""
    limit(monkeypatch, MAX_WAITING_BYTES=100, BOX_OPERATIONS=1)
    first, second = operation("write", "a", b"x" * 50), operation("write", "b", b"x" * 48)
    queue = queue_of(first, second)
    with pytest.raises(Overloaded, match="100 bytes"):
        queue.add(operation("write", "c", b""))
    box = next_batch(queue)
    queue.add(operation("write", "c", b"x"))
    queue.finished(box)
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
    assert [one.key for one in held(next_batch(queue))] == [b"b", b"c"]


def test_idle_is_nothing_waiting_and_nothing_in_flight() -> None:
    """A queue is idle until something is added, and again when the last box has finished."""
    queue = OperationQueue()
    idle = [queue.idle]
    queue.add(operation())
    idle.append(queue.idle)
    box = next_batch(queue)
    idle.append(queue.idle)
    queue.finished(box)
    idle.append(queue.idle)
    assert idle == [True, False, False, True]


def test_expired_tells_waiting_from_flying() -> None:
    """An operation has expired at its deadline, not before; those in flight come apart from those that wait."""
    queue = queue_of(operation("read", "a", expires=5.0), operation("read", "b", expires=6.0))
    flying_early, flying_late = held(next_batch(queue))
    waiting_early, waiting_late = operation("read", "c", expires=5.0), operation("read", "d", expires=6.0)
    queue.add(waiting_early)
    queue.add(waiting_late)
    assert queue.expired(4.999) == ([], [])
    assert queue.expired(5.0) == ([waiting_early], [flying_early])
    flying_early.finish(None)
    assert queue.expired(6.0) == ([waiting_late], [flying_late])


def test_the_next_deadline_is_the_earliest_of_what_is_not_done() -> None:
    """`next_deadline` looks at what waits and is in flight, passes by what is done, and knows when answers are due."""
    queue = OperationQueue()
    assert queue.next_deadline(0.0) is None
    queue.add(operation("read", "a", expires=3.0))
    box = next_batch(queue)
    queue.add(operation("read", "b", expires=4.0))
    assert queue.next_deadline(0.0) == 3.0
    held(box)[0].finish(None)
    assert queue.next_deadline(0.0) == 4.0
    queue.take_waiting()
    due = box.sent + settings.DEADLINE
    assert (queue.next_deadline(0.0), queue.unanswered(due - 0.1)) == (due, False)
    assert (queue.next_deadline(due), queue.unanswered(due)) == (None, True)
    queue.finished(box)
    assert (queue.next_deadline(0.0), queue.unanswered(due)) == (None, False)
