"""The log file of a daemon, in place of the one that twistd opens by itself: bounded, and opened again on request.

Rules:

- a file that is full is put aside (``.1`` is the newest), and only so many are kept; twistd's own keeps all for ever;
- a file that another program has moved away is left to it: when it is opened again, a new one begins in its place;
- when that fails, the log goes on in the file that is open;
- several threads may log.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from twisted.logger import FileLogObserver, ILogObserver, Logger
from twisted.python.logfile import LogFile

from pyshard.errors import ConfigError
from pyshard.server.log_lines import Fields, LogFormat, line_maker
from pyshard.server.option_numbers import whole_number
from pyshard.server.twistd_file_options import TwistdFiles
from pyshard.settings import settings


@attrs.frozen
class LogBounds:
    """How large logs become.

    :param size: bytes after which a file is put aside; 0: never.
    :param count: how many files are kept beside the present one.
    """

    size: int = settings.LOG_BYTES
    count: int = settings.LOG_FILES


def log_bounds(options: Mapping[str, Any], files: TwistdFiles) -> LogBounds:
    """What a daemon's options say of its log file.

    :raises ConfigError: an option is no such number, or there is no log file that it could bound.
    """
    given = {name: options[name] for name in ("log-size", "log-count") if options[name] is not None}
    if given and files.log is None:
        raise ConfigError(
            f"--{next(iter(given))}: found it, and twistd logs to no file; expected its --logfile FILE before the "
            "plugin's name, and neither --syslog nor --logger"
        )
    return LogBounds(
        whole_number(given.get("log-size", settings.LOG_BYTES), "--log-size", 0),
        whole_number(given.get("log-count", settings.LOG_FILES), "--log-count", 1),
    )


class _LogFileWithMode(LogFile):
    """Twisted's, but that it makes a file without a change of the process's umask, which all threads have."""

    def _openFile(self) -> None:  # noqa: N802  # Twisted's name
        mode = self.defaultMode
        if mode is not None:
            with suppress(FileExistsError):
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                try:
                    os.fchmod(descriptor, mode)
                finally:
                    os.close(descriptor)
        super()._openFile()


class DaemonLog:
    """A log file.

    :param path: the file.
    :param mode: the permissions of a new one; one that is there keeps its own.
    :param bounds: how large it becomes.
    :param form: how lines stand in it.
    :raises ConfigError: it can't be written.
    """

    _log = Logger()

    def __init__(self, path: Path, mode: int, bounds: LogBounds, form: LogFormat = LogFormat.TEXT) -> None:
        self._path = path
        self._mode = mode
        self._format = form
        self._bounds = bounds
        self._lock = threading.Lock()
        try:
            self._file = self._open()
        except OSError as error:
            raise ConfigError(f"--logfile: {path} can't be written: {(error.strerror or str(error)).lower()}") from None

    def observer(self, fields: Fields = dict) -> ILogObserver:
        """See `IDaemonLog`."""
        lines = line_maker(self._format, fields)
        return FileLogObserver(self, lines)  # type: ignore[arg-type]  # any file-like object will do

    def write(self, text: str) -> None:
        """Write some text."""
        with self._lock:
            self._file.write(text)

    def flush(self) -> None:
        """Nothing: every write goes to the file at once."""

    def rotate(self) -> None:
        """Put the file aside, and begin a new one."""
        with self._lock:
            self._file.rotate()

    def reopen(self) -> None:
        """Close the file, and go on in the one that has its name now; a new one is made if there is none."""
        try:
            file = self._open()
        except OSError as error:
            self._log.warn(
                "log file {path}: it can't be opened again ({why}); the log goes on in the one that is open",
                path=self._path,
                why=error.strerror or error,
            )
            return
        with self._lock:
            before, self._file = self._file, file
        before.close()

    def close(self) -> None:
        """Close the file; nothing can be written any more."""
        self._file.close()

    def _open(self) -> _LogFileWithMode:
        there = self._path.exists()
        whole = there and not self._path.is_file()  # a device can't be put aside
        return _LogFileWithMode(
            self._path.name,
            str(self._path.parent),
            rotateLength=0 if whole else self._bounds.size,
            defaultMode=None if there else self._mode,
            maxRotatedFiles=self._bounds.count,
        )
