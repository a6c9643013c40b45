"""The time of garbage collections is noted, by thread, while that is wanted."""

from __future__ import annotations

import gc
import inspect
import threading
from collections.abc import Iterator

import pytest

from pyshard.metrics.collector_time import COLLECTOR_TIME, CollectorTime
from pyshard.server.serving_turns import ServingTurns
from pyshard.storage.durable.group_commit import GroupCommit

FULL, YOUNG = {"generation": 2}, {"generation": 0}


class Clocks:
    """Two clocks that are set."""

    def __init__(self) -> None:
        self.now = self.worked = 0.0

    def collect(self, time: CollectorTime, now: float, worked: float, info: dict[str, int] = FULL) -> None:
        """Have a collection take so long, of which a processor works for a part."""
        time.note("start", info)
        self.now += now
        self.worked += worked
        time.note("stop", info)


def test_collections_are_added_up() -> None:
    """All but those of the youngest objects; the processor's time without them is told."""
    clocks = Clocks()
    time = CollectorTime(lambda: clocks.now, lambda: clocks.worked)
    clocks.collect(time, 0.5, 0.25)
    clocks.collect(time, 8.0, 4.0, YOUNG)
    clocks.now, clocks.worked = clocks.now + 1, clocks.worked + 1
    clocks.collect(time, 0.25, 0.125)
    assert time.seconds == 0.75
    assert time.processor() == clocks.worked - 0.375


def test_the_processor_of_another_thread() -> None:
    """A collection there stops this thread, too, but has none of its processor's time."""
    clocks = Clocks()
    time = CollectorTime(lambda: clocks.now, lambda: clocks.worked)
    other = threading.Thread(target=lambda: clocks.collect(time, 0.5, 0.25))
    other.start()
    other.join()
    assert time.seconds == 0.5
    assert time.processor() == clocks.worked


def test_one_that_was_under_way() -> None:
    """The end of a collection whose begin wasn't noted says nothing."""
    time = CollectorTime(lambda: 1.0, lambda: 1.0)
    time.note("stop", FULL)
    assert time.seconds == 0.0


@pytest.fixture
def noted() -> Iterator[CollectorTime]:
    """What notes this process's collections."""
    time = CollectorTime()
    time.begin()
    yield time
    time.end()


def test_collections_of_this_process(noted: CollectorTime) -> None:
    """They are noted from `begin` to `end`, once each."""
    noted.begin()
    assert gc.callbacks.count(noted.note) == 1
    gc.collect()
    seconds = noted.seconds
    assert seconds > 0
    noted.end()
    noted.end()
    gc.collect()
    assert noted.seconds == seconds
    assert noted.note not in gc.callbacks


@pytest.mark.parametrize("what", [ServingTurns, GroupCommit])
def test_who_counts_time_takes_collections_off(what: type) -> None:
    """Unless it is told otherwise, it asks for what this thread has done but for collections."""
    defaults = inspect.signature(what).parameters
    assert defaults["processor"].default == COLLECTOR_TIME.processor
    assert "collector" not in defaults or defaults["collector"].default is COLLECTOR_TIME
