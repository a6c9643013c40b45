"""How many bytes of records a batch copies or gives, as far as it can be told before it is applied.

Only large records matter: where a store has none, nothing is looked up.
"""

from __future__ import annotations

from collections.abc import Sequence

import lmdb

from pyshard.metrics.disk_reads import disk_reads
from pyshard.protocol.batch_operations import Touch
from pyshard.settings import settings
from pyshard.storage.durable.engine import StorageEngine
from pyshard.storage.durable.index_records import DurableIndex
from pyshard.storage.interface import Task
from pyshard.storage.look_budget import LookBudget


def will_copy(engine: StorageEngine, tasks: Sequence[Task]) -> int:
    """About how many bytes of records a batch copies: a touch of a few bytes may copy the largest documents."""
    touching = [task for task in tasks if type(task.run) is Touch]
    return size_of_records(engine, touching, settings.BATCH_WORK) if touching else 0


def size_of_records(engine: StorageEngine, tasks: Sequence[Task], enough: int) -> int:
    """The bytes of the records of tasks; 0 where they can't be many.

    :param enough: from so many bytes on no further records are counted.
    """
    size, looks = 0, LookBudget(disk_reads)
    try:
        with engine.reading() as view:
            if view.may_be_longer(settings.ANSWER_BYTES):
                for task in tasks:
                    if size < enough and looks.left > 0:
                        index = DurableIndex(view, task.index, looks=looks)
                        size += index.size(task.run.keys, task.slots, enough - size)
    except lmdb.Error:
        return size  # the batch itself finds that out, and says so
    return size
