"""A client's questions about which shard has which ranges, and how that is changed. For operators' commands; no part of
the public API."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pyshard.client.client import Client
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.config_file import ClusterConfig
from pyshard.model.config_text import config_text
from pyshard.protocol import commands
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.listed_moves import ListedMove, decode_listed_moves, decode_move_numbers
from pyshard.protocol.listed_replicas import ListedGroup, decode_listed_replicas
from pyshard.settings import settings


class LayoutClient:
    """Asks the bootstrap. Each method takes up to the client's deadline.

    :param client: whose connections are used; it is the one to be closed.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._router = client._router
        self._clock: IReactorTime = client._clock
        self._deadline = client._deadline

    async def state(self) -> ClusterState:
        """The cluster's state; the client goes by it from now on.

        :raises Unavailable: the bootstrap gave no answer in time.
        """
        answer = await self._ask(commands.GetMap)
        state = cluster_state_json.from_json(answer["state"])
        self._router.adopt(state)
        return state

    async def apply(self, config: ClusterConfig, state: ClusterState) -> list[int]:
        """Bring the cluster to a config.

        :param state: for which it was made.
        :return: the numbers of the moves that were planned.
        :raises StaleEpoch: the cluster has another state by now.
        :raises BadRequest, Unavailable: why it can't be brought there; nothing moves.
        :raises OutcomeUnknown: the answer was lost; see `moves`.
        """
        epoch, step = state.order
        answer = await self._ask(commands.ApplyConfig, changes=True, config=config_text(config), epoch=epoch, step=step)
        return decode_move_numbers(answer["moves"])

    async def moves(self) -> list[ListedMove]:
        """All moves that are planned or under way, and those that ended of late."""
        return decode_listed_moves((await self._ask(commands.ListMoves))["moves"])

    async def change_move(self, number: int, change: str) -> None:
        """Cancel a move, pause it, or have it go on.

        :param change: ``"cancel"``, ``"pause"`` or ``"resume"``.
        :raises BadRequest: there is no such move, or it is too late.
        """
        await self._ask(commands.ChangeMove, changes=True, number=number, change=change)

    async def replicas(self) -> list[ListedGroup]:
        """The replicas of all shards that have some, as the bootstrap sees them."""
        return decode_listed_replicas((await self._ask(commands.ListReplicas))["groups"])

    async def change_replicas(self, shard: str, replica: str, change: str, force: bool = False) -> None:
        """Have another replica of a shard lead, remove one, or begin anew with one.

        :param replica: its address.
        :param change: ``"switch"``, ``"remove"`` or ``"promote"``.
        :param force: also if the shard takes no changes then; or, to promote: also if documents are lost.
        :raises BadRequest, StaleEpoch, Unavailable: it can't be, or not now.
        """
        await self._ask(commands.ChangeReplicas, changes=True, shard=shard, replica=replica, change=change, force=force)

    async def pause(self, seconds: float) -> None:
        """Do nothing for a while."""
        await deferLater(self._clock, seconds)

    async def stat(self) -> dict[str, object]:
        """How each shard fares; see `Client.stat`. One that is down isn't waited for until the deadline."""
        return await self._client.stat(deadline=min(self._deadline, settings.TIMEOUT))

    def _ask(self, command: type[Command], changes: bool = False, **arguments: object) -> Deferred[dict[str, Any]]:
        return self._router.bootstrap.call(command, self._deadline, changes, **arguments)
