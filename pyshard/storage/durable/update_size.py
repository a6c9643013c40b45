"""What a batch takes of memory while it waits for the writer thread. Pure.

Rules:

- what is counted is what Python takes for it, not what crossed the wire: an operation of 14 bytes takes 150
  (tests/storage/durable/test_update_size.py measures it);
- to count costs a few calls in C for each column.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyshard.protocol.batch_operations import changes
from pyshard.protocol.columns import total_size
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
        run = task.run
        keys = run.keys
        count = len(keys)
        size += _RUN
        if not count:
            continue
        size += _SLOTS + count * _KEY + total_size(keys)
        if changes(run):
            changed += count
            for column in map(run.__getattribute__, run.__struct_fields__[2:]):
                if column is None:
                    continue
                size += _COLUMN + count * _PLACE
                if type(column[0]) is bytes:
                    size += count * _BYTES + total_size(column)
                else:
                    size += _INT * sum(map(_is_large, column))
    return size, changed
