"""The Deferred client in a thread of its own, beside a program that has no reactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from functional.cluster import PATIENCE
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.python.failure import Failure

from pyshard import Client, connect

_T = TypeVar("_T")

_kept: list[EPollReactor] = []  # so that connections stay open until the process ends


def run_deferred(
    server: str, function: Callable[[Client], Deferred[_T]], *, deadline: float = PATIENCE, **how: Any
) -> _T:
    """Connect, call a function with the client, and wait for its Deferred, on a reactor of this call's own.

    :param how: to connect: arguments of `pyshard.connect`.
    """
    reactor = EPollReactor()
    _kept.append(reactor)
    reactor.startRunning(installSignalHandlers=False)
    outcome: list[_T | Failure] = []

    async def work() -> _T:
        client = await connect(reactor, server, deadline=deadline, **how)
        return await function(client)

    Deferred.fromCoroutine(work()).addBoth(outcome.append)
    while not outcome:
        reactor.iterate(0.05)
    reactor.getThreadPool().stop()  # which looks up names; its threads would keep this process from ending
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]
