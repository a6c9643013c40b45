"""What tests of a shard's protocol share: a shard behind a connection in memory."""

from __future__ import annotations

import pytest
from shard.served import Bench


@pytest.fixture
def new() -> Bench:
    """A shard that was told nothing yet."""
    return Bench()


@pytest.fixture
def bench(new: Bench) -> Bench:
    """The shard called low of `ROOMY`."""
    new.configure()
    return new
