"""A call of the Deferred client from a command: runs the reactor until its Deferred has fired.

Rule: an interrupt ends the command as it does elsewhere, by KeyboardInterrupt.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.cli.common_options import Target
from pyshard.client import Client, connect
from pyshard.errors import ConfigError
from pyshard.net.steady_clock import run_steadily

if TYPE_CHECKING:
    from twisted.internet.base import ReactorBase
    from twisted.internet.interfaces import IReactorTime

_T = TypeVar("_T")


def call(target: Target, function: Callable[[Client], Deferred[_T]]) -> _T:
    """Call a function with a client of the cluster, and wait for its Deferred; once in a process.

    :return: what the Deferred fired with.
    :raises PyshardError: what it failed with, or why there is no connection.
    """
    with suppress(ConfigError):  # this client knows fewer kinds of addresses, and no files that the other doesn't
        target.connect().close()

    async def work(reactor: IReactorTime) -> _T:
        client = await connect(
            reactor,
            target.bootstrap,
            deadline=target.deadline,
            token_file=target.token_file,
            tls=target.tls,
            addresses=target.addresses,
        )
        try:
            return await function(client)
        finally:
            await client.close()

    return run(work)


def run(work: Callable[[IReactorTime], Coroutine[Deferred[Any], Any, _T]]) -> _T:
    """Run the reactor until a coroutine has ended; once in a process.

    :return: what the coroutine returned.
    :raises KeyboardInterrupt: there was an interrupt before.
    """
    from twisted.internet import reactor as given

    reactor = cast("ReactorBase", given)
    run_steadily(reactor)
    outcome: list[_T | Failure] = []

    def ended(found: _T | Failure) -> None:
        outcome.append(found)
        stop()

    def stop() -> None:
        reactor.callFromThread(reactor.stop)

    def begin() -> None:
        Deferred.fromCoroutine(work(reactor)).addBoth(ended)

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
