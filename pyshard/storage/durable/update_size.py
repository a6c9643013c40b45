"""What a batch takes of memory while it waits for the writer thread. Pure.

Rules:

- what is counted is what Python takes for it, not what crossed the wire: an operation of 14 bytes takes 150
  (tests/storage/durable/test_update_size.py measures it);
- to count costs a few calls in C for each column.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyshard.protocol.batch_operations import changes, columns
from pyshard.storage.interface import Task

_BATCH = 1024  # the update itself, its Deferreds, and what the connection keeps for the answer
_RUN = 400  # a run with its task, without what there is for each key
_COLUMN = 90  # a list
_SLOTS = 100  # the list of slots, and the elements' part of the list of keys
_PLACE = 8  # in a list
_INT = 32
_BYTES = 41  # of a bytes object beside its bytes, rounded up as the allocator does on the average
_KEY = _PLACE + _BYTES + _PLACE + _INT  # the key, and its slot
_is_large = (256).__lt__  # Python has the smaller ints already


def update_size(tasks: Sequence[Task]) -> tuple[int, int]:
    """How many bytes of memory a batch takes, and how many records it may change."""
    size, changed = _BATCH, 0
    for task in tasks:
        keys, others = task.run.keys, columns(task.run)
        size += _RUN + (_SLOTS + len(keys) * _KEY + sum(map(len, keys)) if keys else 0)
        for column in others:
            if column:
                size += _COLUMN + len(column) * _PLACE + _elements_size(column)
        if changes(task.run):
            changed += len(keys)
    return size, changed


def _elements_size(column: list[bytes] | list[int]) -> int:
    if isinstance(column[0], bytes):
        return len(column) * _BYTES + sum(map(len, column))
    return _INT * sum(map(_is_large, column))
