"""Where a shard keeps its records: the interface, and the stores."""

from pyshard.storage.interface import IStore, Page, Task
from pyshard.storage.memory import MemoryStore

__all__ = ["IStore", "MemoryStore", "Page", "Task"]
