"""The replicas of a shard as the page shows them: who leads, who has all documents, and who is away. Pure.

Rules:

- the figures are those of `pyshard replica list`, and how old what a replica shows is, which its primary knows;
- a shard fails over while its primary is away, or can't lead any more, and a member is there that can take its place;
- a primary that the bootstrap alone can't reach goes on serving: its members want nobody else to lead. A failover that
  they didn't want by the time that it takes is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import attrs

from pyshard.bootstrap.group_driver import HeardReport
from pyshard.bootstrap.replica_changes import listed_group
from pyshard.bootstrap.status_page.shown_levels import Level
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import PRIMARY, ReplicaGroup
from pyshard.protocol.listed_replicas import ListedReplica
from pyshard.replication.group_times import of_lease
from pyshard.replication.wishes import WishKind

#: Seconds after the end of a member's promise by which the bootstrap has heard what it wants.
HEARD_WITHIN = 1.0


class ReplicaLook(Enum):
    """How a replica is, from the worst to the best."""

    DOWN = "down"
    WAITS = "waits"
    UNREACHED = "not reached yet"
    COPYING = "copying"
    UP = "up"

    @property
    def level(self) -> Level:
        """How bad that is."""
        return _LEVELS[self]


_LEVELS = {
    ReplicaLook.DOWN: Level.BAD,
    ReplicaLook.WAITS: Level.BAD,
    ReplicaLook.UNREACHED: Level.WARN,
    ReplicaLook.COPYING: Level.INFO,
    ReplicaLook.UP: Level.GOOD,
}


@attrs.frozen
class WatchedGroup:
    """The replicas of a shard, and what is known of them.

    :param heard: address → what each said last.
    """

    group: ReplicaGroup
    heard: Mapping[str, HeardReport] = attrs.Factory(dict)

    @property
    def takes_changes(self) -> bool:
        """Whether there are as many members as changes need."""
        return len(self.group.members) >= self.group.least

    @property
    def members_note(self) -> str:
        """How many replicas have all documents, and what is to be known of others, in one line."""
        note = f"{len(self.group.members)} of {len(self.group.replicas)} replicas have all documents"
        listed = listed_group("", self.group, self.heard, 0.0)
        slow = [one.slow for one in listed.replicas if one.slow]
        return "; ".join(
            [note, *slow, *(f"{one.address}: {why}" for one in listed.replicas if (why := one.copied_in_vain))]
        )

    def can_lead(self, address: str) -> bool:
        """Whether the replica at an address answers, with the store that the group knows, and can go on."""
        known = self.heard.get(address)
        if known is None or not known.answers or known.report.failed:
            return False
        return self.group.holds(address, StoreId(known.report.identity, known.report.incarnation))

    def others_that_can_lead(self) -> list[str]:
        """The addresses of the members that could take the primary's place."""
        return [address for address in sorted(self.group.others) if self.can_lead(address)]

    def failover(self, ready: bool, now: float) -> str:
        """Why the primary is being replaced, in one line; empty: it isn't.

        :param ready: whether the bootstrap has told the present primary that it leads.
        :param now: seconds of the clock by which reports were heard.
        """
        group = self.group
        if self.can_lead(group.primary):
            return "" if ready else f"{group.primary} is to lead"
        others = self.others_that_can_lead()
        if not others:
            return ""
        known = self.heard.get(group.primary)
        patience = of_lease(group.lease).grace + HEARD_WITHIN
        young = known is not None and not known.report.failed and now - known.at <= patience
        if young or any(_wants_to_lead(self.heard[address]) for address in others):
            return f"the primary {group.primary} is gone; one of {len(others)} members is to lead"
        return ""

    def look_of(self, replica: ListedReplica) -> tuple[ReplicaLook, str]:
        """How a replica is, and why, in one line."""
        if replica.seconds is None:
            return ReplicaLook.UNREACHED, ""
        if not replica.answers:
            return ReplicaLook.DOWN, ""
        if replica.waits:
            return ReplicaLook.WAITS, replica.waits
        if replica.address == self.group.primary and not self.can_lead(replica.address):
            return ReplicaLook.WAITS, "it came back with another store, so it can't lead"
        return (ReplicaLook.UP if replica.complete else ReplicaLook.COPYING), replica.copied_in_vain

    def shown(self, name: str, now: float, stale: Mapping[str, float | None]) -> dict[str, object]:
        """For JSON.

        :param name: the shard's.
        :param stale: address → how old the state is that a replica shows, in seconds, by what the primary knows.
        """
        listed = listed_group(name, self.group, self.heard, now)
        return {
            "shard": name,
            "ballot": listed.ballot,
            "least": listed.least,
            "lease": listed.lease,
            "members": len(listed.members),
            "most_stale": of_lease(self.group.lease).staleness,
            "replicas": [self._shown_replica(replica, stale.get(replica.address)) for replica in listed.replicas],
        }

    def _shown_replica(self, replica: ListedReplica, stale: float | None) -> dict[str, object]:
        look, why = self.look_of(replica)
        heard = None if replica.answers or replica.seconds is None else round(replica.seconds, 1)
        return {
            "address": replica.address,
            "role": replica.role,
            "state": look.value,
            "level": look.level.value,
            "why": why,
            "behind": replica.behind,
            "stale": None if stale is None or replica.role == PRIMARY else round(stale, 1),
            "silent": heard,
            "durable": replica.durable,
        }


def _wants_to_lead(heard: HeardReport) -> bool:
    """Whether a member's promise to the primary has run out."""
    wish = heard.report.wish
    return wish is not None and wish.kind is WishKind.LEAD
