"""How an event stands in a daemon's log: as text for people, or as one JSON object a line for programs. Pure.

Rules:

- Text is Twisted's own format: time, source and level, message. What stands on further lines, such as a traceback, is
  indented, so each event has one line that isn't.
- Peers may have written a part of any message. So what can't be printed stands there as escapes, and a message of
  pyshard's own is one line.
- A JSON object is one line of ASCII: ``time`` (UTC), ``level``, ``namespace`` and ``message``, then the fields.
- Fields are what pyshard's own lines name: numbers and short texts, such as a connection's id. Other events, Twisted's
  among them, have no fields: they hold objects of any kind. `twisted.logger.eventAsJSON` writes all of these.
- An error that is repeated has a line a minute (`pyshard.server.repeated_errors`).
- No line of pyshard's has a key, a document or a token; tests/functional/test_services.py looks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import TypeAlias

from twisted.logger import LogEvent, LogLevel, eventAsText, formatEvent, formatTime
from twisted.python.failure import Failure

from pyshard.errors import ConfigError
from pyshard.message_texts import plain
from pyshard.server.repeated_errors import RepeatedErrors

#: Makes the text of an event, with the end of its line; None: it has none.
LineMaker: TypeAlias = Callable[[LogEvent], str | None]

#: What all lines of a daemon have as fields, when each is written: the name of its shard.
Fields: TypeAlias = Callable[[], Mapping[str, str]]

_OURS = "pyshard"


class LogFormat(Enum):
    """How lines stand in a log."""

    TEXT = "text"
    JSON = "json"


def log_format(given: str) -> LogFormat:
    """The format that an option gives.

    :raises ConfigError: there is none of that name.
    """
    try:
        return LogFormat(given)
    except ValueError:
        known = " or ".join(each.value for each in LogFormat)
        raise ConfigError(f"--log-format: found {given!r}, expected {known}") from None


def line_maker(chosen: LogFormat, fields: Fields = dict) -> LineMaker:
    """What makes the lines of a log.

    :param fields: in JSON each line has these, too.
    """
    made: LineMaker = text_line if chosen is LogFormat.TEXT else lambda event: json_line(event, fields())
    errors = RepeatedErrors()
    return lambda event: "".join(filter(None, map(made, errors.lines(event)))) or None


def text_line(event: LogEvent) -> str | None:
    """An event as text; None: it says nothing."""
    text, message = eventAsText(event, formatTime=formatTime), formatEvent(event)
    if not text:
        return None
    if _is_ours(event):
        text = text.replace(message, plain(message), 1)
    return "\n\t".join(map(plain, text.split("\n"))) + "\n"


def json_line(event: LogEvent, fields: Mapping[str, str]) -> str | None:
    """An event as a JSON object; None: it says nothing.

    :param fields: what the line has besides; a field of the event's own comes before one of the same name.
    """
    failure = event.get("log_failure")
    message = formatEvent(event)
    if not message and failure is None:
        return None
    namespace = _namespace(event)
    line: dict[str, object] = {
        "time": _utc(event.get("log_time")),
        "level": (event.get("log_level") or LogLevel.info).name,
        "namespace": namespace,
        "message": message,
    }
    own = event if _is_ours(event) else {}
    for name, value in {**fields, **own}.items():
        if not name.startswith("log_") and (said := _said(value)) is not None:
            line.setdefault(name, said)
    if isinstance(failure, Failure):
        line["traceback"] = failure.getTraceback()
    return json.dumps(line) + "\n"


def _namespace(event: LogEvent) -> str:
    return str(event.get("log_namespace") or event.get("log_system") or "-")


def _is_ours(event: LogEvent) -> bool:
    return _namespace(event).partition(".")[0] == _OURS


def _utc(seconds: object) -> str | None:
    """A time as ISO 8601 has it, with milliseconds; None: there is none."""
    if not isinstance(seconds, float | int):
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _said(value: object) -> str | int | float | None:
    """A field's value as it stands in JSON; None: it says nothing there."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, str | int):
        return None if value == "" else value
    return str(value) if isinstance(value, Path) else None
