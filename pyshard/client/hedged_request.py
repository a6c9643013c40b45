"""A hedged request: the same call to several peers, of whom one answer is enough.

Any bootstrap and any shard has the map. To wait for one that is silent would cost the whole deadline, so each peer is
called a little after the one before it, in a staggered race.

Rules:

- The call changes nothing: several peers may carry it out.
- The first answer that is accepted ends the request; the other calls are withdrawn.
- A peer that only needs a moment (`NotConfigured`) is called again until the deadline.
- Without an answer the error says why, for each peer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from pyshard.client.rpc_channel import RpcChannel
from pyshard.client_core import map_fetching
from pyshard.client_core.combined_error import error_of_all
from pyshard.errors import NotConfigured, PyshardError, Unavailable
from pyshard.net.staggered_race import RaceLost, StaggeredRace
from pyshard.protocol.command_boxes import Command

_T = TypeVar("_T")


class HedgedRequest(Generic[_T]):
    """A request under way.

    :param clock: times everything.
    :param peers: whom to call, in this order; at least one.
    :param command: what to call; it changes nothing.
    :param accept: given a peer, its answer and when it was called, gives the result, or raises `PyshardError`.
    :param seconds: the deadline, from now.
    """

    def __init__(
        self,
        clock: IReactorTime,
        peers: Sequence[RpcChannel],
        command: type[Command],
        accept: Callable[[RpcChannel, dict[str, Any], float], _T],
        seconds: float,
    ) -> None:
        self._clock = clock
        self._peers = peers
        self._command = command
        self._accept = accept
        self._deadline = clock.seconds() + seconds

    def start(self) -> Deferred[_T]:
        """Call the first peer.

        :return: a Deferred of the result; it can be cancelled.
        :raises PyshardError: (in the Deferred) what all peers failed with, if that was the same error, else
            `Unavailable`.
        """
        race: StaggeredRace[RpcChannel, _T] = StaggeredRace(self._clock, self, self._peers, self._deadline)
        return race.start().addErrback(_explain)

    def attempt(self, candidate: RpcChannel) -> Deferred[_T]:
        """See `RaceOwner`."""
        return Deferred.fromCoroutine(self._call(candidate))

    def head_start(self, candidate: RpcChannel) -> float:
        """See `RaceOwner`."""
        return map_fetching.head_start(candidate.has_connection)

    async def _call(self, peer: RpcChannel) -> _T:
        while True:
            began = self._clock.seconds()
            try:
                answer = await peer.call(self._command, max(0.0, round(self._deadline - began, 2)))
                return self._accept(peer, answer, began)
            except NotConfigured:
                if self._clock.seconds() + map_fetching.ASK_AGAIN >= self._deadline:
                    raise
            await deferLater(self._clock, map_fetching.ASK_AGAIN)


def _explain(failure: Failure) -> Failure:
    """The one error that says why no peer gave an answer."""
    error = failure.value
    if not isinstance(error, RaceLost):
        return failure  # the request was cancelled
    return Failure(error_of_all([_public(lost) for lost in error.failures]))


def _public(failure: Failure) -> PyshardError:
    error = failure.value
    return error if isinstance(error, PyshardError) else Unavailable(failure.getErrorMessage())
