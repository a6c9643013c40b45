"""What a bootstrap makes of what replicas report."""

from __future__ import annotations

import pytest
from replication.group_samples import A, B, C, group_of, report_of

from pyshard.errors import BadRequest
from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.group_decision import next_group
from pyshard.replication.wishes import ReplicaReport, WishKind

LEAD, RENEW = WishKind.LEAD, WishKind.RENEW


def decided(group: ReplicaGroup, **reports: ReplicaReport) -> ReplicaGroup | None:
    """What comes of the reports of A, B and C."""
    return next_group(group, {{"A": A, "B": B, "C": C}[name]: report for name, report in reports.items()})


@pytest.mark.parametrize(
    ("kind", "of", "members", "primary"),
    [
        (WishKind.JOIN, C, "ABC", A),
        (WishKind.REMOVE, B, "A", A),
        (WishKind.SWITCH, B, "AB", B),
        (WishKind.RENEW, A, "AB", A),
    ],
)
def test_what_the_primary_wants(kind: WishKind, of: str, members: str, primary: str) -> None:
    """It is granted, whatever others want."""
    wanted = decided(group_of("AB"), A=report_of(A, kind, of), B=report_of(B, LEAD, position=99))
    assert wanted == group_of(members, 6, primary)


def test_nothing_to_do() -> None:
    """The primary wants nothing, or nobody does."""
    assert decided(group_of(), A=report_of(A), B=report_of(B, LEAD)) is None
    assert decided(group_of(), B=report_of(B), C=report_of(C)) is None
    assert decided(group_of()) is None


def test_who_has_the_most_leads() -> None:
    """The old primary is no member any more."""
    wanted = decided(group_of(), B=report_of(B, LEAD, position=7), C=report_of(C, LEAD, position=8))
    assert wanted == group_of("BC", 6, C)


@pytest.mark.parametrize(
    "report",
    [
        report_of(B, LEAD, ballot=4),
        report_of(B, LEAD, ballot=6),
        report_of(B, LEAD, incarnation="2"),
        report_of(B, LEAD, complete=False),
        report_of(B, LEAD, failed="its disk"),
        report_of(B, LEAD, of=C),
        report_of(B, RENEW),
        report_of(B),
    ],
)
def test_who_does_not_lead(report: ReplicaReport) -> None:
    """Of another ballot or store, without all, with a disk that fails, or without standing."""
    assert decided(group_of(), B=report) is None


def test_nobody_from_outside_leads() -> None:
    """A learner isn't promoted, whatever it has and says."""
    assert decided(group_of("AB"), C=report_of(C, LEAD, position=99)) is None


@pytest.mark.parametrize(
    "primary", [report_of(A, failed="its disk"), report_of(A, RENEW, failed="its disk"), report_of(A, ballot=4),
                report_of(A, RENEW, incarnation="2")]
)  # fmt: skip
def test_primary_that_does_not_count(primary: ReplicaReport) -> None:
    """Its disk fails, or it is of another ballot or store: another member leads when it may."""
    assert decided(group_of(), A=primary, B=report_of(B)) is None
    assert decided(group_of(), A=primary, B=report_of(B, LEAD)) == group_of("BC", 6, B)


def test_lone_primary_tries_again() -> None:
    """If its disk failed, and nobody else could lead, by a new ballot."""
    failed = report_of(A, RENEW, failed="its disk")
    assert decided(group_of("A"), A=failed) == group_of("A", 6)
    assert decided(group_of("A"), A=report_of(A, failed="its disk")) is None


def test_what_can_not_be() -> None:
    """The primary wants to be removed."""
    with pytest.raises(BadRequest, match="switch to another member first"):
        decided(group_of(), A=report_of(A, WishKind.REMOVE, A))


def test_primary_does_not_stand() -> None:
    """It leads already."""
    assert decided(group_of(), A=report_of(A, LEAD)) is None
