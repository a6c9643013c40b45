"""What an operator may have become of a group, by value."""

from __future__ import annotations

import attrs
import msgspec
import pytest

from pyshard.errors import BadRequest
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import MapReplica, ReplicaGroup
from pyshard.replication.operator_changes import promoted, without_replica
from pyshard.replication.wishes import ReplicaReport

A, B, C = (MapReplica("h", port, StoreId(f"{port}d", "i"), True) for port in (1, 2, 3))
TRIO = ReplicaGroup(5, "h:1", frozenset({"h:1", "h:2", "h:3"}), (A, B, C), 2)
DUO = ReplicaGroup(5, "h:1", frozenset({"h:1", "h:2"}), (A, B, C), 2)  # h:3 is a learner


def report(port: int, **changed: object) -> ReplicaReport:
    """What the replica at a port says when all is well."""
    return msgspec.structs.replace(ReplicaReport(f"{port}d", "i", True, 5), **changed)


def test_removed() -> None:
    """It is in the group no more at all: as a learner it would join again."""
    group = without_replica(TRIO, "h:2", force=False)
    assert group.members == {"h:1", "h:3"}
    assert (*group.replicas, group.least) == (A, C, 2)
    assert group.ballot > TRIO.ballot
    assert without_replica(DUO, "h:3", force=False).replicas == (A, B)


def test_removed_below_the_least() -> None:
    """Not without being told so; and of one that is left alone nobody else is demanded."""
    with pytest.raises(BadRequest, match=r"without which 1 would have all documents, and min_replicas is 2.*--force"):
        without_replica(DUO, "h:2", force=False)
    group = without_replica(DUO, "h:2", force=True)
    assert group.members == {"h:1"}
    assert group.least == 2, "the learner is still to come"
    alone = without_replica(without_replica(DUO, "h:3", force=False), "h:2", force=True)
    assert alone.members == {"h:1"}
    assert (*alone.replicas, alone.least) == (A, 1)


@pytest.mark.parametrize(
    ("address", "why"), [("h:1", "which leads; switch to another"), ("h:9", "expected one of h:1")]
)
def test_not_removed(address: str, why: str) -> None:
    """The primary, and who isn't there."""
    with pytest.raises(BadRequest, match=why):
        without_replica(TRIO, address, force=True)


def test_promoted() -> None:
    """When nobody answers who has all: one begins anew, and all others become copies of it."""
    group = promoted(DUO, "h:3", {"h:3": report(3)}, accept_loss=True)
    assert group.members == {"h:3"}
    assert (group.primary, *group.learners) == ("h:3", "h:1", "h:2")
    failing = {"h:3": report(3), "h:2": report(2, failed="its disk is broken")}
    assert promoted(DUO, "h:3", failing, accept_loss=True).primary == "h:3"


@pytest.mark.parametrize(
    ("address", "answers", "why"),
    [
        ("h:3", {"h:3": report(3), "h:1": report(1)}, "the primary h:1 answers.*switch"),
        ("h:3", {"h:3": report(3), "h:2": report(2)}, "the member h:2 answers, and has all.*by itself within 6 s"),
        ("h:3", {}, "h:3 gives no answer; start it"),
        ("h:3", {"h:3": report(3, complete=False)}, "h:3 has an unfinished copy"),
        ("h:3", {"h:3": report(3, incarnation="other")}, "or another store"),
        ("h:1", {}, "the primary h:1 answers"),
        ("h:9", {}, "expected one of h:1, h:2, h:3"),
    ],
)
def test_not_promoted(address: str, answers: dict[str, ReplicaReport], why: str) -> None:
    """While somebody answers who surely has all, or where there is nothing to begin with."""
    with pytest.raises(BadRequest, match=why):
        promoted(DUO, address, answers, accept_loss=True)


def test_loss_is_accepted_by_name() -> None:
    """Nothing is lost by a slip."""
    with pytest.raises(BadRequest, match="--accept-loss"):
        promoted(DUO, "h:3", {"h:3": report(3)}, accept_loss=False)
    assert attrs.evolve(DUO) == DUO
