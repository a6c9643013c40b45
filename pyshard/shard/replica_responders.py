"""What a shard's AMP protocol answers to other replicas of the shard, and to a bootstrap that asks about them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Protocol, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.errors import NotConfigured, PyshardError
from pyshard.net.command_connection import Responder
from pyshard.protocol import commands
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.change_pages import encode_group
from pyshard.protocol.chunked_arguments import Arguments
from pyshard.protocol.command_boxes import Command
from pyshard.shard.parted_answer import unheld
from pyshard.shard.served_followers import ServedFollowers
from pyshard.shard.served_replicas import follower_name
from pyshard.shard.shard import Shard
from pyshard.shard.shard_replica import ShardReplica
from pyshard.storage import ITSELF, Sender

_C = TypeVar("_C")


class PullingConnection(Hashable, Protocol):
    """A connection over which groups are pulled.

    :ivar replicates: see `Served`.
    """

    replicates: bool


class ReplicaResponders:
    """Of one connection; made for each question, since hardly any connection asks one.

    :param shard: what answers.
    :param followers: those of the shard.
    :param owner: the connection.
    :param sender: who asks over it.
    :param hold: told how many bytes more, or fewer, are held of groups that it hasn't been given yet.
    """

    def __init__(
        self,
        shard: Shard,
        followers: ServedFollowers,
        owner: PullingConnection,
        sender: Sender = ITSELF,
        hold: Callable[[int], object] = unheld,
    ) -> None:
        self._shard = shard
        self._followers = followers
        self._owner = owner
        self._sender = sender
        self._hold = hold

    @classmethod
    def responders(cls, of: Callable[[_C], ReplicaResponders]) -> Iterable[tuple[type[Command], Responder]]:
        """Each command, and what answers it, given the connection.

        :param of: makes those of a connection.
        """
        return [
            (commands.PullGroups, _called_of(of, cls.pull_groups)),
            (commands.OpenReplicaCopy, _called_of(of, cls.open_replica_copy)),
            (commands.ReportReplica, _called_of(of, cls.report_replica)),
            (commands.SwitchPrimary, _called_of(of, cls.switch_primary)),
        ]

    def pull_groups(self, pull: bytes, offset: int) -> Deferred[Arguments]:
        replica = self._replica()
        if not offset:  # else it is the rest of an answer
            self._owner.replicates = replica.goes_first(self._owner, pull)
        pulled = Deferred.fromCoroutine(replica.pulled(self._owner, pull, offset, self._hold))
        return pulled.addCallbacks(
            lambda found: {"pulled": found[0], "groups": found[1], "more": found[2]}, self._not_pulled
        )

    def open_replica_copy(self, replica: str) -> Deferred[Arguments]:
        self._replica().check_copy(replica)
        # When what it has is committed.
        given = self._shard.gated(lambda: Deferred.fromCoroutine(self._opened(replica)), self._sender)
        return given.addCallback(lambda copy: {"copy": copy[0], "head": encode_group(copy[1])})

    def report_replica(self, name: str) -> Deferred[Arguments]:
        self._shard.check_name(name)
        reported = Deferred.fromCoroutine(self._replica().answer_bootstrap())
        return reported.addCallback(lambda report: {"report": msgspec.json.encode(report)})

    def switch_primary(self, name: str, replica: str) -> Arguments:
        self._shard.check_name(name)
        self._replica().switch(replica)
        return {}

    async def _opened(self, replica: str) -> tuple[str, ChangeGroup]:
        name = follower_name(replica)
        number, head = await self._followers.open_whole_copy(self._owner, name)
        try:
            self._replica().check_copy(replica)  # it may be of the group no more
        except PyshardError:
            self._followers.close_copy(self._owner, number)
            self._followers.forget(name)
            raise
        return number, head

    def _not_pulled(self, failure: Failure) -> Failure:
        self._owner.replicates = False  # it may be of the group no more
        return failure

    def _replica(self) -> ShardReplica:
        if self._shard.replica is None:
            raise NotConfigured("this shard can't reach other ones, so it can't be one of several replicas")
        return self._shard.replica


def _called_of(of: Callable[[_C], ReplicaResponders], function: Responder) -> Responder:
    return lambda connection, **arguments: function(of(connection), **arguments)
