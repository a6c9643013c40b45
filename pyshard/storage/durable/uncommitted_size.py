"""What a durable primary's changes take of memory and log until they are committed. Pure.

Rules:

- a group has its counters with it, since LMDB gets those of the last committed group. They are of every index;
- a record is in the group, in the memtable, and among what is kept of records from before. Its bytes are there once.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyshard.protocol.batch_operations import Write
from pyshard.protocol.columns import total_size
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.interface import Task

# Bytes. tests/storage/test_uncommitted_size.py measures the first three; a daemon under tiny changes had the last.
_GROUP = 6500  # a group, most of it buckets of its counters
_INDEX = 75  # an index in those
_RECORD = 350  # a record of a group, beside its bytes
_BATCH = 8000  # the answer that waits, and what its connection has with it


def size_of_group(payload: int, changes: GroupChanges, counters: Counters) -> int:
    """Bytes that a group takes.

    :param payload: bytes of its payload.
    """
    return payload + own_size_of_group(counters) + _RECORD * len(changes.records)


def own_size_of_group(counters: Counters) -> int:
    """Bytes that a group takes without its records."""
    return _GROUP + _INDEX * len(counters.documents)


def size_of_batch(weight: int, changed: int, put: int, tasks: Sequence[Task]) -> int:
    """Bytes that a batch takes, as part of a group.

    :param weight: bytes that it took until it was done, with the records that came with it.
    :param changed: how many records it may have changed.
    :param put: bytes of the records that it has put: also those that it has copied.
    """
    came = sum(total_size(task.run.records) for task in tasks if type(task.run) is Write)
    return weight + _BATCH + changed * _RECORD + max(0, put - came)
