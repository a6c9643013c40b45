"""What is counted for a batch that waits for the disk is what it takes of memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from resident import measured
from storage.durable.waiting_batches import SHAPES
from stores import task

from pyshard.protocol.batch_operations import Has, Remove, Run, Write
from pyshard.storage.durable.update_size import update_size

LITTLE = 2 * 1024 * 1024


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[int, int]]:
    """Bytes counted, and bytes taken, of each shape."""
    return measured(Path(__file__).with_name("waiting_batches.py"))


@pytest.mark.parametrize("shape", SHAPES)
def test_what_waits(found: dict[str, tuple[int, int]], shape: str) -> None:
    """It is counted within a fifth, whatever it is, or it is next to nothing."""
    counted, taken = found[shape]
    assert 0.8 * taken <= counted <= 1.25 * taken or max(counted, taken) < LITTLE


def test_changes() -> None:
    """What only reads changes nothing."""
    runs: list[Run] = [Write("", [b"a", b"b"], [b"", b""]), Has("", [b"c"] * 7), Remove("", [b"d"]), Remove("", [])]
    assert update_size([task(run) for run in runs])[1] == 3
