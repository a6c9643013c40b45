"""What a member asks the primary, and what it is answered: values that cross the wire. Pure.

A member *pulls*: it asks for the groups behind those that it has, which says that it has them, safe in its log. Each
question is at the same time its promise not to lead for a while (`pyshard.replication.group_times`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from pyshard.protocol.log_groups import LogGroup, ReplicatedGroup
from pyshard.protocol.log_positions import MOST_BALLOTS, BallotHistory
from pyshard.settings import settings

_Text = Annotated[str, msgspec.Meta(max_length=300)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Token = Annotated[bytes, msgspec.Meta(max_length=64)]


class Pull(msgspec.Struct, array_like=True, frozen=True):
    """A member's question for more.

    :param ballot: of the group as the member knows it.
    :param address: the member's.
    :param identity: of its store.
    :param incarnation: of that, too.
    :param history: which ballots its log has.
    :param last: the number of its last group; all up to it are safe there.
    :param complete: whether it has all up to that; else it needs a copy.
    :param beacon: of the last answer that it had under this ballot; empty: there was none.
    :param stale: how old the state is that it shows, in seconds, for operators; None: it doesn't know.
    :param log_format: see `IReplicatedStore.log_format`.
    """

    ballot: _Count
    address: _Text
    identity: Annotated[str, msgspec.Meta(max_length=settings.MAX_NAME)]
    incarnation: Annotated[str, msgspec.Meta(max_length=settings.MAX_NAME)]
    history: Annotated[BallotHistory, msgspec.Meta(max_length=MOST_BALLOTS)]
    last: _Count
    complete: bool
    beacon: _Token = b""
    stale: Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None = None
    log_format: _Count = 0


class PulledHead(msgspec.Struct, array_like=True, frozen=True):
    """The primary's answer, but for the groups.

    :param ballot: of the group as the primary knows it. With another one than the member's nothing else counts.
    :param committed: all groups up to this number are on all members.
    :param beacon: to be given back with the next question: the primary counts the lease from it.
    :param cut: the number up to which the member's log is the primary's: what is behind it must go first; None: all is.
    :param copy: whether the member must begin from a copy, since the primary's log doesn't go back so far.
    :param settled: whether nobody else could lead when this was made, and all that was ever acknowledged before is
        among the committed groups.
    :param of_log: whether the groups are those of a log (`LogGroup`), as the member's store takes them.
    """

    ballot: _Count
    committed: _Count = 0
    beacon: _Token = b""
    cut: _Count | None = None
    copy: bool = False
    settled: bool = False
    of_log: bool = False


class Pulled(PulledHead, frozen=True):
    """The primary's answer.

    :param groups: those behind the member's last one, in order.
    """

    groups: Sequence[ReplicatedGroup] = ()

    @property
    def head(self) -> PulledHead:
        """All but the groups, and of which sort these are."""
        fields = {name: getattr(self, name) for name in PulledHead.__struct_fields__}
        return PulledHead(**{**fields, "of_log": bool(self.groups) and isinstance(self.groups[0], LogGroup)})
