"""Operations that nobody wants any more, because their caller has cancelled them."""

from __future__ import annotations

import pytest
from client_core.operation_queue.operations import held, limit, next_batch, operation, queue_of

from pyshard.client.deferred_operation import DeferredOperation
from pyshard.client_core.operation_queue import OperationQueue


def _withdrawn(key: str) -> DeferredOperation:
    found = operation("write", key, b"xxxx")
    assert isinstance(found, DeferredOperation)
    found.deferred.addErrback(lambda _: None)
    found.deferred.cancel()
    return found


def test_they_are_not_sent() -> None:
    """What waits and was cancelled leaves the queue without being sent, wherever it stands."""
    queue = queue_of(_withdrawn("a"), operation("read", "b"), _withdrawn("c"), operation("read", "d"))
    assert [one.key for one in held(next_batch(queue))] == [b"b", b"d"]
    assert (len(queue), list(queue.waiting)) == (0, [])


def test_nothing_else_waits() -> None:
    """Where all that waits was cancelled, nothing is sent."""
    queue = queue_of(_withdrawn("a"), _withdrawn("b"))
    assert queue.next_batch(0.0) is None
    assert queue.idle


def test_they_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """They don't count once the queue has looked."""
    limit(monkeypatch, MAX_WAITING=2, MAX_WAITING_BYTES=10, BOX_OPERATIONS=1)
    queue = queue_of(_withdrawn("a"), operation("write", "b", b"xxxx"))
    assert [one.key for one in held(next_batch(queue))] == [b"b"]
    for key in "cd":
        queue.add(operation("write", key, b"xxx"))
    assert len(queue) == 2


def test_what_was_sent_stays_in_the_way() -> None:
    """One that is in flight keeps later changes of its key back until it is answered, though it was cancelled."""
    first = operation("write", "a", b"x")
    queue: OperationQueue = queue_of(first)
    batch = next_batch(queue)
    assert isinstance(first, DeferredOperation)
    first.deferred.addErrback(lambda _: None)
    first.deferred.cancel()
    queue.add(operation("write", "a", b"y"))
    assert queue.next_batch(0.0) is None
    queue.finished(batch)
    queue.put_back([first])
    assert [one.record for one in held(next_batch(queue))] == [b"y"]
