"""What a shard has to do for moves, by value."""

from __future__ import annotations

import attrs
import pytest

from pyshard.model.range_moves import Phase, RangeMove, SourceReport, StoreId, TargetReport
from pyshard.protocol.store_ranges import Origin, StoreRanges
from pyshard.shard.move_duties import (
    ToForget,
    ToSeal,
    ToUnseal,
    ToUnstage,
    duties,
    is_held,
    pulls,
    source_report,
    target_report,
)
from pyshard.shard.pull_progress import PullProgress

A, B = StoreId("a", "1"), StoreId("b", "1")
RANGES = ((10, 20),)
MOVE = RangeMove(7, "giver", "taker", RANGES).begun(A, B)
SEALING = MOVE.sealing()
GIVER = StoreRanges(((0, 100),))
TAKER = StoreRanges(((100, 200),))
STAGED = TAKER.staging("move 7", RANGES, Origin("a", "1"))
SEALED = GIVER.sealing("move 7", RANGES, 1)
ENDED = [MOVE.cancelled("why"), SEALING.committed()]


def test_sealed_as_the_state_says() -> None:
    """By the attempt of the state, once; a later attempt seals anew."""
    assert duties("giver", [SEALING], GIVER, ["move 7"]) == [ToSeal("move 7", RANGES, 1)]
    assert duties("giver", [SEALING], SEALED, ["move 7"]) == []
    again = SEALING.unsealed("why").sealing()
    assert duties("giver", [again], SEALED, ["move 7"]) == [ToSeal("move 7", RANGES, 2)]
    assert duties("giver", [again], GIVER, ["move 7"]) == [ToSeal("move 7", RANGES, 2)]


@pytest.mark.parametrize("moves", [[], [SEALING.unsealed("why")]], ids=["gone", "taken back"])
def test_unsealed_as_the_state_says(moves: list[RangeMove]) -> None:
    """A seal that the state hasn't any more is taken back."""
    followers = ["move 7"] if moves else []
    assert duties("giver", moves, SEALED, followers) == [ToUnseal("move 7")]


def test_an_older_state_opens_nothing() -> None:
    """A source that was killed before it remembered why it is sealed stays so until it is told of that attempt."""
    assert duties("giver", [MOVE], SEALED, ["move 7"]) == []
    again = GIVER.sealing("move 7", RANGES, 2)
    assert duties("giver", [SEALING.unsealed("why")], again, ["move 7"]) == []
    assert duties("giver", [SEALING.unsealed("why").sealing().unsealed("why")], again, ["move 7"]) == [
        ToUnseal("move 7")
    ]


@pytest.mark.parametrize("move", ENDED)
def test_ended(move: RangeMove) -> None:
    """The source opens what it still owns, and keeps nothing for the target."""
    opened = [ToUnseal("move 7")] if move.phase is Phase.CANCELLED else []  # else the seal goes with the slots
    assert duties("giver", [move], SEALED, ["move 7"]) == [*opened, ToForget("move 7")]
    assert duties("taker", [move], TAKER, []) == []


def test_held() -> None:
    """What has reached a seal is held until the state has decided about just this attempt."""
    assert not is_held(MOVE, 0)
    assert is_held(MOVE, 1)  # the state isn't here yet
    assert is_held(SEALING, 1)
    assert not is_held(SEALING.unsealed("why"), 1)
    again = SEALING.unsealed("why").sealing()
    assert not is_held(again, 1)
    assert is_held(again, 2)
    assert is_held(SEALING, 2)
    assert is_held(None, 1)
    assert all(is_held(move, 1) for move in ENDED)


def test_what_is_committed_is_never_given_up() -> None:
    """Until the target owns it, it stays staged. What is cancelled goes."""
    cancelled, committed = ENDED
    assert duties("taker", [committed], STAGED.absorbed("move 7", 9), []) == []
    assert duties("taker", [cancelled], STAGED.absorbed("move 7", 9), []) == [ToUnstage("move 7")]


def test_others_moves() -> None:
    """A shard has nothing to do with moves between others; what it has of unknown moves goes."""
    assert duties("other", [SEALING], GIVER, []) == []
    assert duties("giver", [], GIVER, ["move 3"]) == [ToForget("move 3")]
    assert duties("taker", [], STAGED, []) == [ToUnstage("move 7")]


