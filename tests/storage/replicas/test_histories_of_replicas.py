"""Replicas of a shard have the same log and the same records, whatever happens to them.

The histories are random and always the same (`replica_history`). `PYSHARD_TEST_REPLICAS` says how many are tried.
"""

from __future__ import annotations

import os
from collections import Counter
from random import Random

import pytest
from conftest import TakeErrors
from disks import Disk
from storage.durable.power_failures import told
from storage.replicas.replica_history import ReplicaHistory
from stores import folder

SEEDS = int(os.environ.get("PYSHARD_TEST_REPLICAS", "30"))


@pytest.fixture(autouse=True)
def _small_laps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have logs rotate, and laps cut their files, often."""
    monkeypatch.setattr("pyshard.storage.durable.log_file._KEPT", 3000)


@pytest.mark.parametrize("faults", [False, True], ids=["quiet", "failing disks"])
def test_replicas(faults: bool, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors) -> None:
    """No group that is committed is ever lost, and all replicas have the same up to the same group."""
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        random = Random(f"{seed} {faults}")
        with folder() as made, monkeypatch.context() as patched:
            disk = Disk(random)
            with told((seed, faults), patched, disk):
                history = ReplicaHistory(made, disk, random, seen, faults)
                try:
                    history.run(120)
                finally:
                    history.close()
    logged_errors()
    happened = {"appended", "committed", "joined", "by log", "cut", "copied", "led", "restarted", "outage", "the same"}
    happened |= {"may be undone", "shown as committed"}
    assert happened <= set(seen)
    assert min(seen[each] for each in happened) >= 10
