"""Where a shard keeps its records: what every store promises (`interface`), and the two stores."""

from pyshard.storage.durable.data_directory import DataDirectory
from pyshard.storage.durable.durability_modes import Durability
from pyshard.storage.durable.store import LmdbStore
from pyshard.storage.interface import ISnapshot, IStore, Page, PageBounds, Task
from pyshard.storage.memory.store import MemoryStore

__all__ = [
    "DataDirectory",
    "Durability",
    "ISnapshot",
    "IStore",
    "LmdbStore",
    "MemoryStore",
    "Page",
    "PageBounds",
    "Task",
]
