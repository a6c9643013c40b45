"""What a primary knows under one ballot: who has which groups, for how long it may answer, and what it wants. Pure.

Rules:

- a group is committed when all *needed* replicas have it: the other members, and a learner that is about to join. The
  bootstrap may have made it a member before this side hears of it;
- a lease is of one needed replica, counted from when this side sent the answer that the replica's question followed. To
  answer what it has read, a primary needs those of all;
- a member that is silent, gets no further, doesn't have this side's answers, or has to begin from a copy, is to be
  removed. Until that is known, it is needed;
- so is one for which all others wait long, again and again (`pyshard.replication.lone_waits`), if there are members
  enough without it;
- nobody is to be removed while this side's own promise to an earlier primary goes on: that one may still answer by it,
  and doesn't know yet that it leads no more;
- a primary that misses a member for long, and isn't told to go on without it, gives way: it answers the other members
  no more, so that one of them can lead. Perhaps no bootstrap reaches it;
- a learner that keeps up is to join; one at a time. It is needed from then on, and the wish is told only when it has
  what was committed before without it;
- one that left again and again waits for a while (`pyshard.replication.member_rests`). It doesn't where members are too
  few for changes, and not for long where this side is alone;
- to switch, the primary takes no more changes, and says so when the other one has all. It doesn't wait for that long.
"""

from __future__ import annotations

import struct
from enum import Enum
from math import inf

import attrs

from pyshard.errors import BadRequest
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import ReplicaGroup
from pyshard.protocol.log_positions import BallotHistory, common_point
from pyshard.replication.group_times import GroupTimes
from pyshard.replication.lone_waits import LoneWaits
from pyshard.replication.pulls import Pull
from pyshard.replication.wishes import Wish, WishKind

_BEACON = struct.Struct(">16sd")  # the term's own token, and when it was sent
_REST_OF_SECOND = 60.0  # seconds at the most: without it one copy is all that there is


class Course(Enum):
    """How a replica that pulled goes on."""

    GROUPS = "groups"  # with the groups behind its last one
    BEACON = "beacon"  # with a beacon of this term, at once: until it is given back, the primary can't answer
    CUT = "cut"  # when it has cut what this log doesn't have
    COPY = "copy"  # from a copy
    NOBODY = "nobody"  # it isn't of the group


@attrs.define
class _Other:
    """Another replica, as the primary knows it.

    :param heard: when it asked last, or the term began.
    :param well: when it last asked after one answer more than before had reached it, and had what that gave; or when
        the term began.
    :param sent: when this side sent the last answer that reached it.
    :param confirmed: the number up to which it has all groups of this log.
    :param leased: until when the primary may answer by its promise.
    :param given: the number of this log's last safe group when it asked last.
    :param keeps_up: whether it had all when it asked that there was when it asked before.
    :param lost: whether it has to begin from a copy.
    :param stale: how old the state was that it showed when it asked last, in seconds; None: it didn't know.
    """

    heard: float
    well: float
    sent: float = -inf
    confirmed: int = 0
    leased: float = -inf
    given: int = 0
    keeps_up: bool = False
    lost: bool = False
    stale: float | None = None


@attrs.frozen
class OtherReplica:
    """How another replica fares, as the primary knows it.

    :param address: where it is.
    :param behind: groups of this log that it hasn't said to have.
    :param silent: seconds since it asked last, or the term began.
    :param lost: whether it has to begin from a copy.
    :param stale: how old the state is by now that it showed when it asked last, in seconds; None: it didn't know.
    """

    address: str
    behind: int
    silent: float
    lost: bool
    stale: float | None = None


