"""Where a daemon logs, and how: to a file of its own, or to standard output; as text, or as JSON.

Rules:

- twistd's own options say where. With ``--syslog`` or ``--logger`` twistd logs by itself, and JSON is refused;
- to standard output a daemon logs as to a file: twistd's own text has there whatever peers have written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import IO, Any, Protocol

from twisted.logger import FileLogObserver, ILogObserver

from pyshard.errors import ConfigError
from pyshard.server.log_lines import Fields, LogFormat, line_maker, log_format
from pyshard.server.rotated_log_file import DaemonLog, log_bounds
from pyshard.server.twistd_file_options import TwistdFiles
from pyshard.settings import settings

#: The options of both daemons about their log.
OPTIONS: list[list[object]] = [
    [
        "log-format",
        None,
        LogFormat.TEXT.value,
        "How lines stand in the log: text, or json, one object a line.",
    ],
    [
        "log-size",
        None,
        None,
        "Bytes after which the log file (twistd's --logfile) is put aside, and a new one begins; 0: never "
        f"[default: {settings.LOG_BYTES}].",
    ],
    ["log-count", None, None, f"Log files that are kept beside it [default: {settings.LOG_FILES}]."],
]


class IDaemonLog(Protocol):
    """Where a daemon logs, if that isn't left to twistd."""

    def observer(self, fields: Fields = ...) -> ILogObserver:
        """What writes events there.

        :param fields: in JSON each line has these, too.
        """
        ...

    def rotate(self) -> None:
        """Put a file aside, and begin a new one."""
        ...

    def reopen(self) -> None:
        """Go on in the file that has the log's name now."""
        ...


class StandardOutputLog:
    """A log on standard output.

    :param chosen: how lines stand there.
    """

    def __init__(self, output: IO[str], chosen: LogFormat) -> None:
        self._output = output
        self._chosen = chosen

    def observer(self, fields: Fields = dict) -> ILogObserver:
        """See `IDaemonLog`."""
        return FileLogObserver(self._output, line_maker(self._chosen, fields))

    def rotate(self) -> None:
        """Nothing: there is no file."""

    def reopen(self) -> None:
        """Nothing: there is no file."""


def chosen_log(options: Mapping[str, Any], files: TwistdFiles) -> Callable[[], IDaemonLog] | None:
    """What opens a daemon's log; None: that is twistd's work.

    :param options: the daemon's.
    :raises ConfigError: an option can't be so, or not where twistd logs.
    """
    chosen = log_format(options["log-format"])
    bounds = log_bounds(options, files)
    if files.log is not None:
        return partial(DaemonLog, files.log, files.log_mode, bounds, chosen)
    if files.elsewhere and chosen is LogFormat.TEXT:
        return None
    if files.elsewhere:
        raise ConfigError(
            f"--log-format: found {chosen.value} with twistd's {files.elsewhere}, expected a log on standard output "
            "(--nodaemon) or in a file (--logfile FILE)"
        )
    return lambda: StandardOutputLog(sys.stdout, chosen)  # it is twistd that puts something else in its place, later
