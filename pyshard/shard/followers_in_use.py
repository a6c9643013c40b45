"""What a shard knows of each copy that is read, and of each follower that is given groups."""

from __future__ import annotations

from collections.abc import Hashable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.shard.bounded_copies import BoundedCopy
from pyshard.shard.parted_answer import PartedAnswer
from pyshard.storage import IFollower


@attrs.define(eq=False)
class CopyInUse:
    """A copy that is being read.

    :ivar name: the follower's.
    :ivar idle: ends it when nobody has read it for a while; None while an answer is made.
    :ivar asked_at: when it was asked for last, in the clock's seconds.
    """

    name: str
    owner: Hashable
    copy: BoundedCopy
    idle: IDelayedCall | None = None
    asked_at: float = 0.0


@attrs.define(eq=False)
class Following:
    """A follower that is given groups.

    :ivar after: the number of the last group that it was given.
    :ivar asked: the question that waits for an answer.
    :ivar parted: the groups that are given in parts, of which not all were given.
    :ivar newest: the number of the last of them.
    :ivar asked_at: when it asked last, in the clock's seconds.
    :ivar even_at: when it was given all that there was last, or began.
    :ivar is_even: whether it was with the last answer.
    """

    owner: Hashable
    ranges: SlotRanges
    follower: IFollower[ChangeGroup]
    after: int
    asked: Deferred[list[ChangeGroup]] | None = None
    parted: PartedAnswer | None = None
    newest: int = 0
    asked_at: float = 0.0
    even_at: float = 0.0
    is_even: bool = False
