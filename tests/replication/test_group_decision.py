"""What a bootstrap makes of what replicas report."""

from __future__ import annotations

import pytest
from replication.group_samples import A, B, C, group_of, report_of

from pyshard.errors import BadRequest
from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.group_decision import PrimaryAbsence, next_group
from pyshard.replication.wishes import ReplicaReport, WishKind

LEAD, RENEW = WishKind.LEAD, WishKind.RENEW


def decided(group: ReplicaGroup, absent: float = 3.0, **reports: ReplicaReport) -> ReplicaGroup | None:
    """What comes of the reports of A, B and C, where the primary has been absent for so many seconds, if it is."""
    return next_group(group, {{"A": A, "B": B, "C": C}[name]: report for name, report in reports.items()}, absent)


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


def test_nobody_leads_at_once() -> None:
    """Not before the primary has been absent for the lease, whoever says that its promise has run out by then."""
    says = {"B": report_of(B, LEAD, position=2**40), "C": report_of(C)}
    assert decided(group_of(), 2.9, **says) is None
    assert decided(group_of(), 2.9, **says, A=report_of(A, failed="its disk")) is None
    assert decided(group_of(), 3.0, **says) == group_of("BC", 6, B)


def test_absence() -> None:
    """It is counted from the first question in vain, under each ballot anew, until the primary is heard again."""
    absence, group = PrimaryAbsence(), group_of()
    assert absence.note(group, True, 9.9, 10.0) == 0.0
    assert [absence.note(group, False, at - 0.5, at) for at in (10.75, 11.25, 12.25)] == [0.5, 1.0, 2.0]
    assert absence.note(group_of(ballot=6), False, 12.5, 13.0) == 0.5
    assert absence.note(group_of(ballot=6), True, 13.0, 13.5) == 0.0
    assert absence.note(group_of(ballot=6), False, 14.0, 14.5) == 0.5


def test_who_asks_stands_still() -> None:
    """Half a lease counts of it at the most, before the first question's end or behind it."""
    absence, group = PrimaryAbsence(), group_of()
    assert absence.note(group, False, 0.0, 50.0) == 1.5
    assert absence.note(group, False, 50.25, 50.5) == 2.0
    assert absence.note(group, False, 80.0, 80.5) == 3.5


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
