"""Whole groups in memory, seed by seed: nothing acknowledged is lost, and nothing stale is read.

By hand, for longer: PYSHARD_TEST_HISTORIES and PYSHARD_TEST_SEED, see CONTRIBUTING.md.
"""

from __future__ import annotations

import os

import pytest
from replication.simulated_group import World

SEEDS = int(os.environ.get("PYSHARD_TEST_HISTORIES", "8"))
FIRST = int(os.environ.get("PYSHARD_TEST_SEED", "1"))


@pytest.mark.parametrize("ephemeral", [False, True], ids=["durable", "memory"])
def test_seeds(ephemeral: bool) -> None:
    """Each history is linearizable, all replicas are equal at the end, and the group is whole again."""
    for seed in range(FIRST, FIRST + SEEDS):
        try:
            figures = World(seed, ephemeral).run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        print(f"seed {seed}: {figures}")  # noqa: T201  # the figures, as in the crash tests
