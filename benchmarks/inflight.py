"""Many calls in flight: a reactor in a thread of its own, and the loop that keeps it busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from peers.interface import Deferring, Timed
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread
from twisted.python.failure import Failure

from pyshard import Document

_T = TypeVar("_T")


class ReactorThread:
    """The process's reactor (epoll, on Linux), run by a thread until the process ends. Clients in other threads, and
    their private reactors, don't notice it: while it has nothing to do, it sleeps.

    :ivar reactor: the reactor.
    """

    def __init__(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        threading.Thread(target=self._run, name="reactor", daemon=True).start()

    def _run(self) -> None:
        self.reactor.run(installSignalHandlers=False)

    def call(self, function: Callable[[], Coroutine[Deferred[Any], Any, _T]]) -> _T:
        """Call a coroutine in the reactor's thread, and wait for its end."""

        def start() -> Any:
            return Deferred.fromCoroutine(function())

        found: _T = blockingCallFromThread(self.reactor, start)
        return found


class _Flight:
    """Calls of one kind, so many of them in flight: when one is answered, the next is made.

    :param value: what is kept of an answer, taken out of it as it comes.
    """

    def __init__(
        self, issue: Callable[[int], Deferred[object]], count: int, value: Callable[[object], Document | None]
    ) -> None:
        self._issue = issue
        self._value = value
        self._count = count
        self._next = 0
        self._left = count
        self.values: list[Document | None] = [None] * count
        self.done: Deferred[None] = Deferred()

    def start(self, width: int) -> Deferred[None]:
        for _ in range(min(width, self._count)):
            self._one()
        return self.done

    def _one(self) -> None:
        number = self._next
        self._next = number + 1
        self._issue(number).addCallbacks(self._answered, self._failed, callbackArgs=(number,))

    def _answered(self, answer: object, number: int) -> None:
        try:
            self.values[number] = self._value(answer)
        except Exception:  # noqa: BLE001  # whatever it is, it ends the loop
            self._failed(Failure())
            return
        self._left -= 1
        if self._next < self._count:
            self._one()
        elif not self._left and not self.done.called:
            self.done.callback(None)

    def _failed(self, failure: Failure) -> None:
        if not self.done.called:
            self.done.errback(failure)


async def write_in_flight(client: Deferring, pairs: Sequence[tuple[str, Document]], width: int) -> Timed:
    """Store documents with single calls, so many of them in flight."""
    write = client.write
    begin = time.perf_counter()
    await _Flight(lambda number: write(*pairs[number]), len(pairs), lambda _: None).start(width)
    return Timed(time.perf_counter() - begin, [])


async def read_in_flight(client: Deferring, keys: Sequence[str], width: int) -> Timed:
    """Look documents up with single calls, so many of them in flight."""
    read = client.read
    begin = time.perf_counter()
    flight = _Flight(lambda number: read(keys[number]), len(keys), client.value)
    await flight.start(width)
    return Timed(time.perf_counter() - begin, flight.values)
