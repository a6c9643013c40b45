"""Whole groups in memory, seed by seed: nothing acknowledged is lost, and nothing stale is read.

By hand, for longer: PYSHARD_TEST_HISTORIES and PYSHARD_TEST_SEED, see CONTRIBUTING.md.
"""

from __future__ import annotations

import os

import pytest
from replication.simulated_group import World, median_and_most

SEEDS = int(os.environ.get("PYSHARD_TEST_HISTORIES", "300"))
FIRST = int(os.environ.get("PYSHARD_TEST_SEED", "0"))
BLOCK = 100


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, BLOCK))
@pytest.mark.parametrize("ephemeral", [False, True], ids=["durable", "memory"])
def test_seeds(ephemeral: bool, first: int) -> None:
    """Each history is linearizable, all replicas are equal at the end, and the group is whole again."""
    failovers, operations, swaps, stale = [], 0, 0, 0
    for seed in range(first, min(first + BLOCK, FIRST + SEEDS)):
        try:
            figures = World(seed, ephemeral).run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        failovers += figures.failovers
        operations += figures.operations
        swaps += figures.swaps
        stale += figures.stale_reads
    assert stale
    print(  # noqa: T201  # pytest shows it when it is asked to (-s)
        f"\nseeds from {first}: {operations} operations, {swaps} changes of groups; from the kill of a primary to the "
        f"next change: {median_and_most(failovers)}; {stale} times a member would have answered a stale read"
    )
