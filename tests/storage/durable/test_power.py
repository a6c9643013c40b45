"""A durable store has what it promised after a power failure, or after its process was killed, at any moment.

The histories are random and always the same. tests/disks.py has the disk; LMDB is taken at its word.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from conftest import TakeErrors
from disks import Disk
from storage.durable.power_failures import told
from storage.durable.store_history import StoreHistory
from stores import folder


@pytest.fixture(autouse=True)
def _small_laps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make laps cut their files often."""
    monkeypatch.setattr("pyshard.storage.durable.log_file._KEPT", 3000)


def test_a_store_after_a_power_failure(monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors) -> None:
    """All changes that were acknowledged as synced are there, with versions and ranges, and none that was refused.

    Of what was acknowledged otherwise there is everything up to some moment.
    """
    seen: Counter[str] = Counter()
    for seed in range(150):
        random = Random(seed)
        with folder() as made, monkeypatch.context() as patched:
            disk = Disk(random)
            with told(seed, patched, disk):
                StoreHistory(made / "data", disk, random, seen).run(30)
        assert {type(error) for error in logged_errors()} <= {AssertionError}
    assert set(seen) == {
        *("failed", "doubtful, and there", "all there", "some missing", "given", "behind", "rearranged", "refused"),
        *("dropped", "more to sweep", "a row before the copy is complete"),
    }
    assert min(seen.values()) > 15
