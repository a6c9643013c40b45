"""Which errors of a daemon's own stand in its log: a peer may bring one about as often as it likes. Pure.

Rules:

- an error has a line with its traceback. One that was raised at the same place is left out for a minute, and counted;
- how many were left out is told before the next one of that place, or before any other line once the minute is over;
- a place is what the last frames of a traceback are, with the error's class, and what the line says of it. So what is
  new is never left out;
- time is what events say of it. A clock that is set back leaves nothing out.
"""

from __future__ import annotations

from threading import Lock
from typing import TypeAlias

import attrs
from twisted.logger import LogEvent, LogLevel
from twisted.python.failure import Failure

_AGAIN = 60.0  # seconds after which an error of the same place stands in the log again
_FRAMES = 5  # the last ones of a traceback
_MOST = 1000  # places that are known

_Place: TypeAlias = tuple[object, ...]


@attrs.define
class _LoggedPlace:
    """What is known of a place.

    :ivar at: when an error of it stood in the log last.
    :ivar text: what that error is, and where.
    :ivar left_out: how many have been left out since then.
    """

    at: float
    text: str
    left_out: int = 0


class RepeatedErrors:
    """Those of one log. Any thread may log."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: dict[_Place, _LoggedPlace] = {}
        self._any = False  # whether any was left out that wasn't told

    def lines(self, event: LogEvent) -> list[LogEvent]:
        """What is to be logged for an event: it, or nothing; and before that how many errors were left out."""
        with self._lock:
            return self._lines(event, event.get("log_time") or 0.0)

    def _lines(self, event: LogEvent, now: float) -> list[LogEvent]:
        found = self._overdue(now) if self._any else []
        failure = event.get("log_failure")
        if not isinstance(failure, Failure) or (event.get("log_level") or LogLevel.info) < LogLevel.error:
            return [*found, event]
        place = _place(event, failure)
        known = self._known.get(place)
        if known is not None and 0 <= now - known.at < _AGAIN:
            known.left_out += 1
            self._any = True
            return found
        if known is not None and known.left_out:
            found.append(_told(known, now))
        self._known.pop(place, None)
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[place] = _LoggedPlace(now, _text(failure))
        return [*found, event]

    def _overdue(self, now: float) -> list[LogEvent]:
        late = [known for known in self._known.values() if known.left_out and not 0 <= now - known.at < _AGAIN]
        found = [_told(known, now) for known in late]
        for known in late:
            known.left_out = 0
        self._any = any(known.left_out for known in self._known.values())
        return found


def _told(known: _LoggedPlace, now: float) -> LogEvent:
    return {
        "log_time": now,
        "log_level": LogLevel.error,
        "log_namespace": __name__,
        "log_format": "{count:,} errors like an earlier one were left out: {error}",
        "count": known.left_out,
        "error": known.text,
    }


def _place(event: LogEvent, failure: Failure) -> _Place:
    said = event.get("log_namespace"), event.get("log_format"), failure.type
    return *said, *[(file, line) for _, file, line, *_ in failure.frames[-_FRAMES:]]


def _text(failure: Failure) -> str:
    """The class of an error, and where it was raised: what it says may be long."""
    name = failure.type.__name__ if failure.type is not None else "error"
    return f"{name} at {failure.frames[-1][1]}:{failure.frames[-1][2]}" if failure.frames else name
