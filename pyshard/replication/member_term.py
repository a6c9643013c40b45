"""What a member, or a learner, knows under one ballot: what it has promised, and whether it may lead. Pure.

Rules:

- with each question a member gives back the *beacon* of the primary's last answer. That is its promise not to lead
  within the grace, counted from when it had that answer. The primary counts its lease from when it sent it, which was
  before;
- so questions that nobody answers prolong nothing;
- a member whose promise has run out may stand for the primary's place. From then on it asks for nothing more under this
  ballot: else the old primary could answer by a new promise, while this one is made the primary. That is saved before
  it is told, so a restart doesn't change it;
- a member that has just begun doesn't know what it promised before, so it waits for one grace.
"""

from __future__ import annotations

from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.group_times import GroupTimes
from pyshard.replication.wishes import Wish, WishKind


class MemberTerm:
    """A member's part under one ballot, or a learner's.

    :param group: the group.
    :param me: this replica's address.
    :param times: the group's.
    :param began: when it began, by the clock that all other moments are of.
    :param standing: whether it stands for the primary's place since before a restart.
    :ivar standing: whether it stands for the primary's place, so that it asks for nothing more.
    :ivar saved: whether that is saved, so that it may be told.
    :ivar beacon: of the primary's last answer; empty: there was none.
    :ivar promised_until: when the promise has run out.
    :ivar heard: when the primary answered last, or the term began.
    """

    def __init__(self, group: ReplicaGroup, me: str, times: GroupTimes, began: float, standing: bool = False) -> None:
        self.group = group
        self._me = me
        self._times = times
        self.promised_until = began + times.grace
        self.standing = self.saved = standing
        self.beacon = b""
        self.heard = began

    @property
    def is_member(self) -> bool:
        """Whether it has all that was acknowledged; else it is a learner."""
        return self._me in self.group.members

    def answered(self, beacon: bytes, now: float) -> None:
        """Note the primary's answer, to promise with the next question not to lead for a while."""
        if not self.standing:
            self.beacon, self.heard = beacon, now
            self.promised_until = max(self.promised_until, now + self._times.grace)

    def may_stand(self, complete: bool, now: float) -> bool:
        """Whether it may stand for the primary's place: the promise has run out.

        :param complete: whether the store has all up to its last group.
        """
        return self.is_member and complete and (self.standing or now >= self.promised_until)

    def wish(self) -> Wish | None:
        """What it wants, if that may be told."""
        return Wish(WishKind.LEAD, self._me) if self.standing and self.saved else None
