"""Signals to the command: Ctrl-C ends it, and `up` ends its cluster first.

Rules:

- no signal raises an exception where there is a reactor: a KeyboardInterrupt could strike inside a Deferred and end up
  as its result;
- `up` is asked to end its cluster, and what runs a reactor cleans up (`pyshard.cli.deferred_call`). `shell` and `top`
  get a KeyboardInterrupt. Every other subcommand exits at once;
- signals that are ignored stay ignored, as under nohup or in the background.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from pyshard.cli.exit_codes import ExitCode, one_line


class ExitOnInterrupt:
    """Handles SIGINT: it writes a line on standard error and exits with code 130.

    :param message: gives the line.
    """

    def __init__(self, message: Callable[[], str] = lambda: "interrupted") -> None:
        self.message = message

    def __call__(self, number: int, frame: FrameType | None) -> None:
        on_terminal = sys.stderr is not None and sys.stderr.isatty()
        clear = "\x1b[?25h\n" if on_terminal else ""  # a progress bar hides the cursor; ^C stands on the line
        with suppress(OSError):
            os.write(2, f"{clear}{one_line(self.message())}\n".encode())
        os._exit(ExitCode.INTERRUPTED)

    def install(self) -> None:
        """Handle the signal, unless it is ignored."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self)


@contextmanager
def interrupt_says(message: Callable[[], str]) -> Iterator[None]:
    """Change the line of an interrupt while the context lasts.

    :param message: gives the line.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not isinstance(handler, ExitOnInterrupt):
        yield
        return
    before, handler.message = handler.message, message
    try:
        yield
    finally:
        handler.message = before


@contextmanager
def interrupt_raises() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt while the context lasts, for what cleans up after itself and has no reactor.

    A signal that is ignored stays ignored.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
    else:
        yield


class EndSignals:
    """Handles SIGINT, SIGTERM and SIGHUP, which ask `up` to end.

    :ivar received: whether a signal has arrived.
    :ivar on_signal: called at each signal.
    """

    def __init__(self) -> None:
        self.received = False
        self.on_signal: Callable[[], object] = lambda: None

    def install(self) -> None:
        """Handle the signals, whatever handles them now; but not SIGHUP when it is ignored, as under nohup."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        self.on_signal()
