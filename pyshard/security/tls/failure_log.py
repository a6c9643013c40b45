"""What a daemon's log says of handshakes that fail: each peer and reason once in a while, not once an attempt."""

from __future__ import annotations

from twisted.logger import Logger

#: Seconds for which the same failure of the same peer isn't told again.
QUIET = 60.0

_MOST = 1000  # peers and reasons that are remembered


class FailedHandshakes:
    """Tells of failed handshakes."""

    _log = Logger()

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], tuple[float, int]] = {}  # when it was told, and how often it came since

    def tell(self, now: float, name: str, peer: str, why: str) -> None:
        """Log a failure, or count it.

        :param now: in seconds.
        :param name: the connection's.
        :param peer: its address, the port last.
        """
        host = peer.rpartition(":")[0]
        at, more = self._told.get((host, why), (now - QUIET, 0))
        if now - at < QUIET:
            self._told[host, why] = at, more + 1
            return
        if len(self._told) >= _MOST:
            self._told.clear()
        self._told[host, why] = now, 0
        again = f" ({more} times more since it was told last)" if more else ""
        self._log.warn("connection {id} from {peer}: no TLS: {why}{again}", id=name, peer=peer, why=why, again=again)
