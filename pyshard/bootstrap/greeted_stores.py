"""Takes up the stores that have greeted: all that wait, with one change of the cluster's state.

Each store that the state doesn't know yet is a change of it, which is saved, and told to every shard. When a cluster of
thousands of shards starts, a change for each of them would be millions of pushes.

Rules:

- the first one to come is taken up at once. Those that come while a change is made are taken up with the next one;
- while shards wait to be told the last state, the next change waits, too, but for no longer than a moment;
- one that can't be taken up keeps no other one out: it is judged again by itself, by the state that is there then. So
  is each when nobody could read the state that they would make together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from pyshard.bootstrap.state_changes import Change
from pyshard.errors import BadRequest, PyshardError
from pyshard.model.cluster_state import ClusterState

_MOST = 100  # stores of one change: each takes a part of a millisecond in a large cluster
_MOMENT = 0.25  # seconds that a change waits for shards that are told


class _Greeted(NamedTuple):
    """A store that waits to be taken up."""

    decide: Change
    done: Deferred[None]


class GreetedStores:
    """Takes up stores.

    :param change: changes the state; see `Bootstrap.change`.
    :param busy: whether shards wait to be told the state.
    :param clock: times changes.
    """

    def __init__(
        self, change: Callable[[Change], Deferred[None]], busy: Callable[[], bool], clock: IReactorTime
    ) -> None:
        self._change = change
        self._busy = busy
        self._clock = clock
        self._waiting: list[_Greeted] = []
        self._changing = False
        self._next: IDelayedCall | None = None  # when the next change is made, if it waits for that
        self._changed = -_MOMENT  # when the last change was made

    def take_up(self, decide: Change) -> Deferred[None]:
        """Take up one store.

        :param decide: gives the state with it.
        :return: a Deferred that fires when the state has it; fails as that of `Bootstrap.change`.
        """
        done: Deferred[None] = Deferred(self._give_up)
        self._waiting.append(_Greeted(decide, done))
        self._go_on()
        return done

    def go_on(self) -> None:
        """No shard waits any more to be told the state."""
        if self._next is not None:
            self._next.cancel()
            self._waited()

    # ------------------------------------------------------------------ inside

    def _give_up(self, done: Deferred[None]) -> None:
        """Nobody waits for this one any more."""
        self._waiting = [greeted for greeted in self._waiting if greeted.done is not done]
        if not self._waiting and self._next is not None:
            self._next.cancel()
            self._next = None

    def _go_on(self) -> None:
        if self._changing or self._next is not None or not self._waiting:
            return
        rest = self._changed + _MOMENT - self._clock.seconds()
        if rest > 0 and self._busy():
            self._next = self._clock.callLater(rest, self._waited)
            return
        self._changing = True
        taken, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        Deferred.fromCoroutine(self._take_up(taken)).addBoth(self._over)

    def _waited(self) -> None:
        self._next = None
        self._go_on()

    def _over(self, outcome: object) -> object:
        self._changing = False
        self._changed = self._clock.seconds()
        self._go_on()
        return outcome

    async def _take_up(self, taken: list[_Greeted]) -> None:
        refused: list[_Greeted] = []

        def decide(state: ClusterState) -> ClusterState:
            refused.clear()  # it may be asked again
            for greeted in taken:
                try:
                    state = greeted.decide(state)
                except PyshardError:
                    refused.append(greeted)
            return state

        if len(taken) > 1:
            try:
                await self._change(decide)
            except BadRequest:
                refused = taken
            except Exception:  # noqa: BLE001  # whatever it is, all of them hear it
                failure = Failure()
                for greeted in taken:
                    _tell(failure, greeted.done)
                return
            for greeted in taken:
                if greeted not in refused:
                    _tell(None, greeted.done)
        else:
            refused = taken
        await gatherResults([self._change(greeted.decide).addBoth(_tell, greeted.done) for greeted in refused])


def _tell(outcome: Failure | None, done: Deferred[None]) -> None:
    """Tell who waits, if anybody does still."""
    if not done.called:
        done.callback(outcome)
