"""What tests of authentication share."""

from __future__ import annotations

from typing import Any

import pytest
from authentication.secured import SECRETS, TOKENS, Bench

from pyshard.security.tokens_and_roles import Role
from pyshard.testing import MemoryCluster


@pytest.fixture
def bench() -> Any:
    """A cluster with an index and a document."""
    with MemoryCluster(tokens=TOKENS) as cluster:
        admin = cluster.connect(secret=SECRETS[Role.ADMIN])
        cluster.run(admin.create_index("pages"))
        cluster.run(admin.write("test", 7))
        yield Bench(cluster)
