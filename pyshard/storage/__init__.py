"""Where a shard keeps its records: what every store promises (`interface`), and the two stores.

The durable store is loaded when its name is first asked for: a shard in memory doesn't wait for it, nor for LMDB.
"""

from typing import TYPE_CHECKING

from pyshard.storage.durable.data_directory import DataDirectory
from pyshard.storage.durable.durability_modes import Durability
from pyshard.storage.follower_places import FollowedBound
from pyshard.storage.following_interface import ICopy, IFollower, IFollowingReplica
from pyshard.storage.interface import ITSELF, ISnapshot, IStore, Page, PageBounds, Sender, Task
from pyshard.storage.memory.store import MemoryStore
from pyshard.storage.replicated_interface import IReplicatedStore, Promise, ReplicaRole, SeenAnswers

if TYPE_CHECKING:
    from pyshard.storage.durable.store import LmdbStore
else:

    def __getattr__(name):
        if name != "LmdbStore":
            raise AttributeError(f"module 'pyshard.storage' has no attribute {name!r}")
        from pyshard.storage.durable.store import LmdbStore

        globals()[name] = LmdbStore
        return LmdbStore


__all__ = [
    "DataDirectory",
    "Durability",
    "FollowedBound",
    "ICopy",
    "IFollower",
    "IFollowingReplica",
    "IReplicatedStore",
    "ISnapshot",
    "IStore",
    "ITSELF",
    "LmdbStore",
    "MemoryStore",
    "Page",
    "PageBounds",
    "Promise",
    "ReplicaRole",
    "SeenAnswers",
    "Sender",
    "Task",
]
