"""Standard output and standard error of the command: in UTF-8 whatever the locale.

Rules:

- a line for people has printable characters alone, whoever worded a part of it: escapes stand for all others (`put`,
  and of what rich draws `pyshard.cli.rich_output`);
- what users keep, keys and documents, stands as it is (`put_as_it_is`), but on a terminal: whoever may write a key
  would command it;
- a result that can't be written is a failure; a line on standard error that can't be written is dropped, so that it
  doesn't change the exit code;
- a stream that the command was started without is held by /dev/null: else a connection would get its number, and what
  is written there.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable
from typing import BinaryIO, TextIO

import click

from pyshard.cli.exit_codes import one_line
from pyshard.message_texts import escaped

_STDERR = 2


def _stdout() -> BinaryIO:
    if sys.stdout is None:  # the command was started without one
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
    return sys.stdout.buffer


def hold_streams() -> None:
    """Open /dev/null for each standard stream that the command was started without."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(number, True)
    os.close(number)


def tell(message: str) -> None:
    """Write one line on standard error, ``pyshard: …``, if anybody reads it."""
    try:
        click.echo(one_line(message), err=True)
    except OSError:
        _to_nowhere(sys.stderr)


def tell_lines(lines: Iterable[str]) -> None:
    """Write lines for people on standard error."""
    click.echo("\n".join(map(escaped, lines)), err=True)


def is_terminal() -> bool:
    """Whether somebody reads standard output on a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def put(line: str) -> None:
    """Write one line for people, or of JSON that has no other characters than printable ones."""
    _write(escaped(line))


def put_all(lines: Iterable[str], paint: Callable[[str], str] = str) -> None:
    """Write many such lines at once.

    :param paint: colors a line, once nothing in it commands a terminal.
    """
    if shown := [paint(escaped(line)) for line in lines]:
        _write("\n".join(shown))


def put_as_it_is(text: str) -> None:
    """Write keys or documents, and the end of their line; to a terminal as printable characters."""
    put_lines_as_they_are(text.encode("utf-8") + b"\n")


def put_lines_as_they_are(lines: bytes) -> None:
    """Write lines of keys or documents that have their ends; to a terminal as printable characters."""
    if is_terminal():
        lines = "\n".join(map(escaped, lines.decode("utf-8").split("\n"))).encode("utf-8")
    put_lines(lines)


def put_lines(lines: bytes) -> None:
    """Write lines of this command's own that have their ends."""
    _stdout().write(lines)


def put_bytes(content: bytes) -> None:
    """Write bytes as they are; to a terminal, which could take some of them for commands, in hexadecimal."""
    if is_terminal():
        put(content.hex(" "))
    else:
        _stdout().write(content)


def _write(text: str) -> None:
    """Write printable characters, colors among them, and the end of their line."""
    _stdout().write(text.encode("utf-8") + b"\n")


def document_count(count: int) -> str:
    """``1 document``, ``2 documents``."""
    return f"{count} document{'' if count == 1 else 's'}"


def flush() -> None:
    """Flush everything that was written."""
    if sys.stdout is not None:
        sys.stdout.buffer.flush()


def abandon() -> None:
    """Replace a standard output that can't be written to, so that Python's own flush at exit is quiet."""
    if sys.stdout is not None:
        _to_nowhere(sys.stdout)


def _to_nowhere(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
