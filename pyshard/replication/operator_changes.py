"""What an operator may have become of a group of replicas: the next group, or why it can't be. Pure.

Rules:

- a replica that is removed leaves the group altogether. A member that were made a learner would join again by itself;
- the primary isn't removed: another member leads first;
- a member goes if enough members are left for changes, unless the operator insists;
- a replica that isn't a member, or may lack something, leads only while nobody answers who surely has all that was
  acknowledged. What it lacks is lost then.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyshard.errors import BadRequest
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.wishes import ReplicaReport


def without_replica(group: ReplicaGroup, address: str, force: bool) -> ReplicaGroup:
    """The group without a replica.

    :param force: also if the shard takes no changes then.
    :raises BadRequest: it can't be; the message says why, and what to do.
    """
    _check_known(group, address)
    if address == group.primary:
        raise BadRequest(
            f"replica: found {address}, which leads; switch to another member first (pyshard replica switch)"
        )
    left = len(group.members - {address})
    if address in group.members and left < group.least and not force:
        raise BadRequest(
            f"replica: found {address}, without which {left} would have all documents, and min_replicas is "
            f"{group.least}: the shard would take no changes. Wait until another one has them all, lower min_replicas "
            "in the config, or insist (--force)"
        )
    rest = [replica for replica in group.replicas if replica.address != address]
    gone = group.without_member(address)
    return gone.with_replicas(rest, min(group.least, len(rest)), group.lease)


def promoted(
    group: ReplicaGroup, address: str, reports: Mapping[str, ReplicaReport], accept_loss: bool
) -> ReplicaGroup:
    """The group that begins anew with one replica, which may lack what was acknowledged.

    :param reports: address → what each replica said just now.
    :param accept_loss: whether the operator accepts that.
    :raises BadRequest: it can't be; the message says why, and what to do.
    """
    _check_known(group, address)
    if not accept_loss:
        raise BadRequest("replica: what it lacks would be lost; promote it with --accept-loss if that has to be")
    if address == group.primary or group.primary in reports:
        raise BadRequest(
            f"replica: the primary {group.primary} answers; have another one lead by 'pyshard replica switch', which "
            "loses nothing. If the primary's disk has failed, stop it first"
        )
    for other in sorted(group.others & reports.keys()):
        report = reports[other]
        if report.complete and not report.failed and _is_known(group, other, report):
            raise BadRequest(
                f"replica: the member {other} answers, and has all that was acknowledged; it leads by itself within "
                f"{2 * group.lease:g} s, when its promise has run out. If its disk has failed, stop it first"
            )
    own = reports.get(address)
    if own is None:
        raise BadRequest(f"replica: {address} gives no answer; start it, and try again")
    if not own.complete or not _is_known(group, address, own):
        raise BadRequest(
            f"replica: {address} has an unfinished copy, or another store than it had: that is no state in which the "
            'shard ever was. Promote another one, or restore a backup (the documentation, "Backups")'
        )
    return group.begun_anew(address)


def _check_known(group: ReplicaGroup, address: str) -> None:
    if group.at(address) is None:
        known = ", ".join(replica.address for replica in group.replicas)
        raise BadRequest(f"replica: found {address}, expected one of {known}")


def _is_known(group: ReplicaGroup, address: str, report: ReplicaReport) -> bool:
    return group.holds(address, StoreId(report.identity, report.incarnation))
