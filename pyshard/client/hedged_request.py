"""One question to several peers, of whom one answer is enough: each is asked a little after the one before it.

Rules kept here: the first answer that is taken ends the search, and what the others were asked is withdrawn; a peer
that fails makes room for the next at once; one that only needs a moment is asked again; without an answer the error
says of every peer why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from pyshard.client.rpc import Asking
from pyshard.errors import ClientClosed, NotConfigured, PyshardError, Unavailable
from pyshard.protocol.commands import Command

_T = TypeVar("_T")

_CONNECTED = 1.0  # seconds that a peer has to answer, where there is a connection, before the next is asked, too
_DIALED = 0.1  # where there is none
_AGAIN = 0.1  # seconds until a peer is asked again that isn't configured


class Search(Generic[_T]):
    """A search under way.

    :param clock: times everything.
    :param peers: whom to ask, in this order; one at the least.
    :param command: what to ask; it changes nothing.
    :param take: given a peer, its answer and when it was asked, gives what is searched, or raises `PyshardError`.
    :param seconds: the deadline.
    """

    def __init__(
        self,
        clock: IReactorTime,
        peers: Sequence[Asking],
        command: type[Command],
        take: Callable[[Asking, dict[str, Any], float], _T],
        seconds: float,
    ) -> None:
        self._clock = clock
        self._left = list(peers)
        self._command = command
        self._take = take
        self._end = clock.seconds() + seconds
        self._open: list[Deferred[None]] = []
        self._turn: IDelayedCall | None = None  # the next peer's
        self._retries: list[IDelayedCall] = []
        self._errors: list[PyshardError] = []
        self._found: Deferred[_T] = Deferred(lambda _: self._stop())

    def begin(self) -> Deferred[_T]:
        """Ask.

        :return: a Deferred of what is searched; it can be cancelled.
        :raises PyshardError: (in the Deferred) what all peers failed with, if that was the same error, else
            `Unavailable`.
        """
        self._next()
        return self._found

    def _next(self) -> None:
        if self._turn is not None and self._turn.active():
            self._turn.cancel()
        peer = self._left.pop(0)
        if self._left:
            self._turn = self._clock.callLater(_CONNECTED if peer.connected else _DIALED, self._next)
        self._ask(peer)

    def _ask(self, peer: Asking) -> None:
        began = self._clock.seconds()
        asked = peer.ask(self._command, max(0.0, round(self._end - began, 2)))
        asked.addCallback(lambda answer: self._take(peer, answer, began))
        self._open.append(asked)
        asked.addCallbacks(self._succeeded, self._failed, errbackArgs=(peer, asked))

    def _succeeded(self, found: _T) -> None:
        if not self._found.called:
            self._stop()
            self._found.callback(found)

    def _failed(self, failure: Failure, peer: Asking, asked: Deferred[None]) -> None:
        if self._found.called or asked not in self._open:
            return  # it was withdrawn
        self._open.remove(asked)
        error = failure.value
        if isinstance(error, NotConfigured) and self._clock.seconds() + _AGAIN < self._end:
            self._retries = [retry for retry in self._retries if retry.active()]
            self._retries.append(self._clock.callLater(_AGAIN, self._ask, peer))
            return
        self._errors.append(error if isinstance(error, PyshardError) else Unavailable(failure.getErrorMessage()))
        if self._left and self._clock.seconds() < self._end:
            self._next()
        elif not self._open and not any(retry.active() for retry in self._retries):
            self._stop()
            self._found.errback(self._error())

    def _error(self) -> PyshardError:
        kinds = {type(error) for error in self._errors}
        if len(self._errors) == 1 or kinds == {ClientClosed}:
            return self._errors[0]
        kind = kinds.pop() if len(kinds) == 1 else Unavailable
        return kind("; ".join(str(error) for error in self._errors))

    def _stop(self) -> None:
        """Withdraw everything."""
        asked, self._open = self._open, []
        for timer in (self._turn, *self._retries):
            if timer is not None and timer.active():
                timer.cancel()
        for one in asked:
            if not one.called:
                one.cancel()
