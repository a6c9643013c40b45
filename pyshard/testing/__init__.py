"""A cluster in memory, for the tests of pyshard and of programs that use it (docs/testing.md)."""

from pyshard.testing.memory_cluster import MemoryCluster
from pyshard.testing.memory_network import MemoryNetwork

__all__ = ["MemoryCluster", "MemoryNetwork"]
