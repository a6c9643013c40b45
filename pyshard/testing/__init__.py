"""A cluster in memory, for tests: pyshard's own and those of programs that use it."""

from pyshard.testing.memory_cluster import MemoryCluster
from pyshard.testing.memory_network import MemoryNetwork

__all__ = ["MemoryCluster", "MemoryNetwork"]
