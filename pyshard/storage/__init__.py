"""Where a shard keeps its records: what every store promises (`interface`), and the two stores."""

from pyshard.storage.durable.data_directory import DataDirectory
from pyshard.storage.durable.durability_modes import Durability
from pyshard.storage.durable.store import LmdbStore
from pyshard.storage.interface import ITSELF, ISnapshot, IStore, Page, PageBounds, Sender, Task
from pyshard.storage.memory.store import MemoryStore

__all__ = [
    "DataDirectory",
    "Durability",
    "ISnapshot",
    "IStore",
    "ITSELF",
    "LmdbStore",
    "MemoryStore",
    "Page",
    "PageBounds",
    "Sender",
    "Task",
]
