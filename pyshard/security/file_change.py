"""Files that may change while they are used: whether one has changed, and what was made of it.

Rules:

- a file that has changed is read again when what it says is needed next, or at once on request;
- files that can't be used leave what was read before, with one line in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from pyshard.errors import ConfigError

_T = TypeVar("_T")

#: Reads files again, whether or not they have changed, and logs in one line what came of it.
Reload: TypeAlias = Callable[[], None]


def file_signature(path: Path) -> tuple[int, ...] | None:
    """A value that differs once the file was written or replaced, or had its mode changed.

    :return: None while there is no such file.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class ReloadedValue(Generic[_T]):
    """What was made of files that may change.

    :param make: reads the files.
    :param signature: a value that differs once one of them has changed.
    :param read: the line for the log after they were read again, given what came of it.
    :param kept: what the line about files that can't be used says of what was read before.
    :raises ConfigError: what `make` raises.
    """

    def __init__(
        self, make: Callable[[], _T], signature: Callable[[], object], read: Callable[[_T], str], kept: str
    ) -> None:
        self._make = make
        self._signature_now = signature
        self._read = read
        self._kept = kept
        self._signature = signature()
        self._value = make()

    def current(self) -> _T:
        """What the files say now. It looks at them each time, which costs little once a connection."""
        if self._signature_now() != self._signature:
            self.reload()
        return self._value

    def reload(self) -> None:
        """See `Reload`."""
        from twisted.logger import Logger  # by now: a client with files that stay as they are has no use for it

        log = Logger()
        self._signature = self._signature_now()
        try:
            self._value = self._make()
        except ConfigError as error:
            log.error("{error}; {kept}", error=error, kept=self._kept)
        else:
            log.info("{line}", line=self._read(self._value))
