"""A daemon's log of failed handshakes: a peer that tries again and again gets one line a minute, with a count."""

from __future__ import annotations

from twisted.logger import Logger

#: Seconds for which the same failure of the same peer isn't logged again.
QUIET = 60.0

_MAX_REMEMBERED = 1000  # peers with their reasons: strangers must not fill the memory


class HandshakeFailureLog:
    """Logs failed handshakes, each peer and reason once in a while.

    :param log: where to.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        # (host, reason) → when it was logged, and how often it came since
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}

    def add(self, now: float, name: str, peer: str, why: str) -> None:
        """Log a failure, or count it.

        :param now: the time, in seconds.
        :param name: the connection's id.
        :param peer: the peer's address, with the port last.
        :param why: the reason.
        """
        host = peer.rpartition(":")[0]
        at, more = self._logged.get((host, why), (now - QUIET, 0))
        if now - at < QUIET:
            self._logged[host, why] = at, more + 1
            return
        if len(self._logged) >= _MAX_REMEMBERED:
            self._logged.clear()
        self._logged[host, why] = now, 0
        again = f" ({more} times more since it was told last)" if more else ""
        self._log.warn(
            "connection {connection} from {peer}: no TLS: {why}{again}",
            connection=name,
            peer=peer,
            why=why,
            again=again,
        )
