"""A group of three, and what its replicas ask and say, for tests by value."""

from __future__ import annotations

from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import MapReplica, ReplicaGroup
from pyshard.protocol.log_positions import BallotHistory, LogPosition
from pyshard.replication.pulls import Pull
from pyshard.replication.wishes import ReplicaReport, Wish, WishKind

A, B, C = "h:1", "h:2", "h:3"
HISTORY: BallotHistory = ((5, 1),)


def group_of(members: str = "ABC", ballot: int = 5, primary: str = A, least: int = 1) -> ReplicaGroup:
    """A group of A, B and C."""
    replicas = tuple(MapReplica("h", place, StoreId(f"store {place}", "1"), durable=True) for place in (1, 2, 3))
    addresses = frozenset(f"h:{'ABC'.index(name) + 1}" for name in members)
    return ReplicaGroup(ballot, primary, addresses, replicas, least)


def pull_of(
    address: str,
    last: int,
    beacon: bytes = b"",
    history: BallotHistory = HISTORY,
    ballot: int = 5,
    complete: bool = True,
    incarnation: str = "1",
) -> Pull:
    """What a replica asks."""
    return Pull(ballot, address, f"store {address[-1]}", incarnation, history, last, complete, beacon)


def report_of(
    address: str,
    wish: WishKind | None = None,
    of: str = "",
    position: int = 0,
    ballot: int = 5,
    complete: bool = True,
    failed: str = "",
    incarnation: str = "1",
) -> ReplicaReport:
    """What a replica says."""
    wanted = None if wish is None else Wish(wish, of or address)
    place = LogPosition(5, position)
    return ReplicaReport(f"store {address[-1]}", incarnation, True, ballot, place, complete, wanted, failed)
