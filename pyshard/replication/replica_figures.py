"""What a replica tells operators of itself: its role, its lease, how far the others are, and why it waits. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import attrs

from pyshard.model.replica_group import LEARNER, MEMBER, PRIMARY, ReplicaGroup
from pyshard.replication.group_times import of_lease
from pyshard.replication.primary_term import OtherReplica, PrimaryTerm


@attrs.frozen
class ReplicaFigures:
    """One replica.

    :param group: as it knows it.
    :param role: what it does: one that is to lead, and doesn't yet, is a member.
    :param lease: seconds for which it may answer what it has read; None: it needs no promise, or doesn't lead.
    :param silent: of one that follows: seconds since the primary answered it; None: it leads.
    :param others: of the primary: how the others fare.
    :param waits: why it doesn't do all that it could, in one line; empty: it does.
    :param stale: of one that follows: how old the state is that it shows, in seconds; None: it leads, or doesn't know.
    """

    group: ReplicaGroup
    role: str
    lease: float | None = None
    silent: float | None = None
    others: Sequence[OtherReplica] = ()
    waits: str = ""
    stale: float | None = None

    def described(self) -> dict[str, object]:
        """For JSON, as docs/protocol.md lists it ("Stat")."""
        group = self.group
        return {
            "role": self.role,
            "ballot": group.ballot,
            "primary": group.primary,
            "members": len(group.members),
            "replicas": len(group.replicas),
            "min_replicas": group.least,
            "lease": _rounded(self.lease),
            "silent": _rounded(self.silent),
            "stale": _rounded(self.stale),
            "most_stale": of_lease(group.lease).staleness,
            "waits": self.waits,
            "others": [
                {
                    "address": other.address,
                    "role": group.role_of(other.address),
                    "groups_behind": other.behind,
                    "silent": round(other.silent, 3),
                    "needs_copy": other.lost,
                    "stale": _rounded(other.stale),
                }
                for other in self.others
            ],
        }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def primary_figures(term: PrimaryTerm, last: int, now: float, failed: str) -> ReplicaFigures:
    """A primary's.

    :param last: the number of its log's last group.
    :param failed: why it can't go on; empty: it can.
    """
    others, left = term.figures(last, now), term.leased_until - now
    waits = failed or why_primary_waits(term.group, term.switching(now), left, others) or why_slow(*term.slow(now))
    return ReplicaFigures(term.group, PRIMARY, None if left == inf else max(0.0, left), None, others, waits)


def member_figures(
    group: ReplicaGroup, me: str, heard: float, now: float, waits: str, stale: float | None
) -> ReplicaFigures:
    """Those of one that follows, or is to lead and doesn't yet.

    :param me: its address.
    :param heard: when the primary answered it last.
    :param waits: why it gets nothing; empty: it does.
    :param stale: how old the state is that it shows, in seconds; None: it doesn't know.
    """
    role = LEARNER if group.role_of(me) == LEARNER else MEMBER
    return ReplicaFigures(group, role, None, now - heard, (), waits, stale)


def why_primary_waits(group: ReplicaGroup, switching: str | None, lease: float, others: Sequence[OtherReplica]) -> str:
    """Why a primary takes no changes, or doesn't answer.

    :param switching: the address of the member that is to lead in its place.
    :param lease: seconds for which it may answer by the promises of the others.
    """
    if switching is not None:
        return f"it takes no changes for a moment: {switching} is to lead"
    if len(group.members) < group.least:
        return f"it takes no changes: {len(group.members)} have all documents, and min_replicas is {group.least}"
    if lease <= 0:
        silent = sorted(
            other.address for other in others if other.address in group.members and other.silent > group.lease / 2
        )
        return f"it answers nothing until {', '.join(silent) or 'its members'} are heard of, or removed"
    return ""


def why_slow(slow: str | None, removed: Sequence[str]) -> str:
    """Why changes take long, or a replica is no member; empty: neither.

    :param slow: the address of the member for which all others wait long.
    :param removed: those of learners that aren't to be members for a while.
    """
    if slow is not None:
        return f"changes wait long for {slow} alone; see its disk, its machine and the network to it"
    if removed:
        return f"changes have waited long for {', '.join(removed)}, or again and again, so it is a learner for a while"
    return ""
