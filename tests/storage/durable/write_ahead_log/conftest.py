"""What tests of the write-ahead log share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import System
from stores import folder


@pytest.fixture
def path() -> Iterator[Path]:
    """The path of a log file."""
    with folder() as made:
        yield made / "log"


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    """Stands in for `os` under every log file."""
    made = System()
    monkeypatch.setattr("pyshard.storage.durable.write_ahead_log.os", made)
    return made
