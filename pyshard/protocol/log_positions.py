"""Positions in a shard's log, and where two replicas' logs are surely the same. Pure.

Rules:

- a group of the log has a ballot and a number. In all replicas of a shard one ballot and number mean one content;
- numbers rise by 1, and ballots never fall along a log;
- two logs that have the same ballot at the same number are the same up to there: whoever leads under a ballot first has
  all that came before it;
- ballot 0 is an exception. Groups of it were made by stores that were alone, so they say nothing of other stores'.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Annotated, TypeAlias

import msgspec

#: Pairs of a ballot and the number of its first group, both rising. Groups before the first pair aren't known.
BallotHistory: TypeAlias = tuple[tuple[int, int], ...]


#: Ballots that a history knows at the most. Who would need older ones begins with a copy.
MOST_BALLOTS = 1000

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class LogPosition(msgspec.Struct, array_like=True, frozen=True, order=True):
    """Where a log ends, or a place in it.

    :param ballot: of the group there; 0: it was made by a shard that had no replicas.
    :param sequence: the group's number; 0: before the first one.
    """

    ballot: _Number = 0
    sequence: _Number = 0


def with_group(history: BallotHistory, ballot: int, sequence: int) -> BallotHistory:
    """The history with one group more; the oldest ballots are forgotten (`MOST_BALLOTS`).

    :raises ValueError: its ballot is lower than that of the group before it.
    """
    if history and history[-1][0] > ballot:
        raise ValueError(
            f"ballot: found {ballot} behind {history[-1][0]}, expected that ballots never fall along a log"
        )
    return history if history and history[-1][0] == ballot else (*history, (ballot, sequence))[-MOST_BALLOTS:]


def cut_off(history: BallotHistory, sequence: int) -> BallotHistory:
    """The history of the groups up to a number."""
    return tuple(pair for pair in history if pair[1] <= sequence)


def ballot_at(history: BallotHistory, sequence: int) -> int | None:
    """The ballot of the group with a number, if the log has it; None: it is from before the history."""
    place = bisect_right(history, sequence, key=_first)
    return history[place - 1][0] if place else None


def common_point(mine: BallotHistory, my_last: int, theirs: BallotHistory, their_last: int) -> int:
    """The last number up to which two logs surely have the same groups; 0: none is known.

    :param mine: one log's history.
    :param my_last: the number of its last group.
    :param theirs: the other one's.
    :param their_last: the number of that one's last group.
    """
    spans = {ballot: (first, last) for ballot, first, last in _spans(theirs, their_last)}
    for ballot, first, last in reversed(_spans(mine, my_last)):
        if ballot and ballot in spans:
            their_first, their_end = spans[ballot]
            common = min(last, their_end)
            if common >= max(first, their_first):
                return common
    return 0


def _first(pair: tuple[int, int]) -> int:
    return pair[1]


def _spans(history: BallotHistory, last: int) -> Sequence[tuple[int, int, int]]:
    """Each ballot, and the numbers of its first and its last group."""
    behind = [*(first - 1 for _, first in history[1:]), last] if history else []
    return [(ballot, first, end) for (ballot, first), end in zip(history, behind, strict=True)]
