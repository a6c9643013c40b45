"""What signals do to the command.

An exception in a signal's place (KeyboardInterrupt) could be raised inside a Deferred and end up as its result, so
none is raised: `up` is asked to end its cluster, every other subcommand ends at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from pyshard.cli.exit_codes import Code, one_line


class Interrupt:
    """Takes SIGINT: a line on standard error, and exit code 130.

    :param message: gives the line.
    """

    def __init__(self, message: Callable[[], str] = lambda: "interrupted") -> None:
        self.message = message

    def __call__(self, number: int, frame: FrameType | None) -> None:
        clear = "\x1b[?25h\n" if sys.stderr.isatty() else ""  # a progress bar hides the cursor; ^C stands on the line
        os.write(2, f"{clear}{one_line(self.message())}\n".encode())
        os._exit(Code.INTERRUPTED)

    def install(self) -> None:
        """Take the signal, unless it is ignored."""
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


class EndSignals:
    """Takes SIGINT, SIGTERM and SIGHUP, which mean to `up` that it should end.

    :ivar came: whether one came already.
    :ivar on_signal: is called with each.
    """

    def __init__(self) -> None:
        self.came = False
        self.on_signal: Callable[[], object] = lambda: None

    def install(self) -> None:
        """Take the signals, whoever has them now; but not SIGHUP when it is ignored, as under nohup."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        self.on_signal()
