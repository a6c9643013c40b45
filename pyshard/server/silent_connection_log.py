"""A daemon's log of connections that closed without having sent a byte: health checks, which come every second.

Rule: such a connection costs no line of its own. All together have one line an hour, with their number.
"""

from __future__ import annotations

from twisted.logger import Logger

#: Seconds between two lines.
QUIET = 3600.0


class SilentConnectionLog:
    """Counts connections that closed without having sent a byte.

    :ivar count: how many there were since the last line.
    """

    _log = Logger()

    def __init__(self) -> None:
        self._told: float | None = None
        self.count = 0

    def add(self, now: float, peer: str) -> None:
        """Count one.

        :param now: the time, in seconds.
        :param peer: the peer's address.
        """
        self.count += 1
        if self._told is not None and now - self._told < QUIET:
            return
        since = "" if self._told is None else f" in {(now - self._told) / 60:.0f} minutes"
        self._log.info(
            "connections closed without having sent a byte, as health checks do: {count:,}{since}; "
            "the last from {peer}",
            count=self.count,
            since=since,
            peer=peer,
        )
        self._told, self.count = now, 0
