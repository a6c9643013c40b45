"""Notices that the primary of a shard is silent, though it owes answers: another replica may lead by now.

A machine that is frozen, or behind a cut network, closes no connection. So without this a client would find the next
primary when its own deadline is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.model.shard_map import MapShard
from pyshard.net.backoff import longest_between_looks
from pyshard.net.reconnecting_dialer import Dialer

#: Times a lease for which a primary may be silent: then another one leads, if this one doesn't.
SILENT = 1.5


class WaitingLink(Protocol):
    """What the alarm needs to know of a link to a shard."""

    own: MapShard
    dialer: Dialer

    def wants_connection(self) -> bool:
        """Whether something waits for the shard."""
        ...


class SilentPrimaryAlarm:
    """Goes off again and again, as long as something waits and nothing comes. Without replicas it never does.

    It is first patient, and then goes off as often as a lost primary is dialed.

    :param clock: times it.
    :param link: to the shard.
    :param alarm: called then.
    """

    def __init__(self, clock: IReactorTime, link: WaitingLink, alarm: Callable[[], object]) -> None:
        self._clock = clock
        self._link = link
        self._alarm = alarm
        self._call: IDelayedCall | None = None

    def begin(self) -> None:
        """Something waits now."""
        lease = self._link.own.lease
        if lease is not None:
            self._begin(SILENT * lease, SILENT * lease)

    def stop(self) -> None:
        """Be quiet."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _begin(self, seconds: float, longest: float) -> None:
        if self._call is None:
            self._call = self._clock.callLater(seconds, self._look, longest)

    def _look(self, longest: float) -> None:
        self._call = None
        lease = self._link.own.lease
        if lease is not None and self._link.wants_connection():
            connection = self._link.dialer.connection
            if connection is None or self._clock.seconds() - connection.heard >= longest:
                self._alarm()
                self._begin(longest_between_looks(lease), longest)  # the next primary may be there soon
            else:
                self.begin()
