"""What tests of the log before LMDB share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import System
from stores import folder


@pytest.fixture
def path() -> Iterator[Path]:
    """A log's place."""
    with folder() as made:
        yield made / "log"


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    """What every log has for `os`."""
    made = System()
    monkeypatch.setattr("pyshard.storage.durable.write_ahead_log.os", made)
    return made
