"""What the log says of a disk that failed, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import TakeErrors
from storage.durable.store.broken import Broken
from storage.durable.store.opened import opened
from stores import PLENTY, at_once, task
from twisted.internet.task import Clock

from pyshard.errors import StorageFailed
from pyshard.protocol.batch_operations import Write
from pyshard.storage.durable.failed_updates import QUIET, FailureLog

FULL = "the disk did not take a change: No space left on device"


def test_a_full_disk_has_a_line_a_minute(path: Path, logged_errors: TakeErrors) -> None:
    """Each change fails, and says why to its sender. The log has the first, then one line a minute, with the number."""
    clock = Clock()
    store = opened(path, steady=clock.seconds)
    broken = Broken(store)
    broken.appends = False

    def lines(changes: int) -> list[str]:
        for number in range(changes):
            with pytest.raises(StorageFailed, match="No space left"):
                at_once(store.apply([task(Write("", [b"%d" % number], [b""]))], PLENTY, PLENTY))
        return [str(error) for error in logged_errors(AssertionError)]

    assert lines(1500) == [FULL]
    clock.advance(QUIET - 0.01)
    assert lines(1) == []
    clock.advance(0.01)
    assert lines(2) == [f"{FULL}; such lines left out in the 1 min before: 1,500"]
    clock.advance(5 * QUIET)
    assert lines(1) == [f"{FULL}; such lines left out in the 5 min before: 1"]
    clock.advance(QUIET)
    assert lines(1) == [FULL]
    broken.appends = True
    at_once(store.close())


def test_each_kind_has_its_line(logged_errors: TakeErrors) -> None:
    """A failure of another kind isn't left out for the first one's sake."""
    log = FailureLog(Clock().seconds)
    for _ in range(10):
        log.add("one", "full")
        log.add("another", "broken")
    assert [str(error) for error in logged_errors(AssertionError)] == ["one: full", "another: broken"]
