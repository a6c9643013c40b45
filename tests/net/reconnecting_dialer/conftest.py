"""What tests of a peer share."""

from __future__ import annotations

import pytest
from net.reconnecting_dialer.dialed import Bench


@pytest.fixture
def bench() -> Bench:
    """A peer whose endpoint leads to nobody yet."""
    return Bench()
