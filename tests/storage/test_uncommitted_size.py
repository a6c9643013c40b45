"""What is counted for changes that not all members have is no less than what they take of memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from resident import measured
from storage.uncommitted_batches import KINDS, SHAPES

LITTLE = 2 * 1024 * 1024


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[int, int]]:
    """Bytes counted, and bytes taken, of each shape."""
    return measured(Path(__file__).with_name("uncommitted_batches.py"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_waits_for_members(found: dict[str, tuple[int, int]], kind: str, shape: str) -> None:
    """What a store takes is counted, within a tenth; the answers that wait for it are counted besides."""
    counted, taken = found[f"{kind}, {shape}"]
    assert taken <= 1.1 * counted + LITTLE
