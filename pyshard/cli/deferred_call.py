"""A call of the Deferred client from a command: runs the reactor until its Deferred has fired.

Rule: an interrupt ends the command as it does elsewhere, by KeyboardInterrupt.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.client import Client, connect
from pyshard.net.client_endpoints import Servers
from pyshard.net.steady_clock import run_steadily
from pyshard.security.tls import Tls

if TYPE_CHECKING:
    from twisted.internet.base import ReactorBase

_T = TypeVar("_T")


def call(
    server: Servers | None,
    deadline: float,
    token_file: str | None,
    tls: Tls | None,
    addresses: Mapping[str, str] | None,
    function: Callable[[Client], Deferred[_T]],
) -> _T:
    """Connect, call a function with the client, and wait for its Deferred; once in a process.

    :return: what the Deferred fired with.
    :raises PyshardError: what it failed with, or why there is no connection.
    """
    from twisted.internet import reactor as given

    reactor = cast("ReactorBase", given)
    run_steadily(reactor)
    outcome: list[_T | Failure] = []

    async def work() -> _T:
        client = await connect(reactor, server, deadline=deadline, token_file=token_file, tls=tls, addresses=addresses)
        try:
            return await function(client)
        finally:
            await client.close()

    def ended(found: _T | Failure) -> None:
        outcome.append(found)
        stop()

    def stop() -> None:
        reactor.callFromThread(reactor.stop)

    def begin() -> None:
        Deferred.fromCoroutine(work()).addBoth(ended)

    reactor.callWhenRunning(begin)
    before = signal.signal(signal.SIGINT, lambda *_: stop())
    try:
        reactor.run(installSignalHandlers=False)
    finally:
        signal.signal(signal.SIGINT, before)
    if not outcome:
        raise KeyboardInterrupt
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]
