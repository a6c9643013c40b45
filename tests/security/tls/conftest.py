"""What the tests of TLS share."""

from __future__ import annotations

from pathlib import Path

import pytest
from certificates import Certificates


@pytest.fixture
def made(tmp_path: Path) -> Certificates:
    """An authority's certificates."""
    return Certificates(tmp_path)
