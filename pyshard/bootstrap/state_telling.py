"""Tells shards the cluster's state, and takes up their stores: what the reconcilers of all shards have in common.

Rule: after each change of the state every shard in reach waits to be told; those that it concerns are told first.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.concerned_shards import concerned_shards
from pyshard.bootstrap.greeted_stores import GreetedStores
from pyshard.bootstrap.push_rests import PushRests
from pyshard.bootstrap.push_turns import Lane, PushTurns, ToldShard
from pyshard.bootstrap.told_states import NOTHING_TOLD, Order, ToldStates
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import to_json
from pyshard.protocol import commands
from pyshard.protocol.boxes import serialize


class NamedShard(ToldShard, Protocol):
    """A shard, or a replica of it.

    :ivar shard: the shard's name.
    """

    shard: str


class StateTelling:
    """Tells the shards of one cluster its state.

    :param bootstrap: has the state.
    :param clock: the reactor: times pushes, and who waits for them.
    :param rests: are taken between pushes.
    :ivar stores: takes up stores that have greeted.
    """

    def __init__(self, bootstrap: Bootstrap, clock: IReactorTime, rests: PushRests) -> None:
        self._bootstrap = bootstrap
        self._told: ToldStates[NamedShard] = ToldStates(clock)
        self._pushes: PushTurns[NamedShard] = PushTurns(clock, lambda: len(to_json(bootstrap.state)), rests)
        self.stores = GreetedStores(bootstrap.change, self._pushes.busy, clock)
        self._pushes.idle = self.stores.go_on
        self._pushes.was_late = self._told.leave_out
        self._state: ClusterState | None = bootstrap.state if bootstrap.has_state else None
        self._encoded: tuple[ClusterState, bytes] | None = None  # the last state that was told, in a box
        bootstrap.on_change(self._changed)

    def told(self, shard: NamedShard) -> Order:
        """Which state a shard has, over its present connection; `NOTHING_TOLD`: none."""
        return self._told.told(shard)

    def come(self, shard: NamedShard) -> None:
        """A shard has come in reach: tell it the state."""
        self._told.tell(shard, NOTHING_TOLD)
        self._pushes.add(shard, Lane.COMING)

    def has(self, shard: NamedShard, order: Order) -> None:
        """A shard was told a state. If that isn't the present one, it waits for that already."""
        self._told.tell(shard, order)

    def gone(self, shard: NamedShard) -> None:
        """A shard isn't in reach any more."""
        self._pushes.remove(shard)
        self._told.forget(shard)

    def settle(self) -> Deferred[None]:
        """Wait until every shard and replica in reach that wasn't late has the present state, or a later one.

        :return: a Deferred that fires then, or after `settings.TIMEOUT`.
        """
        return self._told.wait(self._bootstrap.state.order)

    def encoded_state(self) -> bytes:
        """The present state, as it stands at the end of a `Configure`; made once for all shards."""
        state = self._bootstrap.state
        if self._encoded is None or self._encoded[0] is not state:
            self._encoded = state, serialize(commands.Configure.part({"state": to_json(state)}))
        return self._encoded[1]

    # ------------------------------------------------------------------ inside

    def _changed(self) -> None:
        before, self._state = self._state, self._bootstrap.state
        concerned = set() if before is None else concerned_shards(before, self._state)
        for shard in self._told.shards:
            self._pushes.add(shard, Lane.CONCERNED if shard.shard in concerned else Lane.OTHERS)
