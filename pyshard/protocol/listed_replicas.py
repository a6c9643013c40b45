"""Replicas of shards as the bootstrap tells operators of them: JSON (docs/protocol.md, "ListReplicas"). Pure.

Rule: names and reasons are cut, and numbers have bounds, so that whatever a bootstrap lists can be shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import attrs
import msgspec

from pyshard.errors import BadRequest, of_peer
from pyshard.model.bounded_json import decode_json
from pyshard.model.range_moves import Amount, Count
from pyshard.model.replica_group import LEARNER, PRIMARY
from pyshard.protocol.log_positions import LogPosition
from pyshard.settings import settings

#: Where the log ends of one that said nothing yet.
NOWHERE = LogPosition()

_LONGEST_ADDRESS = 300  # characters, as in a state


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
    :param copies: how often it has begun to be copied to since it was a member.
    :param slow: of the primary: for whom changes wait long, or who is a learner for that; empty: nobody.
    """

    address: str
    role: str
    durable: bool = False
    seconds: Amount | None = None
    answers: bool = False
    position: LogPosition = NOWHERE
    complete: bool = False
    behind: Count | None = None
    waits: str = ""
    copies: int = 0
    slow: str = ""

    @property
    def copied_in_vain(self) -> str:
        """Why it isn't a member, if copies of it came to nothing, in one line; empty: none did."""
        if self.role != LEARNER or self.copies < 2:
            return ""
        return f"a copy was begun {self.copies:,} times, and none before came to its end, or was caught up with"


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
    ballot: Count
    least: Count
    lease: Amount
    replicas: Annotated[Sequence[ListedReplica], msgspec.Meta(max_length=settings.MAX_REPLICAS)]

    @property
    def members(self) -> list[ListedReplica]:
        """Those that have every acknowledged change."""
        return [replica for replica in self.replicas if replica.role != LEARNER]

    @property
    def whole(self) -> bool:
        """Whether all replicas are members, answer, and wait for nothing, and changes don't wait long for one."""
        return len(self.members) == len(self.replicas) and all(
            each.answers and not each.waits and not each.slow for each in self.replicas
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

    :raises BadRequest: it can't be read, or has more than a cluster may have.
    """
    groups = decode_json(text, list[ListedGroup], "replicas: found what can't be read")
    if len(groups) > settings.MAX_SHARDS:
        raise BadRequest("replicas: found more than a cluster may have")
    return [
        attrs.evolve(
            group, shard=of_peer(group.shard, settings.MAX_NAME), replicas=[_bounded(each) for each in group.replicas]
        )
        for group in groups
    ]


def _bounded(told: ListedReplica) -> ListedReplica:
    return attrs.evolve(
        told,
        address=of_peer(told.address, _LONGEST_ADDRESS),
        role=of_peer(told.role, settings.MAX_NAME),
        waits=of_peer(told.waits),
        slow=of_peer(told.slow),
    )
