"""Which connections of a shard's members are served before everybody else, and how often. Pure.

Each change waits until the members have it, so what they ask waits for nobody (`pyshard.server.serving_turns`). Whoever
knows a member's address and store can ask in its name, where there are no tokens; and so can any admin.

Rules:

- one connection of each member goes first: the first, until it is lost, or has asked nothing for long;
- it goes first as often as there are new groups, which is as often as a member has to ask, and some times besides. What
  it asks more often waits for its turn as what everybody asks;
- so does what asks for groups that were given in its name already. To give a megabyte of small ones takes long, and a
  member that keeps up never needs them twice.
"""

from __future__ import annotations

from collections.abc import Hashable

_AT_ONCE = 200.0  # questions that may go first at once, at the most
_EACH_SECOND = 50.0  # questions that may go first though there are no new groups


class _Holder:
    """The connection of a member that goes first.

    :ivar left: how many of its questions may.
    :ivar made: how many groups there were when it asked last.
    :ivar asked_at: when that was.
    """

    __slots__ = ("asked_at", "left", "made", "owner")

    def __init__(self, owner: Hashable, made: int, now: float) -> None:
        self.owner, self.left, self.made, self.asked_at = owner, _AT_ONCE, made, now


class PullPrecedence:
    """That of one primary. Times are in seconds of one clock."""

    def __init__(self) -> None:
        self._holders: dict[str, _Holder] = {}
        self._given: dict[str, int] = {}  # by member: the number of the last group that was given in its name

    def has(self, member: str, owner: Hashable, last: int, given: int, made: int, now: float, silent: float) -> bool:
        """Note a question of a member; whether its connection goes first until the next one.

        :param member: its address.
        :param owner: the connection.
        :param last: the number of the last group that it has.
        :param given: that of the last one that it was given with an answer.
        :param made: how many groups the primary has made, ever.
        :param silent: seconds within which a connection that is used asks again.
        """
        holder = self._holders.get(member)
        if holder is None or (holder.owner is not owner and now - holder.asked_at > silent):
            holder = self._holders[member] = _Holder(owner, made, now)
        if holder.owner is not owner:
            return False
        earned = max(0, made - holder.made) + _EACH_SECOND * max(0.0, now - holder.asked_at)
        holder.left, holder.made, holder.asked_at = min(_AT_ONCE, holder.left + earned), made, now
        self._given[member] = min(made, max(given, self._given.get(member, 0)))
        if holder.left < 1 or last < self._given[member]:
            return False
        holder.left -= 1
        return True

    def lost(self, owner: Hashable) -> None:
        """A connection is gone."""
        self._holders = {member: holder for member, holder in self._holders.items() if holder.owner is not owner}
