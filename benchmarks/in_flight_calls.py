"""Keeps many calls of a Deferred client in flight: a reactor in a thread of its own, and the loop that feeds it."""

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
    """The process's reactor (epoll, on Linux), run by a thread until the process ends.

    It sleeps while it has nothing to do, so blocking clients in other threads don't notice it.

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

    def write(self, client: Deferring, pairs: Sequence[tuple[str, Document]], width: int) -> Timed:
        """Store documents; `width` calls are in flight."""
        return self.call(lambda: write_in_flight(client, pairs, width))

    def read(self, client: Deferring, keys: Sequence[str], width: int) -> Timed:
        """Look documents up."""
        return self.call(lambda: read_in_flight(client, keys, width))


class _InFlightCalls:
    """Calls of one kind, a fixed number of them in flight: each answer makes the next call.

    :param issue: makes the call with a number.
    :param count: how many calls in all.
    :param value: takes the value out of an answer, as it arrives.
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
            self._issue_next()
        return self.done

    def _issue_next(self) -> None:
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
            self._issue_next()
        elif not self._left and not self.done.called:
            self.done.callback(None)

    def _failed(self, failure: Failure) -> None:
        if not self.done.called:
            self.done.errback(failure)


async def write_in_flight(client: Deferring, pairs: Sequence[tuple[str, Document]], width: int) -> Timed:
    """Store documents with single calls.

    :param width: how many are in flight.
    """
    write = client.write
    begin = time.perf_counter()
    await _InFlightCalls(lambda number: write(*pairs[number]), len(pairs), lambda _: None).start(width)
    return Timed(time.perf_counter() - begin, [])


async def read_in_flight(client: Deferring, keys: Sequence[str], width: int) -> Timed:
    """Look documents up with single calls.

    :param width: how many are in flight.
    """
    read = client.read
    begin = time.perf_counter()
    calls = _InFlightCalls(lambda number: read(keys[number]), len(keys), client.value)
    await calls.start(width)
    return Timed(time.perf_counter() - begin, calls.values)
