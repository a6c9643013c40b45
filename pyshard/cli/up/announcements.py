"""What `up` tells on standard output while its cluster runs: lines for people, or JSON objects for programs.

Rules:

- the cluster runs on when nobody reads them;
- each object is one line, with the fields that a daemon's lines have (docs/services.md).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from rich.panel import Panel
from rich.text import Text
from twisted.logger import LogEvent, LogLevel

from pyshard.cli.rich_output import show
from pyshard.cli.standard_output import flush, put, put_lines
from pyshard.server.log_lines import json_line

_NAMESPACE = "pyshard.cli.up"


class IAnnouncements(Protocol):
    """What hears of a run: the user's terminal, or a program that gathers logs."""

    def tell(self, line: str) -> None:
        """Something happened; in one line for the user."""
        ...

    def warn(self, line: str) -> None:
        """Something happened that the user should look into; in one line."""
        ...

    def cluster_ready(self) -> None:
        """Every shard is ready."""
        ...


class TextAnnouncements:
    """Lines for people, and a panel when the cluster is ready.

    :param how_to_use: what the panel shows.
    :param fate: what becomes of the cluster's documents, below it.
    """

    def __init__(self, how_to_use: Text, fate: str) -> None:
        self._how_to_use = how_to_use
        self._fate = fate

    def tell(self, line: str) -> None:
        """Print a line at once."""
        with suppress(OSError):
            put(line)
            flush()

    def warn(self, line: str) -> None:
        """Print a line at once, as `tell` does."""
        self.tell(line)

    def cluster_ready(self) -> None:
        """Say how the cluster is used."""
        with suppress(OSError):
            show(Panel(self._how_to_use, title="The cluster is ready", expand=False))
        self.tell(f"{self._fate} Ctrl-C ends the cluster.")


class JsonAnnouncements:
    """JSON objects, one a line.

    :param bootstrap: the address at which this machine reaches the bootstrap.
    :param shards: how many the cluster has.
    :param fate: what becomes of the cluster's documents.
    :param clock: gives the time, in seconds since 1970.
    """

    def __init__(self, bootstrap: str, shards: int, fate: str, clock: Callable[[], float]) -> None:
        self._bootstrap = bootstrap
        self._shards = shards
        self._fate = fate
        self._clock = clock

    def tell(self, line: str) -> None:
        """Write an object of the level ``info`` at once."""
        self._write({"log_level": LogLevel.info, "log_text": line})

    def warn(self, line: str) -> None:
        """Write an object of the level ``warn`` at once."""
        self._write({"log_level": LogLevel.warn, "log_text": line})

    def cluster_ready(self) -> None:
        """Write where the cluster is found, and what becomes of its documents."""
        line = f"The cluster is ready. {self._fate}"
        found = {"bootstrap": self._bootstrap, "shards": self._shards}
        self._write({"log_level": LogLevel.info, "log_text": line, **found})

    def _write(self, event: LogEvent) -> None:
        """Write an object.

        :param event: its level and text, and further fields.
        """
        made = {"log_time": self._clock(), "log_namespace": _NAMESPACE, "log_format": "{log_text}", **event}
        line = json_line(made, {})
        assert line is not None, "it has a text"
        with suppress(OSError):
            put_lines(line.encode("ascii"))
            flush()
