"""A call of the Deferred client from a command: runs the reactor until its Deferred has fired.

Rules:

- an interrupt cancels what is under way, which cleans up after itself, and ends the command by KeyboardInterrupt;
- a second interrupt waits for nothing.
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
from pyshard.errors import ConfigError, OutcomeUnknown
from pyshard.net.open_files import allow_files
from pyshard.net.steady_clock import run_steadily
from pyshard.settings import settings

if TYPE_CHECKING:
    from twisted.internet.base import ReactorBase
    from twisted.internet.interfaces import IReactorTime

_T = TypeVar("_T")

#: Files that a command's process takes if it may, so that a backup can have a connection to each shard, and one more.
_FILES = 2 * settings.MAX_SHARDS

_CLEANING = 2.0  # seconds that may take what is interrupted


def call(target: Target, function: Callable[[Client], Deferred[_T]]) -> _T:
    """Call a function with a client of the cluster, and wait for its Deferred; once in a process.

    :return: what the Deferred fired with.
    :raises PyshardError: what it failed with, or why there is no connection.
    """
    with suppress(ConfigError):  # this client knows fewer kinds of addresses, and no files that the other doesn't
        target.new_client().close()

    allow_files(_FILES)

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
    working: list[Deferred[_T]] = []
    interrupted = False

    def ended(found: _T | Failure) -> None:
        outcome.append(found)
        reactor.callFromThread(reactor.stop)

    def begin() -> None:
        working.append(Deferred.fromCoroutine(work(reactor)))
        working[0].addBoth(ended)

    def leave() -> None:
        nonlocal interrupted
        if interrupted or not working:
            reactor.stop()
            return
        interrupted = True
        reactor.callLater(_CLEANING, reactor.stop)
        working[0].cancel()

    reactor.callWhenRunning(begin)
    before = signal.signal(signal.SIGINT, lambda *_: reactor.callFromThread(leave))
    try:
        reactor.run(installSignalHandlers=False)
    finally:
        signal.signal(signal.SIGINT, before)
    if not outcome:
        raise KeyboardInterrupt
    if isinstance(outcome[0], Failure):
        if interrupted:
            doubt = outcome[0].value if outcome[0].check(OutcomeUnknown) else None
            raise KeyboardInterrupt from doubt
        outcome[0].raiseException()
    return outcome[0]
