"""What tests of the durable store share: what it promises beyond the contract of all stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stores import Bench, folder, prepared


@pytest.fixture
def path() -> Iterator[Path]:
    """The path of a data directory."""
    with folder() as made:
        yield made / "data"


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An empty store with a small map, without a thread."""
    with prepared("lmdb with a small map") as made:
        yield made


@pytest.fixture
def threaded() -> Iterator[Bench]:
    """An empty store with a thread."""
    with prepared("lmdb with a thread") as made:
        yield made
