"""How lines stand in a log."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.logger import LogEvent, Logger, LogLevel
from twisted.python.failure import Failure

from pyshard.errors import ConfigError
from pyshard.server.daemon_log import StandardOutputLog, chosen_log
from pyshard.server.log_lines import LogFormat, json_line, line_maker, log_format
from pyshard.server.rotated_log_file import DaemonLog
from pyshard.server.twistd_file_options import TwistdFiles


def event(**fields: object) -> LogEvent:
    """An event of pyshard's."""
    return {
        "log_time": 1_700_000_000.25,
        "log_level": LogLevel.warn,
        "log_namespace": "pyshard.server.connection",
        "log_format": "connection {connection}: {what}",
        **fields,
    }


def told(line: str | None) -> dict[str, Any]:
    """A line of JSON."""
    assert line is not None
    assert line.endswith("\n")
    assert line.isascii()
    assert line.count("\n") == 1
    found: dict[str, Any] = json.loads(line)
    return found


def test_text() -> None:
    """A person reads time, source, level and message in one line."""
    make = line_maker(LogFormat.TEXT)
    line = make(event(connection="c1", what="opened"))
    assert line is not None
    assert line[:10] in ("2023-11-14", "2023-11-15")  # the zone is the machine's
    assert line[24:] == " [pyshard.server.connection#warn] connection c1: opened\n"
    assert make({"log_format": ""}) is None


def test_what_peers_have_written() -> None:
    """It is shown as escapes, whoever logs it: no line is forged, and no terminal obeys."""
    make = line_maker(LogFormat.TEXT)
    line = make(event(connection="c1", what="opened"))
    assert line is not None
    name = "m\x1b[2J\r2026-10-05T00:00:00+0000 [pyshard.security#info] all is well\n\x85\u2028\u202e"
    shown = r"m\x1b[2J\r2026-10-05T00:00:00+0000 [pyshard.security#info] all is well\n\x85\u2028\u202e"
    assert make(event(connection="c1", what=name)) == line.replace("opened", shown)
    of_another = make(event(log_namespace="twisted.web", connection="c1", what=name))
    assert of_another == line.replace("pyshard.server.connection", "twisted.web").replace(
        "opened", shown.replace(r"\n", "\n\t")
    ), "it may have a traceback in its message"
    try:
        raise ValueError(name)
    except ValueError:
        failed = make(event(connection="c1", what="it failed", log_failure=Failure()))
    assert failed is not None
    first, *further, last = failed.splitlines()
    assert (first, further[0]) == (line.rstrip().replace("opened", "it failed"), "\tTraceback (most recent call last):")
    assert (last, all(each.startswith("\t") for each in further)) == ("\t", True)
    assert "\tbuiltins.ValueError: " + shown.partition(r"\n")[0] in further


def test_json() -> None:
    """A program reads the same, and the fields."""
    assert told(json_line(event(connection="c1", what="opened", worked=1.5, often=3), {"shard": "a"})) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warn",
        "namespace": "pyshard.server.connection",
        "message": "connection c1: opened",
        "shard": "a",
        "connection": "c1",
        "what": "opened",
        "worked": 1.5,
        "often": 3,
    }


def test_any_text_is_one_line() -> None:
    """Whatever stands in a text: ends of lines, other scripts, halves of characters."""
    for text in ("two\nlines", "\u2028", "grüße \U0001f600", "\udc80", "\x00", '"}'):
        assert told(json_line(event(connection="c1", what=text), {}))["what"] == text


def test_fields_that_stay_out() -> None:
    """Objects, numbers that JSON lacks, and empty texts are no fields; and no field hides what all lines have."""
    line = told(
        json_line(
            event(
                what=Path("/srv/a"),
                connection="",
                address=IPv4Address("TCP", "127.0.0.1", 5050),
                document=b"secret",
                number=float("nan"),
                level="none",
                message="none",
            ),
            {},
        )
    )
    assert line.keys() == {"time", "level", "namespace", "message", "what"}
    assert (line["level"], line["message"]) == ("warn", "connection : /srv/a")


def test_events_of_others() -> None:
    """Twisted's own have no fields, since these are objects of any kind; old ones have a time and a message, too."""
    assert told(json_line(event(log_namespace="twisted.web", connection="c1", what="x"), {})).keys() == {
        "time",
        "level",
        "namespace",
        "message",
    }
    old: LogEvent = {"log_format": "{log_text}", "log_text": "hello", "log_system": "-", "log_time": 0.0}
    assert told(json_line(old, {})) == {
        "time": "1970-01-01T00:00:00.000Z",
        "level": "info",
        "namespace": "-",
        "message": "hello",
    }
    assert json_line({"log_format": ""}, {}) is None


def test_failure() -> None:
    """Its traceback is a field, so that it stays one line."""
    try:
        raise ValueError("two\nlines")
    except ValueError:
        failure = Failure()
    line = told(json_line(event(log_failure=failure, connection="c1", what="it failed"), {}))
    assert line["message"] == "connection c1: it failed"
    assert line["traceback"].startswith("Traceback")
    assert "ValueError: two\nlines" in line["traceback"]


def options(form: str) -> dict[str, Any]:
    """A daemon's options about its log."""
    return {"log-format": form, "log-size": None, "log-count": None}


def test_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both formats go there; text that twistd has elsewhere is its own work."""
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    assert chosen_log(options("text"), TwistdFiles(elsewhere="--syslog")) is None
    opened = chosen_log(options("text"), TwistdFiles())
    assert opened is not None
    Logger("pyshard.shard", observer=opened().observer()).info("hello {name}", name="\x1b[2J")
    assert output.getvalue().endswith(" [pyshard.shard#info] hello \\x1b[2J\n")
    output.truncate(output.seek(0))
    opened = chosen_log(options("json"), TwistdFiles())
    assert opened is not None
    log = opened()
    assert isinstance(log, StandardOutputLog)
    log.reopen()
    log.rotate()
    Logger("pyshard.shard", observer=log.observer(lambda: {"shard": "a"})).info("hello {connection}", connection="c1")
    line = told(output.getvalue())
    assert (line["message"], line["connection"], line["shard"]) == ("hello c1", "c1", "a")


def test_file(tmp_path: Path) -> None:
    """JSON goes into a log file, too."""
    opened = chosen_log(options("json"), TwistdFiles(tmp_path / "shard.log"))
    assert opened is not None
    log = opened()
    assert isinstance(log, DaemonLog)
    Logger("pyshard.shard", observer=log.observer()).info("hello")
    log.close()
    assert told((tmp_path / "shard.log").read_text())["message"] == "hello"


def test_refused() -> None:
    """Another format, and JSON where twistd logs by itself, are refused in one line."""
    with pytest.raises(ConfigError, match=r"^--log-format: found 'xml', expected text or json$"):
        log_format("xml")
    with pytest.raises(ConfigError, match=r"^--log-format: found json with twistd's --syslog, expected a log on "):
        chosen_log(options("json"), TwistdFiles(elsewhere="--syslog"))
