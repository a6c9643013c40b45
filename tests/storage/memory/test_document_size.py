"""What a store in memory counts for documents is what they take, with a time to live and without."""

from __future__ import annotations

from pathlib import Path

import pytest
from resident import measured
from storage.memory.expiring_documents import REMOVED, SHAPES


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[int, int]]:
    """Bytes counted, and bytes taken, of each shape."""
    return measured(Path(__file__).with_name("expiring_documents.py"))


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_kept(found: dict[str, tuple[int, int]], shape: str) -> None:
    """It is counted within a fifth, whatever it is, and whatever was done to it before."""
    counted, taken = found[shape]
    assert 0.8 * taken <= counted <= 1.25 * taken


def test_what_was_removed(found: dict[str, tuple[int, int]]) -> None:
    """Keys of 10 kB that were removed again leave next to nothing."""
    counted, taken = found[REMOVED]
    assert counted == 0
    assert taken < 500_000
