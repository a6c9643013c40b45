"""What every store keeps: the promises of `pyshard.storage.interface`, over each kind of store.

A new store gets a kind of its own in tests/stores.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stores import KINDS, Bench, prepared


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of store."""
    return str(request.param)


@pytest.fixture
def bench(kind: str) -> Iterator[Bench]:
    """An empty store of each kind, with the indexes `NAMED`."""
    with prepared(kind) as bench:
        yield bench


@pytest.fixture
def other(kind: str) -> Iterator[Bench]:
    """Another replica of the same kind, which has nothing yet."""
    with prepared(kind) as bench:
        yield bench


@pytest.fixture(params=[one for one in KINDS if one != "memory"])
def durable(request: pytest.FixtureRequest, killed: bool) -> Iterator[Bench]:
    """An empty store of each kind that outlives a restart, with the indexes `NAMED`."""
    with prepared(request.param) as bench:
        bench.killed = killed
        yield bench


@pytest.fixture(params=[False, True], ids=["closed", "killed"])
def killed(request: pytest.FixtureRequest) -> bool:
    """Whether the process is killed before a restart."""
    return bool(request.param)
