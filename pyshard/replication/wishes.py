"""What a replica wants to become of its group, as it tells a bootstrap. Pure.

Only the primary wants somebody to join, to go, or to lead in its place, or a new ballot for itself. Only a member whose
promise has run out wants to lead. A wish is for the group of one ballot: under any other one it is nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import msgspec

from pyshard.model.range_moves import Id
from pyshard.protocol.log_positions import LogPosition


class WishKind(Enum):
    """What is wanted."""

    JOIN = "join"
    REMOVE = "remove"
    LEAD = "lead"
    SWITCH = "switch"
    RENEW = "renew"


class Wish(msgspec.Struct, frozen=True):
    """What a replica wants.

    :param kind: what. A primary that began anew wants its ballot renewed, as it doesn't know what it wanted before.
    :param address: of the replica that is to join, to go, or to lead; of the primary itself, to renew.
    """

    kind: WishKind
    address: Annotated[str, msgspec.Meta(max_length=300)]


class ReplicaReport(msgspec.Struct, frozen=True):
    """What a replica says of itself.

    :param identity: of its store.
    :param incarnation: of that, too.
    :param durable: whether the store keeps its data over a restart.
    :param ballot: of the group as it knows it; 0: it knows none.
    :param position: where its log ends.
    :param complete: whether it has all up to there.
    :param wish: what it wants; None: nothing.
    :param failed: why it can't go on by itself, such as a disk that fails; empty: it can.
    :param copies: how often it has begun to be copied to since it was a member.
    :param slow: of a primary: for whom changes wait long, or who is a learner for that; empty: nobody.
    """

    identity: Id
    incarnation: Id
    durable: bool
    ballot: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    position: LogPosition = LogPosition()
    complete: bool = True
    wish: Wish | None = None
    failed: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    copies: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    slow: Annotated[str, msgspec.Meta(max_length=2000)] = ""
