"""The dropped indexes of a store in memory: nobody sees them any more, and their records are let go some at a time."""

from __future__ import annotations

from pyshard.storage.memory.index_records import MemoryIndex


def forget_dropped(indexes: list[MemoryIndex], most: int) -> None:
    """Let records of dropped indexes go, and take indexes out of the list that have none left.

    :param most: how many records at the most.
    """
    while most > 0 and indexes:
        if indexes[-1].forget_one():
            most -= 1
        else:
            indexes.pop()
