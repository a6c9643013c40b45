"""The progress bar of long subcommands, for whoever has a terminal: nobody else waits for rich to be loaded."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn


def progress_bar(text: str) -> Progress:
    """A bar on standard error, gone when it ends.

    :param text: in front of it, as `TextColumn` takes it.
    """
    columns = (TextColumn(text), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
