"""A client below its verbs: whole shards, and records as they are stored. For backups; no part of the public API.

Rule: records are not looked into. A record goes to its shard byte by byte as it came from one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from pyshard.client.bulk import Bulk
from pyshard.client.client import Client
from pyshard.client.deferred_operation import DeferredOperation
from pyshard.client.rpc_channel import RpcChannel
from pyshard.client_core.argument_checks import deadline_seconds
from pyshard.client_core.bulk_input import BulkSlice
from pyshard.client_core.bulk_outcomes import Progress
from pyshard.client_core.nearest_replica import members_to_read_at
from pyshard.client_core.operation import VerbOptions
from pyshard.errors import PyshardError
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import slot_of
from pyshard.model.shard_map import MapShard
from pyshard.protocol import commands
from pyshard.protocol.batch_operations import ABSENT
from pyshard.protocol.command_boxes import Command


class BackupShard:
    """One shard, for calls that the verbs don't make.

    :param members: makes ways to its members that don't lead, each to be closed.
    :param end: closes the way to it, where that is one of its own.
    :ivar name: its name in the map.
    """

    def __init__(
        self,
        name: str,
        rpc: RpcChannel,
        members: Callable[[], Iterator[BackupShard]] = lambda: iter(()),
        end: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self._rpc = rpc
        self.members = members
        self.end = end

    def call(self, command: type[Command], seconds: float, **arguments: object) -> Deferred[Any]:
        """Call it with a command that changes nothing; see `pyshard.client.rpc_channel.RpcChannel.call`."""
        return self._rpc.call(command, seconds, False, **arguments)

    def keep_connection(self, kept: bool) -> None:
        """See `pyshard.client.rpc_channel.RpcChannel.keep_connection`: a snapshot ends with its connection."""
        self._rpc.keep_connection(kept)


class BackupClient:
    """A client's connections, for other work than the verbs.

    :param client: whose connections they are; it is the one to be closed.
    """

    def __init__(self, client: Client) -> None:
        self._router = client._router
        self._deadline = client._deadline
        self.clock: IReactorTime = client._clock

    @property
    def shards(self) -> list[BackupShard]:
        """Every shard of the newest map that the client has, in slot order."""
        return [BackupShard(link.own.name, link.rpc, partial(self._members, link.own)) for link in self._router.links]

    def state(self, seconds: float) -> Deferred[ClusterState]:
        """Fetch the cluster state from the bootstrap; the client goes by it from now on.

        :param seconds: the deadline, from now.
        :raises Unavailable: (in the Deferred) the bootstrap gave no answer by then.
        """
        return Deferred.fromCoroutine(self._state(seconds))

    def _members(self, own: MapShard) -> Iterator[BackupShard]:
        """Its members that don't lead, one after the other as they are wanted."""
        for place in members_to_read_at(own):
            peer = self._router.peer_at(place)
            yield BackupShard(own.name, peer.rpc, end=peer.close)

    async def _state(self, seconds: float) -> ClusterState:
        answer = await self._router.bootstrap.call(commands.GetMap, seconds)
        state = cluster_state_json.from_json(answer["state"])
        self._router.adopt(state)
        return state

    def slice_size(self, changes: bool) -> int:
        """How many keys a slice of a bulk verb is to have, by whether it changes something."""
        return self._router.slice_size(changes)

    def bulk(
        self,
        slices: Iterator[BulkSlice],
        deadline: float | None,
        progress: Progress | None = None,
        away: set[str] | None = None,
    ) -> Deferred[list[object]]:
        """Do a bulk verb, given as its slices; see `pyshard.client.bulk.Bulk`.

        :param deadline: seconds that each operation may take; None is the client's own.
        """
        try:
            seconds = self._deadline if deadline is None else deadline_seconds(deadline)
        except PyshardError:
            return fail()
        return Bulk(self.clock, self._router, slices, seconds, progress, away).start()

    def write(
        self, index: str, key: bytes, record: bytes, ttl: int, seconds: float, condition: int = ABSENT
    ) -> Deferred[bool]:
        """Store a record where a condition is met.

        :param index: the index's name; empty for the default one.
        :param ttl: milliseconds for which it lives; 0: for ever.
        :param seconds: the deadline, from now.
        :param condition: see `pyshard.protocol.batch_operations`; default: that the key doesn't exist.
        :return: a Deferred of whether it was stored. It fails as `Client.write` does.
        """
        slot = slot_of(key, index.encode())
        expires = self.clock.seconds() + seconds
        options = VerbOptions(condition=condition, ttl=ttl)
        operation = DeferredOperation("write", index, key, slot, expires, len(key) + len(record), record, 1, options)
        self._router.submit(operation)
        return operation.deferred.addCallback(bool)