def test_pulls() -> None:
    """A target pulls from when the stores are named until it is decided."""
    planned = RangeMove(7, "giver", "taker", RANGES)
    moves = [planned, MOVE, SEALING, *ENDED]
    assert pulls("taker", moves, TAKER.owned) == [MOVE, SEALING]
    assert pulls("giver", moves, GIVER.owned) == []
    assert duties("taker", [MOVE], STAGED, []) == []


def test_what_was_committed_is_not_pulled_again() -> None:
    """A target that was killed when its store owned the slots, and doesn't remember it, waits to be told again."""
    owning = STAGED.absorbed("move 7", 5, None).owning(((10, 20), (100, 200)))
    assert pulls("taker", [SEALING], owning.owned) == []
    assert duties("taker", [SEALING], owning, []) == []


@pytest.mark.parametrize("move", ENDED)
def test_what_a_source_says(move: RangeMove) -> None:
    """It is clean when there is no seal, nothing kept, and nothing left over of these ranges."""
    assert source_report(move, A, GIVER, [], True) == SourceReport(A, clean=True)
    assert source_report(move, A, SEALED, [], True) == SourceReport(A, clean=False)
    assert source_report(move, A, GIVER, ["move 7"], True) == SourceReport(A, clean=False)
    gone = GIVER.owning(((0, 10), (20, 100)))
    assert source_report(move, A, gone, [], True) == SourceReport(A, clean=False)
    assert source_report(move, A, gone.trimmed(), [], True) == SourceReport(A, clean=True)


def test_done_when_the_end_is_remembered() -> None:
    """Who was killed before it remembered that a move is committed must be told of that again, not of its absence."""
    gone, owned = GIVER.owning(((0, 10), (20, 100))).trimmed(), TAKER.owning(((10, 20), (100, 200)))
    committed, nothing = SEALING.committed(), PullProgress()
    assert not source_report(committed, A, gone, [], False).clean
    assert not target_report(committed, B, owned, nothing, "", 5.0, False).clean
    assert not source_report(SEALING, A, gone, [], True).clean
    assert not target_report(SEALING, B, owned, nothing, "", 5.0, True).clean


def test_what_a_target_says() -> None:
    """How far its copy is, what it lacks, and whether anything is left of a copy that was given up."""
    nothing, behind = PullProgress(), PullProgress(behind=300, even=4.5)
    assert target_report(MOVE, B, STAGED, nothing, "", 5.0, True) == TargetReport(B, False, 0, 1e9, 0, False)
    complete = STAGED.absorbed("move 7", 9)
    sealed = complete.absorbed("move 7", 10, GIVER.sealing("move 7", RANGES, 2)).absorbed("move 7", 11)
    assert target_report(MOVE, B, sealed, behind, "", 5.0, True) == TargetReport(B, True, 300, 0.5, 2, False)
    assert target_report(MOVE, B, sealed, behind, "", 4.0, True).seconds_behind == 0
    given_up, cancelled = complete.unstaged("move 7"), MOVE.cancelled("why")
    assert target_report(cancelled, B, given_up, nothing, "", 5.0, True).clean is False
    assert target_report(cancelled, B, given_up.trimmed(), nothing, "", 5.0, True).clean is True
    owned = complete.owning(((10, 20), (100, 200)))
    assert target_report(attrs.evolve(MOVE, phase=Phase.COMMITTED), B, owned, nothing, "", 5.0, True).clean is True


def test_what_a_target_says_of_its_copy() -> None:
    """How much it has, of how much, how fast, and why it doesn't go on."""
    progress = PullProgress()
    progress.begin(1000, 10.0)
    progress.add(3, 400, 12.0)
    progress.chasing = 9.5
    found = target_report(MOVE, B, STAGED, progress, "no room", 12.0, True)
    assert found.chasing == 2.5
    assert (found.copies, found.documents, found.size, found.expected) == (1, 3, 400, 1000)
    assert (found.rate, found.error) == (200.0, "no room")
