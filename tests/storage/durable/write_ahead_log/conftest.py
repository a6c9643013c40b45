"""What tests of the write-ahead log share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import System, put_under_logs
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
    put_under_logs(monkeypatch, made)
    return made
