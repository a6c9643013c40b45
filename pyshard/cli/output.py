"""Writing what was asked for: to standard output, in UTF-8 whatever the locale."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from pyshard.cli.exits import Code, one_line


def put(line: str) -> None:
    """Write one line."""
    click.get_binary_stream("stdout").write(line.encode("utf-8") + b"\n")


def flush() -> None:
    """Have everything that was put written out."""
    click.get_binary_stream("stdout").flush()


def abandon() -> None:
    """Let go of a standard output that can't be written to, so that Python's own flush at the end is quiet."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class Interrupt:
    """What SIGINT does to every command but `up`: a line, and exit code 130, at once.

    An exception in the signal's place (KeyboardInterrupt) could be raised inside a Deferred, and end up as its result.

    :param message: gives the line.
    """

    def __init__(self, message: Callable[[], str] = lambda: "interrupted") -> None:
        self.message = message

    def __call__(self, number: int, frame: FrameType | None) -> None:
        shown_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides it
        os.write(2, f"{shown_cursor}\n{one_line(self.message())}\n".encode())
        os._exit(Code.INTERRUPTED)

    def install(self) -> None:
        """Take SIGINT, unless it is ignored."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self)


@contextmanager
def interrupt_says(message: Callable[[], str]) -> Iterator[None]:
    """While it lasts, an interrupt tells this."""
    handler = signal.getsignal(signal.SIGINT)
    if not isinstance(handler, Interrupt):
        yield
        return
    before, handler.message = handler.message, message
    try:
        yield
    finally:
        handler.message = before
