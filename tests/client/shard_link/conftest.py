"""What the tests of the link to a shard share."""

from __future__ import annotations

import pytest
from clusters import connected

from pyshard import Client
from pyshard.testing import MemoryCluster


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A client that is connected to both shards of `cluster`."""
    return connected(cluster)
