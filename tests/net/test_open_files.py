"""How many files a process may have, and how many of them a client takes."""

from __future__ import annotations

import resource
from math import inf

import pytest

from pyshard.net.open_files import most_connections, most_files


def test_a_client_leaves_files_to_its_program() -> None:
    """It takes three quarters of them, but has some connections in any case."""
    assert most_connections(1024) == 768
    assert most_connections(65_536) == 49_152
    assert most_connections(4) == 8
    assert most_connections(None) == inf


def test_the_soft_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what the system goes by."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    assert most_files() == 256
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert most_files() is None
