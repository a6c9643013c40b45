"""Heartbeats of a dialed connection: is the peer still there, although nothing was heard of it?

A peer can be gone without a word: a machine that lost its power, a firewall that dropped the connection. TCP tells
after many minutes at best. So a connection that was silent for `settings.HEARTBEAT` seconds is pinged, and is given up
when nothing at all is heard within `settings.TIMEOUT` seconds.

Rules:

- Whatever is heard is a sign of life: any answer, the error of a peer that doesn't know `Ping` included.
- What arrived while this process was stopped, or its reactor was busy, is read before the connection is judged.
- One ping at a time.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.settings import settings

_ROUNDING = 0.001  # seconds; rounding may leave less than this of a time to wait, again and again


class HeartbeatOwner(Protocol):
    """Who is told what became of a ping."""

    def peer_alive(self) -> None:
        """There was a sign of life."""
        ...

    def peer_silent(self, seconds: float) -> None:
        """There was none within so many seconds, or the connection was lost meanwhile."""
        ...


class Heartbeat:
    """Watches one connection, from now until `stop`.

    :param connection: which.
    :param clock: times the silence.
    :param owner: is told what became of each ping.
    """

    def __init__(self, connection: BoundedAMP, clock: IReactorTime, owner: HeartbeatOwner) -> None:
        self._connection = connection
        self._clock = clock
        self._owner = owner
        self._pinging = False
        self._stopped = False
        self._next_check: IDelayedCall = clock.callLater(settings.HEARTBEAT, self._check)

    @property
    def fresh(self) -> bool:
        """Whether something was heard so lately that the connection can be used without a ping."""
        return self._silence() < settings.HEARTBEAT

    def ping(self) -> None:
        """Ask for a sign of life, unless that is under way; the owner is told."""
        if not self._pinging:
            self._pinging = True
            sign_of_life(self._connection, self._clock, settings.TIMEOUT).addCallback(self._pinged)

    def stop(self) -> None:
        """Watch no longer; the owner is told nothing any more."""
        self._stopped = True
        if self._next_check.active():
            self._next_check.cancel()

    def _silence(self) -> float:
        """Seconds since anything was heard."""
        return self._clock.seconds() - self._connection.heard

    def _check(self) -> None:
        left = settings.HEARTBEAT - self._silence()
        if left <= 0:
            self.ping()
            left = settings.HEARTBEAT
        if self._stopped:  # the ping failed at once
            return
        self._next_check = self._clock.callLater(max(left, _ROUNDING), self._check)

    def _pinged(self, alive: bool) -> None:
        self._pinging = False
        if self._stopped:
            return
        if alive:
            self._owner.peer_alive()
        else:
            self._owner.peer_silent(settings.TIMEOUT)


def sign_of_life(connection: BoundedAMP, clock: IReactorTime, seconds: float) -> Deferred[bool]:
    """Ask a peer for a sign of life.

    :param seconds: the time that it has.
    :return: a Deferred of whether anything was heard from it since; False also when the connection was lost.
    """
    heard = connection.heard
    found: Deferred[bool] = Deferred()

    def decide(alive: bool) -> None:
        if not found.called:
            found.callback(alive)

    def over() -> None:
        # In the next turn, when what has come meanwhile has been read.
        clock.callLater(0, lambda: decide(connection.transport is not None and connection.heard != heard))

    timer = clock.callLater(seconds, over)

    def answered(_: object) -> None:
        if timer.active():
            timer.cancel()
        decide(connection.transport is not None)

    connection.call_directly(commands.Ping.commandName, {}).addBoth(answered)
    return found
