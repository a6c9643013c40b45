"""What a bootstrap makes of what the replicas of a shard report: the next group, if there is to be one. Pure.

Rules:

- a report counts if it is of the store that the group knows, and under the group's ballot;
- while the primary reports, it alone is heard: it says itself whom it misses. But whoever is to lead in its place must
  be there;
- else the member leads that has the most in its log, of those whose promise has run out. Each of them has all that was
  acknowledged;
- but none does before the primary has been absent for the lease, by the clock of who asks. No honest member's promise
  runs out sooner, and one that says so at once leads for no pause of the primary's;
- one whose store can't go on doesn't lead. If it leads already, and is alone, it may try again under a new ballot.

Which of two next groups comes true, the compare-and-swap of the cluster's state decides. What is made of old reports
does no harm, as long as the group was read before they were asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.wishes import ReplicaReport, Wish, WishKind


def next_group(group: ReplicaGroup, reports: Mapping[str, ReplicaReport], absent: float) -> ReplicaGroup | None:
    """The group that follows; None: it stays as it is.

    :param reports: address → what the replica there said just now.
    :param absent: seconds for which the primary has been absent; see `PrimaryAbsence`.
    :raises BadRequest: the primary wants what can't be.
    """
    counting = {address: report for address, report in reports.items() if counts(group, address, report)}
    primary = counting.get(group.primary)
    if primary is not None and not primary.failed:
        wish = primary.wish
        if wish is None or (wish.kind is WishKind.SWITCH and wish.address not in counting):
            return None
        return _granted(group, wish)
    standing = [
        address
        for address in group.others
        if (report := counting.get(address)) is not None and _stands(report, address)
    ]
    if not standing:
        alone = primary is not None and not group.others
        return group.renewed() if alone and primary is not None and _wants(primary.wish, WishKind.RENEW) else None
    if absent < group.lease:
        return None
    return group.led_by(max(standing, key=lambda address: (counting[address].position, address)))


def counts(group: ReplicaGroup, address: str, report: ReplicaReport) -> bool:
    """Whether a report is of the store that the group knows, and under the group's ballot."""
    return report.ballot == group.ballot and group.holds(address, StoreId(report.identity, report.incarnation))


def leads(group: ReplicaGroup, reports: Mapping[str, ReplicaReport]) -> bool:
    """Whether the primary reports that it goes on."""
    report = reports.get(group.primary)
    return report is not None and counts(group, group.primary, report) and not report.failed


class PrimaryAbsence:
    """For how long the primary of one group hasn't reported that it goes on, under the group's ballot.

    Of what passes between two questions half a lease counts at the most: who asks may have stood still meanwhile.
    """

    def __init__(self) -> None:
        self._ballot = 0
        self._seconds = 0.0
        self._noted: float | None = None

    def note(self, group: ReplicaGroup, led: bool, asked: float, now: float) -> float:
        """Note what came of a question.

        :param led: whether the primary said that it goes on.
        :param asked: when it was asked, in seconds of any steady clock.
        :param now: the time by that clock.
        :return: for how many seconds it has been absent.
        """
        if led or group.ballot != self._ballot:
            self._ballot, self._seconds, self._noted = group.ballot, 0.0, None
        if not led:
            self._seconds += min(now - (asked if self._noted is None else self._noted), group.lease / 2)
            self._noted = now
        return self._seconds


def _stands(report: ReplicaReport, address: str) -> bool:
    wish = report.wish
    return report.complete and not report.failed and _wants(wish, WishKind.LEAD) and wish.address == address


def _wants(wish: Wish | None, kind: WishKind) -> TypeGuard[Wish]:
    return wish is not None and wish.kind is kind


def _granted(group: ReplicaGroup, wish: Wish) -> ReplicaGroup | None:
    """What the primary wants.

    :raises BadRequest: it can't be.
    """
    if wish.kind is WishKind.JOIN:
        return group.with_member(wish.address)
    if wish.kind is WishKind.REMOVE:
        return group.without_member(wish.address)
    if wish.kind is WishKind.SWITCH:
        return group.switched_to(wish.address)
    return group.renewed() if wish.kind is WishKind.RENEW else None  # who leads needn't stand
