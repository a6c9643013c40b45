"""What is known of a copy, by value."""

from __future__ import annotations

import attrs
import pytest

from pyshard.model.range_moves import StoreId, TargetReport
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.shard.copy_verdict import CopyVerdict, indexes_of_both, judged_report
from pyshard.shard.repair_plan import RepairPortion

REPORT = TargetReport(StoreId("b", "1"), complete=True, bytes_behind=5, sealed=3)


def test_not_complete_before_it_is_equal() -> None:
    """Neither complete nor sealed; all else is told."""
    assert judged_report(REPORT, CopyVerdict()) == attrs.evolve(REPORT, complete=False, sealed=0)
    assert judged_report(REPORT, CopyVerdict(equal=True)) == REPORT
    unfinished = attrs.evolve(REPORT, complete=False, sealed=0)
    assert judged_report(unfinished, CopyVerdict(equal=True)) == unfinished


def test_copies_that_differed() -> None:
    """How many, and how the last one did, until one is equal."""
    assert judged_report(REPORT, CopyVerdict(False, 2, "why")) == attrs.evolve(
        REPORT, complete=False, sealed=0, differed=2, error="why"
    )
    assert judged_report(REPORT, CopyVerdict(ended=3)) == attrs.evolve(
        REPORT,
        complete=False,
        sealed=0,
        ended=3,
        error="comparisons with the source that ended before they were done: 3",
    )
    assert judged_report(REPORT, CopyVerdict(True, 2, "why")) == attrs.evolve(REPORT, differed=2)
    assert judged_report(REPORT, CopyVerdict(True, 2, "why", refetched=5)).refetched == 5
    failed = attrs.evolve(REPORT, error="the connection was lost")
    assert judged_report(failed, CopyVerdict(False, 2, "why")).error == "the connection was lost"


def test_another_copy() -> None:
    """Nothing is known of it, but what was found of those before is told still."""
    verdict = CopyVerdict(True, 2, "why", [RepairPortion(1, ((0, 5),))], 4)
    verdict.begin_copy()
    assert verdict == CopyVerdict(False, 2, "why", [], 4)


def head(next_index: int, *indexes: int) -> ChangeGroup:
    """A head with some named indexes."""
    return ChangeGroup(1, 0, 1, [], {f"i{number}": number for number in indexes}, None, next_index)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (head(1), head(1), {0}),
        (head(4, 1, 3), head(4, 1, 3), {0, 1, 3}),
        (head(4, 1, 3), head(4, 1, 2, 3), {0, 1, 3}),  # 2 was dropped by one of them
        (head(2, 1), head(4, 1, 3), {0, 1, 3}),  # one wasn't told of 3 yet: it has no rows of it, nor may the other
        (head(2), head(4, 1, 3), {0, 3}),
        (ChangeGroup(1, 0, 1, []), head(1), {0}),
    ],
)
def test_indexes_of_both(one: ChangeGroup, other: ChangeGroup, both: set[int]) -> None:
    """Those that neither has dropped."""
    assert indexes_of_both(one, other) == both
    assert indexes_of_both(other, one) == both
