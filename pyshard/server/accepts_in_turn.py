"""Accepts connections in a turn of the reactor: a few, and for those that are closed at once others, for a short time.

The system keeps new connections in one queue, first come, first served. Behind those of one address that fill it
somebody else may wait, and to close one costs a tenth of what it costs to make one. So for those that were closed
others are accepted, and while all of them are closed, twice as many are looked at each time.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress, IReactorTime

from pyshard.server.connection_admission import origin_of

_MOST = 100  # connections that are accepted in one turn at the most, with those that are closed at once
_SECONDS = 0.0005  # of a turn, after which no more are accepted for those that were closed at once


class AcceptsInTurn:
    """Accepts the connections of one port.

    :param clock: the reactor.
    :param admits: whether an address may connect; if not, the connection is closed at once.
    :ivar closed: how many of these were closed.
    :ivar origins: the addresses of those that were accepted in this turn, also of those that were closed.
    """

    def __init__(self, clock: IReactorTime, admits: Callable[[str], bool]) -> None:
        self._clock = clock
        self._admits = admits
        self.origins: list[str] = []
        self.closed = 0
        self._closed = 0  # how many of those that were accepted just now were closed

    def run(self, accept: Callable[[int], None], few: int) -> float:
        """Accept some in a turn.

        :param accept: accepts at most so many, and asks `may_connect` of each.
        :param few: how many that aren't closed.
        :return: the seconds that it took.
        """
        began, self.origins, self.closed = self._clock.seconds(), [], 0
        seconds, wanted, left = 0.0, 0, few
        while left > 0:
            wanted, self._closed = wanted + left, 0
            accept(left)
            seconds = self._clock.seconds() - began
            if len(self.origins) < wanted or not 0 <= seconds < _SECONDS:  # nobody waits any more, or others do
                break
            left = min(2 * left if self._closed == left else self._closed, _MOST - wanted)
        return seconds

    def may_connect(self, peer: IAddress) -> bool:
        """Whether a connection from there isn't closed at once."""
        origin = origin_of(peer)
        self.origins.append(origin)
        admitted = self._admits(origin)
        self._closed += not admitted
        self.closed += not admitted
        return admitted
