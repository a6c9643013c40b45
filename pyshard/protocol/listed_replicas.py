"""Replicas of shards as the bootstrap tells operators of them: JSON (docs/protocol.md, "ListReplicas"). Pure."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import msgspec

from pyshard.errors import BadRequest, of_peer, plain
from pyshard.model.replica_group import LEARNER, PRIMARY
from pyshard.protocol.log_positions import LogPosition
from pyshard.settings import settings

#: Where the log ends of one that said nothing yet.
NOWHERE = LogPosition()


@attrs.frozen
class ListedReplica:
    """A replica as operators see it.

    :param address: where it is.
    :param role: see `ReplicaGroup.role_of`.
    :param durable: whether it keeps documents over a restart.
    :param seconds: since it said last how it is; None: it never did, since this bootstrap began.
    :param answers: whether it answered when it was asked last.
    :param position: where its log ended then: ballot and number of the last group of changes.
    :param complete: whether it had all up to there; else it is being copied to.
    :param behind: groups that it lacked of what the primary had; None: not known.
    :param waits: why it can't go on by itself; empty: it can, as far as is known.
    """

    address: str
    role: str
    durable: bool = False
    seconds: float | None = None
    answers: bool = False
    position: LogPosition = NOWHERE
    complete: bool = False
    behind: int | None = None
    waits: str = ""


@attrs.frozen
class ListedGroup:
    """The replicas of one shard.

    :param shard: its name.
    :param ballot: the number of their configuration.
    :param least: with fewer members it takes no changes.
    :param lease: seconds.
    :param replicas: in the order of the config.
    """

    shard: str
    ballot: int
    least: int
    lease: float
    replicas: Sequence[ListedReplica]

    @property
    def members(self) -> list[ListedReplica]:
        """Those that have every acknowledged change."""
        return [replica for replica in self.replicas if replica.role != LEARNER]

    @property
    def whole(self) -> bool:
        """Whether all replicas are members, answer, and wait for nothing."""
        return len(self.members) == len(self.replicas) and all(
            each.answers and not each.waits for each in self.replicas
        )

    @property
    def primary(self) -> ListedReplica | None:
        """The one that leads."""
        return next((replica for replica in self.replicas if replica.role == PRIMARY), None)


def encode_listed_replicas(groups: Sequence[ListedGroup]) -> bytes:
    """The groups as JSON."""
    return msgspec.json.encode(list(groups))


def decode_listed_replicas(text: bytes) -> list[ListedGroup]:
    """The groups in a JSON text.

    :raises BadRequest: it can't be read.
    """
    try:
        groups = msgspec.json.decode(text, type=list[ListedGroup])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"replicas: found what can't be read, {plain(str(error))}") from None
    if len(groups) > settings.MAX_SHARDS or any(len(group.replicas) > settings.MAX_REPLICAS for group in groups):
        raise BadRequest("replicas: found more than a cluster may have")
    return [
        attrs.evolve(
            group,
            shard=of_peer(group.shard),
            replicas=[
                attrs.evolve(each, address=of_peer(each.address), role=of_peer(each.role), waits=of_peer(each.waits))
                for each in group.replicas
            ],
        )
        for group in groups
    ]
