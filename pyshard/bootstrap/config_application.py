"""Brings the cluster to a config: shards come and go, addresses and limits change, and moves of ranges are planned.

Rules:

- It is all refused that can be, before anything moves: what it takes is said by `pyshard.model.layout_change`, and
  whether the shards can do it by `pyshard.model.transfer_check`.
- Shards that come are in the map before they are asked whether they can take something. They own nothing then, and stay
  in the map if the moves are refused. They may leave it again meanwhile, by another config.
- Whether a target has room is judged by its limit in the map. Its own word for it may be from before the config.
- What is on its way to a target already, or planned, takes its room, too.
- A config is made for a state. It is refused where the cluster has another one by now, also by another bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pyshard.bootstrap.bootstrap import Bootstrap, Condition
from pyshard.bootstrap.change_turns import Asker
from pyshard.bootstrap.operator_calls import OperatorCalls
from pyshard.errors import BadRequest, ConfigError, StaleEpoch, Unavailable
from pyshard.model import config_file
from pyshard.model.bounded_json import decode_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.layout_change import LayoutChange, layout_change
from pyshard.model.shard_map import ShardMap
from pyshard.model.transfer_check import ShardLoad, ShardStatistics, check_transfers, has_left, on_their_way
from pyshard.settings import settings

_LOOK = 0.05  # seconds between looks whether shards are ready


class ShardToAsk(Protocol):
    """What asks one shard."""

    def ask_statistics(self) -> Deferred[bytes]:
        """How it fares, in JSON; see `pyshard.protocol.commands.Stat`.

        :raises Unavailable: (in the Deferred) it can't be asked now, or didn't answer in time.
        """
        ...


class ConfigApplication:
    """Applies configs to one cluster.

    :param bootstrap: has the state.
    :param clock: times questions.
    :param find: gives what asks a shard, by its name.
    """

    def __init__(self, bootstrap: Bootstrap, clock: IReactorTime, find: Callable[[str], ShardToAsk | None]) -> None:
        self._bootstrap = bootstrap
        self._clock = clock
        self._find = find
        self._calls = OperatorCalls()

    async def apply(self, text: bytes, order: tuple[int, int], asker: Asker | None = None) -> list[int]:
        """Plan what a config wants.

        :param text: the config file's.
        :param order: of the state that it was made for.
        :param asker: as of `Bootstrap.change`.
        :return: the numbers of the moves that were planned.
        :raises BadRequest: the config can't be read, or the cluster can't be brought to it; it says why.
        :raises StaleEpoch: the cluster has another state by now.
        :raises Overloaded: too many other configs are being applied.
        :raises Unavailable: a shard that is to give or take something can't be asked.
        :raises ConfigError: the state can't be saved.
        :raises OutcomeUnknown: it may be saved, or not.
        """
        with self._calls.one_of("" if asker is None else asker.origin):
            return await self._apply(text, order, asker)

    # ------------------------------------------------------------------ inside

    async def _apply(self, text: bytes, order: tuple[int, int], asker: Asker | None) -> list[int]:
        bootstrap = self._bootstrap
        try:
            wanted = config_file.parse(text).map
            _check_order(bootstrap.state, order)
            change = layout_change(bootstrap.state, wanted)
        except ConfigError as error:
            raise BadRequest(f"config: {error}") from None
        if change.added or change.updated or change.removed:
            await bootstrap.change(lambda state: _with_shards(state, order, change), asker=asker)
        if not change.transfers:
            return []
        bootstrap.state.with_moves(change.transfers)  # raises if they can't be planned anyway
        coming = on_their_way(bootstrap.state.moves, {each.target for each in change.transfers})
        all_of_them = [*coming, *change.transfers]
        loads = await self._loads({name for each in all_of_them for name in (each.source, each.target)})
        check_transfers(all_of_them, loads, {shard.name: shard.limit for shard in bootstrap.state.map.shards})
        return await self._plan(change, wanted, asker)

    async def _plan(self, change: LayoutChange, wanted: ShardMap, asker: Asker | None) -> list[int]:
        planned: list[int] = []

        def with_moves(state: ClusterState) -> ClusterState:
            try:
                transfers = layout_change(state, wanted).transfers
            except ConfigError as error:
                raise BadRequest(f"config: {error}") from None
            if transfers != change.transfers:
                raise StaleEpoch("the cluster's ranges have changed meanwhile; look at the plan again")
            with_them = state.with_moves(change.transfers)
            planned[:] = [move.number for move in with_them.moves[len(state.moves) :]]
            return with_them

        await self._bootstrap.change(with_moves, asker=asker)
        return planned

    async def _loads(self, names: Collection[str]) -> Mapping[str, ShardLoad]:
        """What shards have that are to give or to take something."""
        await self._until_ready(names)
        return {name: await self._load(name) for name in sorted(names)}

    async def _until_ready(self, names: Collection[str]) -> None:
        """Wait until shards are ready: those that were just added are dialed, and told the state."""
        end = self._clock.seconds() + settings.TIMEOUT
        while True:
            waiting = []
            for name in sorted(names):
                known = self._bootstrap.readiness_of(name)
                if known is None:
                    raise has_left(name)
                if known.condition is not Condition.READY:
                    waiting.append(known)
            if not waiting:
                return
            if self._clock.seconds() >= end:
                first = waiting[0]
                raise Unavailable(
                    f"shard {first.name!r} at {first.address} is {first.condition.value} ({first.detail}), so nothing "
                    "can move to or from it; start it, and try again"
                )
            await deferLater(self._clock, _LOOK)

    async def _load(self, name: str) -> ShardLoad:
        shard = self._find(name)
        if shard is None:
            raise has_left(name)
        try:
            return decode_json(await shard.ask_statistics(), ShardStatistics, "its statistics").load()
        except BadRequest as error:
            raise Unavailable(
                f"shard {name!r} says of itself what can't be read, so nothing can be planned ({error})"
            ) from None


def _check_order(state: ClusterState, order: tuple[int, int]) -> None:
    if state.order != order:
        raise StaleEpoch(
            f"the cluster is at {state.shown_order} by now, and this was planned for epoch {order[0]}, step "
            f"{order[1]}; look at the plan again"
        )


def _with_shards(state: ClusterState, order: tuple[int, int], change: LayoutChange) -> ClusterState:
    """The next state, with the shards of a config that was made for the state of this order."""
    _check_order(state, order)
    try:
        return state.with_shards(change.added, change.updated, change.removed)
    except ConfigError as error:
        raise BadRequest(f"config: {error}") from None
