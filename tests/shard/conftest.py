"""What tests of a shard without a network share."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest
from deferreds import result
from shard.pulling import PAIRS, Pulling
from shard.states import STATE
from stores import folder
from twisted.internet.task import Clock

from pyshard.settings import settings
from pyshard.shard import digest_slices, served_digests
from pyshard.shard.shard import Shard
from pyshard.storage import MemoryStore


@pytest.fixture
def clock() -> Clock:
    """The shard's time."""
    return Clock()


@pytest.fixture
def new(clock: Clock) -> Shard:
    """A shard that was told nothing yet."""
    return Shard(MemoryStore("1d", clock.seconds), clock.seconds)


@pytest.fixture
def shard(new: Shard) -> Shard:
    """The shard called low of `STATE`."""
    result(new.configure("low", STATE))
    return new


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are counted at a time, and each question is answered after some of them."""
    monkeypatch.setattr(digest_slices, "_ROWS", 40)
    monkeypatch.setattr(served_digests, "settings", attrs.evolve(settings, FOLLOW_WAIT=0))


@pytest.fixture(params=PAIRS)
def pulling(request: pytest.FixtureRequest) -> Iterator[Pulling]:
    """Each pair of stores."""
    with folder() as path:
        source, target = request.param
        made = Pulling(source, target, path)
        yield made
        made.close()


@pytest.fixture
def pulling_in_memory() -> Iterator[Pulling]:
    """Two stores in memory."""
    with folder() as path:
        made = Pulling("memory", "memory", path)
        yield made
        made.close()
