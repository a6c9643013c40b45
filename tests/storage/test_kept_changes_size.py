"""What is counted for changes that a store in memory keeps for followers is what they take of memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from resident import measured
from storage.kept_changes import KINDS, SHAPES

LITTLE = 2 * 1024 * 1024


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[int, int]]:
    """Bytes counted, and bytes taken, of each shape."""
    return measured(Path(__file__).with_name("kept_changes.py"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_kept_for_followers(found: dict[str, tuple[int, int]], kind: str, shape: str) -> None:
    """They take no more than is counted, within a tenth, whatever their shape, packed or not."""
    counted, taken = found[f"{kind}, {shape}"]
    assert taken <= 1.1 * counted + LITTLE
    assert counted <= 1.25 * taken + 4 * LITTLE
