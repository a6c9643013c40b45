"""Daemons that can't be reached: the command says so soon, and goes on trying until its deadline.

Rule: it is said when a daemon can't be reached for `_SOON`. Until then another address may have answered, or the daemon
be back.
"""

from __future__ import annotations

from collections.abc import Callable

from pyshard.cli.standard_output import tell
from pyshard.clocks import steady_seconds

_SOON = 0.2  # seconds


class UnreachedDaemons:
    """Says which daemons can't be reached, each once.

    :param deadline: seconds for which the command tries.
    :param seconds: the clock.
    """

    def __init__(self, deadline: float, seconds: Callable[[], float] = steady_seconds) -> None:
        self._deadline = deadline
        self._seconds = seconds
        self._since: dict[str, float] = {}
        self._told: set[str] = set()

    def add(self, name: str, why: str) -> None:
        """One can't be reached.

        :param name: which, as messages call it.
        :param why: in one line.
        """
        now = self._seconds()
        if name not in self._told and now - self._since.setdefault(name, now) >= _SOON:
            self._told.add(name)
            tell(f"{name}: {why}; trying for {self._deadline:g} s")
