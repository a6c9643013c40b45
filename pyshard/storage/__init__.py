"""Where a shard keeps its records: what every store promises (`interface`), and the two stores."""

from pyshard.storage.durable.data_directory import DataDirectory
from pyshard.storage.durable.durability_modes import Durability
from pyshard.storage.durable.store import LmdbStore
from pyshard.storage.follower_places import FollowedBound
from pyshard.storage.following_interface import ICopy, IFollower
from pyshard.storage.interface import ITSELF, ISnapshot, IStore, Page, PageBounds, Sender, Task
from pyshard.storage.memory.store import MemoryStore
from pyshard.storage.replicated_interface import IReplicatedStore, Promise, ReplicaRole, SeenAnswers

__all__ = [
    "DataDirectory",
    "Durability",
    "FollowedBound",
    "ICopy",
    "IFollower",
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
