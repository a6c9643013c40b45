"""What tests of the listening side share."""

from __future__ import annotations

import pytest
from server.listener_bench import Bench


@pytest.fixture
def bench() -> Bench:
    """A listener that runs."""
    bench = Bench()
    bench.listener.startService()
    return bench
