"""Writing what was asked for: to standard output, in UTF-8 whatever the locale."""

from __future__ import annotations

import errno
import os
import sys
from typing import BinaryIO

from rich.console import Console, RenderableType

_WIDE = 200  # columns, where the output is no terminal


def _stdout() -> BinaryIO:
    if sys.stdout is None:  # the command was started without one
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
    return sys.stdout.buffer


def put(line: str) -> None:
    """Write one line."""
    _stdout().write(line.encode("utf-8") + b"\n")


def show(*things: RenderableType) -> None:
    """Write tables and the like, as wide as the terminal."""
    console = Console(
        highlight=False, markup=False, width=None if sys.stdout is not None and sys.stdout.isatty() else _WIDE
    )
    with console.capture() as text:
        console.print(*things, sep="\n")
    put(text.get().rstrip("\n"))


def flush() -> None:
    """Have everything that was written go out."""
    if sys.stdout is not None:
        sys.stdout.buffer.flush()


def abandon() -> None:
    """Let go of a standard output that can't be written to, so that Python's own flush at the end is quiet."""
    if sys.stdout is None:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
