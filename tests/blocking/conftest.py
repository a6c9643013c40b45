"""What tests of the blocking client share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyshard import Pyshard
from pyshard.testing import MemoryCluster


@pytest.fixture
def app(cluster: MemoryCluster) -> Iterator[Pyshard]:
    """A blocking client of `cluster`."""
    with cluster.blocking() as made:
        yield made
