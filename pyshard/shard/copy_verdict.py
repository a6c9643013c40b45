"""What is known of a copy: whether its rows are equal to those of the source. Pure.

Rules:

- a copy may be sealed, or committed, only when it was found equal. It follows from then on, group by group;
- one in which few buckets differ is put right there (`pyshard.shard.repair_plan`), and compared again. What is still to
  be put right is remembered when the connection is lost, so that this is no further difference;
- that isn't saved: a shard that restarts compares once more. So a seal that comes in between is taken back.
"""

from __future__ import annotations

import attrs

from pyshard.model.range_moves import TargetReport
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.shard.repair_plan import RepairPortion


class CopyDiffers(Exception):
    """The rows of a copy aren't those that the source has, and too many to fetch just these again."""


@attrs.define
class CopyVerdict:
    """What is known of the copies of one pull.

    :ivar equal: whether the present one was found equal.
    :ivar differed: how often one wasn't.
    :ivar why: how it differed the last time; empty: none did.
    :ivar portions: what of the present one is still to be fetched again, before it is compared once more.
    :ivar refetched: how many buckets were fetched again, of all of them.
    :ivar compared: rows of the present one that any comparison has come to, since it was begun or put right.
    :ivar ended: how many comparisons, or fetches, one behind the other, a store ended before they were done.
    """

    equal: bool = False
    differed: int = 0
    why: str = ""
    portions: list[RepairPortion] = attrs.field(factory=list)
    refetched: int = 0
    compared: int = 0
    ended: int = 0

    def begin_copy(self) -> None:
        """Another copy is begun: nothing is known of it."""
        self.equal = False
        self.portions = []
        self.compared = 0

    @property
    def place(self) -> tuple[int, int, int]:
        """How far the judgement is. A source can't have it rise for ever: see `pyshard.shard.pull_stall`."""
        return self.differed, self.refetched, self.compared


def judged_report(report: TargetReport, verdict: CopyVerdict) -> TargetReport:
    """What a target says of itself, in which a copy that wasn't found equal is neither complete nor sealed."""
    ended = f"comparisons with the source that ended before they were done: {verdict.ended}" if verdict.ended else ""
    return attrs.evolve(
        report,
        complete=report.complete and verdict.equal,
        sealed=report.sealed if verdict.equal else 0,
        differed=verdict.differed,
        refetched=verdict.refetched,
        ended=verdict.ended,
        error=report.error or ("" if verdict.equal else verdict.why or ended),
    )


def indexes_of_both(one: ChangeGroup, other: ChangeGroup) -> frozenset[int]:
    """The ids of the indexes whose rows two stores should both have: those that neither of them has dropped.

    One that a store wasn't told of yet is among them: it has no rows there, and may have none in the other one.

    :param one: the head of a copy.
    :param other: of the other store.
    """
    heads = [({0, *(head.indexes or {}).values()}, head.next_index) for head in (one, other)]
    known = frozenset().union(*(present for present, _ in heads))
    return frozenset(
        number for number in known if all(number in present or number >= unknown for present, unknown in heads)
    )
