"""How many bytes of records a batch copies or gives, as far as it can be told before it is applied.

Records are looked up only where they may be many bytes together. Otherwise what is copied is taken for as large as the
store's records are on the average, and what is given for little. Nor are many keys looked up, or long ones: a batch of
these is no small one in any case.
"""

from __future__ import annotations

from collections.abc import Sequence

import lmdb

from pyshard.metrics.disk_reads import disk_reads
from pyshard.protocol.batch_operations import copies
from pyshard.protocol.columns import total_size
from pyshard.settings import settings
from pyshard.storage.durable.engine import StorageEngine
from pyshard.storage.durable.fair_update_queue import SMALL
from pyshard.storage.durable.index_records import DurableIndex
from pyshard.storage.interface import Task
from pyshard.storage.look_budget import LookBudget

_MANY = 1000  # keys, from which on a batch isn't a small one, however short its records are


def will_copy(engine: StorageEngine, tasks: Sequence[Task]) -> int:
    """About how many bytes of records a batch copies: a touch of a few bytes may copy the largest documents."""
    counters = engine.counters
    copying = [task for task in tasks if copies(task.run) and task.index in counters.documents]
    if not copying:
        return 0
    keys = sum([len(task.run.keys) for task in copying])
    size = None
    if keys <= _MANY and sum([total_size(task.run.keys) for task in copying]) <= SMALL:
        size = _looked_up(engine, copying, settings.BATCH_WORK, SMALL // max(1, keys))
    if size is None:
        size = round(keys * counters.used / max(1, sum(counters.documents.values())))
    return min(settings.BATCH_WORK, size)


def size_of_records(engine: StorageEngine, tasks: Sequence[Task], enough: int) -> int:
    """The bytes of the records of tasks; 0 where they can't be many.

    :param enough: from so many bytes on no further records are counted.
    """
    return _looked_up(engine, tasks, enough, settings.ANSWER_BYTES) or 0


def _looked_up(engine: StorageEngine, tasks: Sequence[Task], enough: int, large: int) -> int | None:
    """The bytes of the records of tasks; None where they aren't looked up, as none can be large.

    :param large: bytes of a record that is.
    """
    size, looks = 0, LookBudget(disk_reads)
    try:
        with engine.reading() as view:
            if not view.may_be_longer(large):
                return None
            for task in tasks:
                if size < enough and looks.left > 0:
                    index = DurableIndex(view, task.index, looks=looks)
                    size += index.size(task.run.keys, task.slots, enough - size)
    except lmdb.Error:
        return size  # the batch itself finds that out, and says so
    return size
