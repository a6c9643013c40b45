"""What tests of a bootstrap that watches shards share."""

from __future__ import annotations

import pytest
from bootstrap.watching import Bench


@pytest.fixture
def bench() -> Bench:
    """Nothing runs yet."""
    return Bench()


@pytest.fixture
def running() -> Bench:
    """A cluster that is ready."""
    return Bench().running()
