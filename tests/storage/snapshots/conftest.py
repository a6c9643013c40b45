"""What tests of stores' snapshots share."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock


@pytest.fixture
def clock() -> Clock:
    """A time that isn't 0."""
    clock = Clock()
    clock.advance(1_000_000)
    return clock
