"""The file with the lines that were typed into `pyshard shell`: $XDG_STATE_HOME/pyshard/history.

Rules:

- nobody but its owner reads it, since keys and documents may stand in it: a new file has mode 0600, and one that others
  can read is taken from them;
- a line is in it at once, so that a shell that is killed keeps its history;
- a file that can't be used is said in one line, and the shell goes on without.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pyshard.cli.standard_output import tell
from pyshard.security.private_files import make_private_directory, private_descriptor

if TYPE_CHECKING:
    from pyshard.cli.shell.line_editing import Readline

_LINES = 1000  # that are kept
_OTHERS = 0o077


def history_path(environment: Mapping[str, str]) -> Path | None:
    """Where the history is; None: nowhere, since there is no home directory, which is said."""
    state = environment.get("XDG_STATE_HOME", "")
    try:
        folder = Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()
    except RuntimeError:  # neither HOME nor the system's list of users has one
        tell("there is no home directory for the history; set HOME or XDG_STATE_HOME, or use --no-history to have none")
        return None
    return folder / "pyshard" / "history"


class HistoryFile:
    """The history, in a file.

    :param path: the file; it is made when there is none.
    """

    def __init__(self, readline: Readline, path: Path) -> None:
        self._readline = readline
        self._path: Path | None = path
        self._try(self._open)

    def add(self) -> None:
        """Write the line that was typed last."""
        self._try(self._append)

    def _open(self) -> None:
        assert self._path is not None
        make_private_directory(self._path.parent)
        descriptor = private_descriptor(self._path, os.O_RDWR)
        try:
            if os.fstat(descriptor).st_mode & _OTHERS:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        self._readline.set_history_length(_LINES)
        self._readline.read_history_file(str(self._path))

    def _append(self) -> None:
        if self._path is not None:
            self._readline.append_history_file(1, str(self._path))

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            why = error.strerror or str(error)
            tell(f"{self._path}: the history can't be kept there: {why}; use --no-history to have none")
            self._path = None
