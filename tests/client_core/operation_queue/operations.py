"""Operations, queues and boxes for tests of the queue."""

from __future__ import annotations

from typing import Any, cast

import attrs
import pytest
from twisted.internet.defer import Deferred

from pyshard.client.deferred_operation import DeferredOperation
from pyshard.client_core import operation_queue as waiting
from pyshard.client_core.operation import NO_OPTIONS, Operation, VerbOptions
from pyshard.client_core.operation_queue import Batch, OperationQueue
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
    options: VerbOptions = NO_OPTIONS,
) -> DeferredOperation:
    """An operation; one that stores nothing has no record."""
    record = record if verb in ("write", "increment") else b""
    weight = len(key.encode()) + len(record) + len(options.initial)
    return DeferredOperation(verb, index, key.encode(), slot, expires, weight, record, size, options)


def queue_of(*waiting: Operation, limit: int = settings.BOXES_IN_FLIGHT) -> OperationQueue:
    """A queue in which these wait."""
    queue = OperationQueue(limit)
    for one in waiting:
        queue.add(one)
    return queue


def next_batch(queue: OperationQueue, now: float = 0.0) -> Batch:
    """The next box; there must be one."""
    box = queue.next_batch(now)
    assert box is not None
    return box


def held(box: Batch) -> list[Operation]:
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