class PrimaryTerm:
    """A primary's part under one ballot.

    :param group: the group.
    :param times: the group's.
    :param began: when the term began, by the clock that all other moments are of.
    :param token: 16 random bytes, so that beacons of other terms and processes don't count.
    :param bound_until: when this side's own promise to an earlier primary has run out.
    :param waits: what is known of slow members, and of those that left, from earlier terms, too; None: nothing.
    :ivar committed: all groups up to this number are committed.
    """

    def __init__(
        self,
        group: ReplicaGroup,
        times: GroupTimes,
        began: float,
        token: bytes,
        bound_until: float = -inf,
        waits: LoneWaits | None = None,
    ) -> None:
        self.group = group
        self.bound_until = bound_until
        self._times = times
        self._token = token
        self._others = {
            replica.address: _Other(began, began) for replica in group.replicas if replica.address != group.primary
        }
        self._needed = group.others
        self._waits = waits or LoneWaits()
        self._waits.begin(group.others, times.lease, began)
        self._joining: str | None = None
        self._switching: str | None = None
        self._switching_until = -inf
        self.committed = 0

    @property
    def needed(self) -> frozenset[str]:
        """The addresses of those whose word every commit and every lease needs."""
        return self._needed

    @property
    def has_enough(self) -> bool:
        """Whether there are members enough for changes."""
        return len(self.group.members) >= self.group.least

    def takes_changes(self, now: float) -> bool:
        """Whether there are members enough, and the primary's place isn't about to be another's."""
        return self.has_enough and not self._switches(now)

    def beacon(self, now: float) -> bytes:
        """What an answer that is sent now brings along."""
        return _BEACON.pack(self._token, now)

    def heard(self, pull: Pull, history: BallotHistory, last: int, safe: int, now: float) -> Course:
        """Note what a replica has, and say how it goes on.

        :param pull: its question, under this ballot.
        :param history: of this side's log.
        :param last: the number of that log's last group.
        :param safe: the number of the last group there that is safe, and can be given.
        """
        other = self._others.get(pull.address)
        if other is None or not self.group.holds(pull.address, StoreId(pull.identity, pull.incarnation)):
            return Course.NOBODY
        other.heard, other.stale = now, pull.stale
        sent = self._sent(pull.beacon, now)
        reached = sent is not None and sent > other.sent
        if sent is not None:
            other.sent = max(other.sent, sent)
            other.leased = max(other.leased, sent + self._times.lease)
        common = common_point(history, last, pull.history, pull.last)
        other.lost = not pull.complete or (common == 0 and pull.last > 0)
        if other.lost:
            return Course.COPY
        if common < pull.last:
            return Course.CUT
        if reached and (pull.last >= other.given or pull.last > other.confirmed):
            other.well = now
        other.keeps_up = pull.last >= other.given > 0
        other.given = safe
        other.confirmed = pull.last
        self._note_waits(safe, now)
        return Course.BEACON if sent is None else Course.GROUPS

    def falls_behind(self, address: str) -> None:
        """Note that this log doesn't go back to where a replica is."""
        self._others[address].lost = True

    def commit(self, safe: int) -> int:
        """The number up to which groups are committed by now.

        :param safe: the number of the last group that is safe on this side.
        """
        reached = min([safe, *(self._others[address].confirmed for address in self.needed)])
        self.committed = max(self.committed, reached)
        return self.committed

    def may_answer(self, now: float) -> bool:
        """Whether nobody else can lead yet, so that what was read is what there is."""
        return now < self.leased_until

    def is_settled(self, history: BallotHistory, now: float) -> bool:
        """Whether nobody else can lead yet, and all that was ever acknowledged is among the committed groups.

        Until its own first group is committed, a primary doesn't know how much the one before it has acknowledged.

        :param history: of this side's log.
        """
        return bool(history) and self.committed >= history[-1][1] and self.may_answer(now)

    @property
    def leased_until(self) -> float:
        """Until when the promises hold of all those that are needed."""
        return min([self._others[address].leased for address in self._needed], default=inf)

    def switching(self, now: float) -> str | None:
        """The address of the member that is to lead in this one's place."""
        return self._switching if self._switches(now) else None

    def figures(self, last: int, now: float) -> list[OtherReplica]:
        """How the other replicas fare.

        :param last: the number of the log's last group.
        """
        return [
            OtherReplica(
                address,
                max(0, last - other.confirmed),
                now - other.heard,
                other.lost,
                None if other.stale is None else other.stale + now - other.heard,
            )
            for address, other in self._others.items()
        ]

    def confirmed(self) -> dict[str, int]:
        """Address of each other replica → the number up to which it has all groups."""
        return {address: other.confirmed for address, other in self._others.items()}

    def gives_way(self, address: str, now: float) -> bool:
        """Whether a replica isn't to be answered, since another one that is needed has been silent for long.

        That one is answered when it asks again, so that all goes on if it is the last to be waited for.
        """
        patience = self._times.silence + self._times.grace
        return any(now - self._others[other].heard > patience for other in self.needed - {address})

    def switch(self, address: str | None, now: float) -> None:
        """Take no more changes for a while, so that a member can lead in this one's place; None: go on as before.

        :raises BadRequest: it is no other member.
        """
        if address is not None and address not in self.group.others:
            raise BadRequest(
                f"replicas: found {address} to lead, expected one of the other members {sorted(self.group.others)}"
            )
        self._switching, self._switching_until = address, now + self._times.lease

    def slow(self, now: float) -> tuple[str | None, list[str]]:
        """The member for which all others wait long, and the learners that aren't to be members for a while."""
        return self._waits.slow, [each for each in self.group.learners if self._rests(each, now)]

    def wish(self, last: int, now: float) -> Wish | None:
        """What is to become of the group.

        :param last: the number of the log's last group.
        """
        self._note_waits(last, now)
        missed = [address for address in self.needed if self._misses(address, now)]
        if missed:
            longest = min(missed, key=lambda address: (self._others[address].well, address))
            if now < self.bound_until:
                return None
            self._waits.rests.miss(longest)
            return Wish(WishKind.REMOVE, longest)
        if self._waits.slow is not None and self._can_spare(self._waits.slow) and now >= self.bound_until:
            return Wish(WishKind.REMOVE, self._waits.slow)
        if self._switches(now) and self._switching is not None:
            ready = self._others[self._switching].confirmed >= last and self.committed >= last
            return Wish(WishKind.SWITCH, self._switching) if ready else None
        if self._joining is None:
            self._joining = next((each for each in self.group.learners if self._may_join(each, now)), None)
            self._needed = self.group.others if self._joining is None else self.group.others | {self._joining}
        if self._joining is None or self._others[self._joining].confirmed < self.committed:
            return None
        return Wish(WishKind.JOIN, self._joining)

    # ------------------------------------------------------------------ inside

    def _misses(self, address: str, now: float) -> bool:
        other = self._others[address]
        return other.lost or now - other.well > self._times.silence

    def _switches(self, now: float) -> bool:
        return self._switching is not None and now < self._switching_until

    def _note_waits(self, safe: int, now: float) -> None:
        self._waits.note(now, safe, [(address, self._others[address].confirmed) for address in self._needed])

    def _can_spare(self, address: str) -> bool:
        """Whether there are members enough without one, and another one by which it is judged."""
        members = self.group.members - {address}
        return len(members) >= max(2, self.group.least)

    def _may_join(self, address: str, now: float) -> bool:
        other = self._others[address]
        return other.keeps_up and not self._misses(address, now) and not self._rests(address, now)

    def _rests(self, address: str, now: float) -> bool:
        """Whether a learner isn't to join for a while, since it left again and again."""
        members = len(self.group.members)
        most = inf if members > 1 else _REST_OF_SECOND
        return members >= self.group.least and self._waits.rests.left(address, now, most) > 0

    def _sent(self, beacon: bytes, now: float) -> float | None:
        """When a beacon was sent; None: it isn't of this term."""
        if len(beacon) != _BEACON.size:
            return None
        token, sent = _BEACON.unpack(beacon)
        return sent if token == self._token and sent <= now else None
