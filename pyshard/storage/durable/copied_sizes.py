"""How many bytes of records a batch copies or gives, as far as it can be told before it is applied.

Only large records are looked up. Where a store has none, what is copied is taken for as large as the store's records
are on the average, and what is given for little.
"""

from __future__ import annotations

from collections.abc import Sequence

import lmdb

from pyshard.metrics.disk_reads import disk_reads
from pyshard.protocol.batch_operations import copies
from pyshard.settings import settings
from pyshard.storage.durable.engine import StorageEngine
from pyshard.storage.durable.index_records import DurableIndex
from pyshard.storage.interface import Task
from pyshard.storage.look_budget import LookBudget


def will_copy(engine: StorageEngine, tasks: Sequence[Task]) -> int:
    """About how many bytes of records a batch copies: a touch of a few bytes may copy the largest documents."""
    counters = engine.counters
    copying = [task for task in tasks if copies(task.run) and task.index in counters.documents]
    if not copying:
        return 0
    size = _looked_up(engine, copying, settings.BATCH_WORK)
    if size is None:
        average = counters.used / max(1, sum(counters.documents.values()))
        size = round(average * sum([len(task.run.keys) for task in copying]))
    return min(settings.BATCH_WORK, size)


def size_of_records(engine: StorageEngine, tasks: Sequence[Task], enough: int) -> int:
    """The bytes of the records of tasks; 0 where they can't be many.

    :param enough: from so many bytes on no further records are counted.
    """
    return _looked_up(engine, tasks, enough) or 0


def _looked_up(engine: StorageEngine, tasks: Sequence[Task], enough: int) -> int | None:
    """The bytes of the records of tasks; None where they aren't looked up, as none can be large."""
    size, looks = 0, LookBudget(disk_reads)
    try:
        with engine.reading() as view:
            if not view.may_be_longer(settings.ANSWER_BYTES):
                return None
            for task in tasks:
                if size < enough and looks.left > 0:
                    index = DurableIndex(view, task.index, looks=looks)
                    size += index.size(task.run.keys, task.slots, enough - size)
    except lmdb.Error:
        return size  # the batch itself finds that out, and says so
    return size
