"""Errors of a daemon's own that a peer brings about again and again: one stands in the log, the others are counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.logger import LogEvent, LogLevel
from twisted.python.failure import Failure

from pyshard.server.log_lines import LogFormat, line_maker
from pyshard.server.repeated_errors import RepeatedErrors

LEFT_OUT = "{count:,} errors like an earlier one were left out: {error}"


def divide() -> None:
    """Raise an error."""
    _ = 1 // 0


def divide_deeper() -> None:
    """Raise the same by another way."""
    divide()


def without_frames() -> None:
    """Raise one at no place that is known."""


def of(work: Callable[[], None], now: float, **fields: object) -> LogEvent:
    """The event of an error."""
    try:
        work()
        failure = Failure(ValueError("why"))
    except ZeroDivisionError:
        failure = Failure()
    event: LogEvent = {
        "log_time": now,
        "log_level": LogLevel.critical,
        "log_namespace": "pyshard.server.connection",
        "log_format": "connection {connection}: Apply failed",
        "log_failure": failure,
        "connection": "c1",
    }
    return event | fields


def told(events: list[LogEvent]) -> list[object]:
    """How many were left out, for lines that say so; the format of all others."""
    return [event["count"] if event["log_format"] == LEFT_OUT else event["log_format"] for event in events]


def test_one_of_many() -> None:
    """The first has its line, and the next one after a minute, behind the number of those that had none."""
    errors = RepeatedErrors()
    found = [errors.lines(of(divide, now=1000 + number)) for number in range(61)]
    assert [len(lines) for lines in found] == [1, *[0] * 59, 2]
    assert told(found[60]) == [59, "connection {connection}: Apply failed"]
    assert str(found[60][0]["error"]).startswith("ZeroDivisionError at ")
    assert found[60][1]["log_failure"] is not None


def test_the_number_is_told_without_another_one() -> None:
    """Before any other line, once the minute is over."""
    errors, other = RepeatedErrors(), {"log_level": LogLevel.info, "log_format": "opened"}
    for number in range(5):
        errors.lines(of(divide, now=1000 + number))
    assert told(errors.lines({**other, "log_time": 1059})) == ["opened"]
    assert told(errors.lines({**other, "log_time": 1060})) == [4, "opened"]
    assert told(errors.lines({**other, "log_time": 2000})) == ["opened"]


@pytest.mark.parametrize(
    "another",
    [
        lambda: of(divide_deeper, 1000),
        lambda: of(without_frames, 1000),
        lambda: of(divide, 1000, log_format="another line"),
        lambda: of(divide, 1000, log_namespace="pyshard.http"),
        lambda: of(divide, 999),  # the clock was set back
    ],
    ids=["way", "class", "line", "namespace", "time"],
)
def test_what_is_new_has_its_line(another: Callable[[], LogEvent]) -> None:
    """Whatever it differs in."""
    errors = RepeatedErrors()
    assert len(errors.lines(of(divide, now=1000))) == 1
    assert another()["log_format"] in told(errors.lines(another()))
    errors.lines(of(divide, now=1000))
    if another()["log_time"] == 1000:
        assert errors.lines(another()) == []


def test_what_is_no_error_of_its_own() -> None:
    """A line without a failure, or below an error, always stands."""
    errors = RepeatedErrors()
    for _ in range(10):
        assert len(errors.lines(of(divide, 1000, log_level=LogLevel.warn))) == 1
        assert len(errors.lines({"log_time": 1000, "log_level": LogLevel.error, "log_format": "why"})) == 1


def test_many_places() -> None:
    """A bounded number is known; the oldest go."""
    errors = RepeatedErrors()
    for number in range(1001):
        assert len(errors.lines(of(divide, 1000, log_format=f"line {number}"))) == 1
    assert errors.lines(of(divide, 1000, log_format="line 1000")) == []
    assert len(errors.lines(of(divide, 1000, log_format="line 0"))) == 1


@pytest.mark.parametrize("form", LogFormat)
def test_in_a_log(form: LogFormat) -> None:
    """In both formats, with the traceback of one alone."""
    make = line_maker(form)
    lines = [make(of(divide, now=1000 + number)) for number in range(61)]
    text = "".join(filter(None, lines))
    assert text.count("Traceback (most recent call last)") == 2
    assert text.count("59 errors like an earlier one were left out: ZeroDivisionError at ") >= 1
    assert lines[1:60] == [None] * 59
