"""Where two logs are the same, compared with a plain look at each group."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pyshard.protocol.log_positions import (
    MOST_BALLOTS,
    BallotHistory,
    LogPosition,
    ballot_at,
    common_point,
    cut_off,
    with_group,
)


def history_of(ballots: list[int]) -> BallotHistory:
    """The history of groups 1, 2, … with these ballots."""
    history: BallotHistory = ()
    for sequence, ballot in enumerate(ballots, 1):
        history = with_group(history, ballot, sequence)
    return history


RISING = some.lists(some.integers(0, 5), max_size=12).map(sorted)


@given(RISING)
def test_each_group_has_its_ballot(ballots: list[int]) -> None:
    """A history gives the ballot of each group, and of none before the first."""
    history = history_of(ballots)
    assert [ballot_at(history, sequence) for sequence in range(1, len(ballots) + 1)] == ballots
    assert ballot_at(history, 0) is None


def test_ballots_never_fall() -> None:
    """A group with a lower ballot than the one before it is refused."""
    with pytest.raises(ValueError, match="found 2 behind 3"):
        with_group(((3, 1),), 2, 5)


@given(RISING, some.integers(0, 12))
def test_cut(ballots: list[int], sequence: int) -> None:
    """What is cut off is as if it had never been."""
    assert cut_off(history_of(ballots), sequence) == history_of(ballots[:sequence])


@given(RISING, some.integers(0, 12), RISING, RISING)
def test_common_point(shared: list[int], kept: int, mine: list[int], theirs: list[int]) -> None:
    """It is the last number at which both logs have the same ballot.

    The ballots that each log has alone are different ones, as each has one leader.
    """
    top = max(shared, default=0)
    mine_all = shared + [top + 1 + 2 * ballot for ballot in mine]
    theirs_all = shared[:kept] + [top + 2 + 2 * ballot for ballot in theirs]
    pairs = enumerate(zip(mine_all, theirs_all, strict=False), 1)
    same = [number for number, pair in pairs if pair[0] == pair[1] > 0]
    found = common_point(history_of(mine_all), len(mine_all), history_of(theirs_all), len(theirs_all))
    assert found == max(same, default=0)


def test_old_ballots_are_forgotten() -> None:
    """A history doesn't grow for ever."""
    history: BallotHistory = ()
    for ballot in range(1, MOST_BALLOTS + 11):
        history = with_group(history, ballot, 10 * ballot)
    assert (len(history), history[0]) == (MOST_BALLOTS, (11, 110))
    assert (ballot_at(history, 109), ballot_at(history, 110)) == (None, 11)


def test_unknown_beginning() -> None:
    """Histories that begin after a copy know nothing of what came before, unless both have that ballot."""
    assert common_point(((4, 100),), 120, ((3, 1),), 90) == 0
    assert common_point(((4, 100),), 120, ((4, 50),), 90) == 0
    assert common_point(((4, 100),), 120, ((4, 50),), 110) == 110


def test_groups_of_lone_stores() -> None:
    """Stores that were alone have nothing in common, though both have groups with the same numbers."""
    assert common_point(((0, 1),), 50, ((0, 1),), 60) == 0
    assert common_point(((0, 1), (1, 40)), 50, ((0, 1), (1, 40)), 60) == 50
    assert common_point(((0, 1), (1, 40)), 50, ((0, 1), (2, 40)), 60) == 0


def test_positions_are_ordered() -> None:
    """By ballot first."""
    assert LogPosition(2, 1) > LogPosition(1, 9)
