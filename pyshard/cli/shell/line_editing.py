"""Reads the lines of a terminal for `pyshard shell`: edited, completed and remembered by Python's readline.

Rule: a Python without readline reads plain lines, and says so once.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from pyshard.cli.shell.history_file import HistoryFile
from pyshard.cli.shell.line_words import BLANKS, typed, words_before
from pyshard.cli.standard_output import tell

#: Given the words before, and how the next one begins, gives the words that it may become.
Complete = Callable[[list[str], str], list[str]]


class Readline(Protocol):
    """What is used of the module `readline`."""

    def set_completer(self, function: Callable[[str, int], str | None] | None, /) -> None: ...
    def set_completer_delims(self, string: str, /) -> None: ...
    def set_auto_history(self, enabled: bool, /) -> None: ...
    def parse_and_bind(self, string: str, /) -> None: ...
    def add_history(self, string: str, /) -> None: ...
    def get_line_buffer(self) -> str: ...
    def get_begidx(self) -> int: ...
    def set_history_length(self, length: int, /) -> None: ...
    def read_history_file(self, filename: str, /) -> None: ...
    def append_history_file(self, nelements: int, filename: str, /) -> None: ...


class LineEditor:
    """Reads lines from the terminal.

    :param history: the file that remembers them; None: none.
    """

    def __init__(self, readline: Readline | None, complete: Complete, history: Path | None) -> None:
        self._readline = readline
        self._complete = complete
        self._offered: list[str] = []
        self._history: HistoryFile | None = None
        if readline is None:
            tell("this Python has no readline: lines are neither completed nor remembered")
            return
        readline.set_completer_delims(BLANKS)
        readline.set_completer(self.offer)
        readline.parse_and_bind("tab: complete")
        readline.set_auto_history(False)
        if history is not None:
            self._history = HistoryFile(readline, history)

    def read(self, prompt: str) -> str:
        """The next line.

        :raises EOFError: there is none any more.
        :raises KeyboardInterrupt: it was cancelled.
        """
        line = input(prompt)
        if self._readline is not None and line.strip():
            self._readline.add_history(line)
            if self._history is not None:
                self._history.add()
        return line

    def offer(self, start: str, number: int) -> str | None:
        """What the word under the cursor may become, as readline asks for it: one after the other."""
        if number == 0:
            self._offered = self._words(start)
        return self._offered[number] if number < len(self._offered) else None

    def _words(self, start: str) -> list[str]:
        assert self._readline is not None
        before = words_before(self._readline.get_line_buffer(), self._readline.get_begidx())
        if before is None:
            return []
        found = [typed(word) for word in self._complete(before, start.removeprefix("'"))]
        return [f"{found[0]} "] if len(found) == 1 and not found[0].endswith("/") else found


def system_readline() -> Readline | None:
    """The module `readline`; None: this Python has none."""
    try:
        return cast("Readline", import_module("readline"))
    except ImportError:
        return None
