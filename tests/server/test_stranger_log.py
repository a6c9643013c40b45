"""The log of strangers: a few lines a second however many come, what was left out is told, and errors always stand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.task import Clock
from twisted.logger import Logger

from pyshard.server.stranger_log import BURST, LinePace, stranger_log
from pyshard.settings import settings


def test_a_few_lines_a_second() -> None:
    """When it was quiet some more may come at once; then so many a second, and the others are counted."""
    pace = LinePace()
    assert [pace.admits(100.0) for _ in range(1000)].count(True) == BURST
    assert pace.left_out == 1000 - BURST
    assert sum(pace.admits(100.0 + number / 100) for number in range(1000)) == pytest.approx(
        10 * settings.STRANGER_LINES, abs=1
    )


def test_after_a_quiet_time() -> None:
    """A quiet hour isn't saved up."""
    pace = LinePace()
    for now in (0.0, 3600.0, 7200.0):
        assert [pace.admits(now) for _ in range(1000)].count(True) == BURST


def test_a_clock_that_is_set_back() -> None:
    """Then the lines go on as before."""
    pace = LinePace()
    assert [pace.admits(1e6) for _ in range(1000)].count(True) == BURST
    assert not pace.admits(0.0)
    assert pace.admits(1.0)


def test_what_was_left_out_is_told(log_lines: list[str]) -> None:
    """The next line comes behind one with the number of those that were left out."""
    clock = Clock()
    log = stranger_log(clock)
    for number in range(1000):
        log.info("stranger {number}", number=number)
    assert len(log_lines) == BURST
    clock.advance(1)
    log.info("one more")
    assert log_lines[-2:] == ["warn: 950 lines about peers without a role were left out", "info: one more"]
    log.info("and one")
    assert log_lines[-1] == "info: and one"


def test_errors_always_have_their_line(logged_errors: Callable[[], list[BaseException]]) -> None:
    """What is this daemon's own fault isn't left out."""
    log: Logger = stranger_log(Clock())
    for _ in range(100):
        log.info("stranger")
    for number in range(100):
        log.error("error {number}", number=number)
    assert len(logged_errors()) == 100
