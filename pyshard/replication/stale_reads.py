"""Whether a replica that doesn't lead may answer a read, whose caller has said that it may be a little old. Pure.

Rules:

- what such a replica gives is a state that all of the shard had once: every group up to a number, and none that may be
  undone. It isn't older than the bound, which is twice the lease (`GroupTimes.staleness`);
- the age counts from when this side sent the last question whose answer was *settled*: the primary alone led then, and
  knew of all that was acknowledged before (`PrimaryTerm.is_settled`). So neither a slow network, nor a primary that
  another one has replaced without its knowledge, makes a state look newer than it is;
- the age is looked at after the value was taken, so that a process which stood still between refuses;
- a learner refuses, since it may lack anything, and so does a replica that was removed, and one that hasn't heard of
  its primary since it began.
"""

from __future__ import annotations

from collections.abc import Callable

from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.group_times import of_lease


class ShownState:
    """Up to where a replica that follows surely shows what is committed, and how old that is.

    :param now: seconds of the clock that leases go by.
    :ivar committed: all groups up to this number are committed, and shown.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._all_of: float | None = None  # all that was acknowledged before this moment is shown
        self.committed = 0

    @property
    def age(self) -> float | None:
        """Seconds for which something may be acknowledged that isn't shown; None: it isn't known."""
        return None if self._all_of is None else self._now() - self._all_of

    def shows(self, committed: int, asked: float) -> None:
        """Note what is shown by now.

        :param committed: the number up to which all groups are committed, and shown.
        :param asked: when the primary was asked, whose settled answer said so.
        """
        self.committed = max(self.committed, committed)
        self._all_of = asked if self._all_of is None else max(self._all_of, asked)

    def forget(self) -> None:
        """Know nothing any more: this replica leads, and shows what isn't committed, or it becomes a copy."""
        self._all_of, self.committed = None, 0


def why_no_read(state: ShownState, group: ReplicaGroup | None, me: str, incomplete: bool, last: int) -> str:
    """Why a replica that doesn't lead can't answer reads, in one line; empty: it can.

    :param group: as it knows it; None: it was told of none.
    :param me: its address.
    :param incomplete: whether its store is a copy that isn't complete.
    :param last: the number of the last group that its store shows.
    """
    if group is None or group.at(me) is None:
        return "this process is no replica of the shard any more"
    if me not in group.members or incomplete:
        return "this replica hasn't all documents of the shard yet"
    age, bound = state.age, of_lease(group.lease).staleness
    if age is None:
        return "this replica hasn't heard of its primary yet"
    if age > bound:
        return f"what this replica has is {age:.1f} s old, and reads at replicas are at most {bound:g} s old"
    if last > state.committed:
        return "this replica shows changes of which it doesn't know that they are committed"
    return ""
