"""Leases and waits: a lease ends before the grace that it goes by, whatever the clocks do."""

from __future__ import annotations

import pytest

from pyshard.replication.group_times import GroupTimes, of_lease


@pytest.mark.parametrize("lease", [0.1, 1.0, 3.0, 30.0])
def test_lease_ends_first(lease: float) -> None:
    """Where the primary's clock is as slow as may be, and the member's as fast, the lease ends before the grace."""
    times = of_lease(lease)
    true_lease = times.lease / (1 - times.drift)
    true_grace = times.grace / (1 + times.drift)
    assert true_lease + times.margin < true_grace
    assert times.wait < times.silence < times.lease < times.grace


@pytest.mark.parametrize(("lease", "grace", "drift"), [(3.0, 3.0, 0.01), (3.0, 4.0, 0.15), (0.0, 1.0, 0.0), (3, 1, 0)])
def test_impossible(lease: float, grace: float, drift: float) -> None:
    """A lease that could outlast a grace is refused."""
    with pytest.raises(ValueError, match="expected a lease that ends before the grace"):
        GroupTimes(lease, grace, drift)
