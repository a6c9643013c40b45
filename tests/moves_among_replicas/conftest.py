"""What tests of moves between shards with replicas share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moving import DurableStores
from moving_replicas import replicated
from stores import folder

from pyshard.testing import MemoryCluster


@pytest.fixture(params=["memory", "durable"])
def cluster(request: pytest.FixtureRequest) -> Iterator[MemoryCluster]:
    """Two shards with two replicas each, in memory, or durable."""
    with folder() as path:
        store = None if request.param == "memory" else DurableStores(path).open
        with replicated(store) as made:
            yield made


@pytest.fixture
def durable() -> Iterator[MemoryCluster]:
    """Durable ones."""
    with folder() as path, replicated(DurableStores(path).open) as made:
        yield made
