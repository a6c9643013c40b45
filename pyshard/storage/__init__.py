"""Where a shard keeps its records: the interface, and the stores."""

from pyshard.storage.directory import DataDirectory
from pyshard.storage.durable import Durability
from pyshard.storage.interface import ISnapshot, IStore, Page, Task
from pyshard.storage.lmdb import LmdbStore
from pyshard.storage.memory import MemoryStore

__all__ = ["DataDirectory", "Durability", "ISnapshot", "IStore", "LmdbStore", "MemoryStore", "Page", "Task"]
