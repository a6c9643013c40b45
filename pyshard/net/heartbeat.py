"""Whether a peer is still there: a sign of life, asked for with `Ping`.

Rules kept here: whatever is heard counts, the error of a peer that doesn't know the command included; what arrived
while this side's reactor didn't run, or its process was stopped, is read before it is judged.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from pyshard.net.connection import BoundedAMP
from pyshard.protocol import commands


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
