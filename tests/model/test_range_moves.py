"""What becomes of a move of a range, given what its two sides say of themselves."""

from __future__ import annotations

from itertools import product

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.model.range_moves import (
    BYTES_BEHIND,
    FOLLOWS,
    MOST_DIFFERED,
    MOST_SEALS,
    SEALED_AGAIN,
    SEALED_AT_MOST,
    SECONDS_BEHIND,
    Phase,
    RangeMove,
    SourceReport,
    StoreId,
    TargetReport,
    done_sides,
    is_over,
    next_step,
)
from pyshard.settings import settings

A, B, LOST = StoreId("a", "1"), StoreId("b", "1"), StoreId("a", "2")
PLANNED = RangeMove(7, "giver", "taker", ((10, 20),))
MOVE = PLANNED.begun(A, B)
SOURCE = SourceReport(A)
EVEN = TargetReport(B, complete=True)


def test_begun_when_both_are_there() -> None:
    """A planned move takes down both stores as they are when it begins."""
    assert next_step(PLANNED, SourceReport(A), TargetReport(B), 0) == MOVE
    assert (MOVE.phase, MOVE.source_store, MOVE.target_store) == (Phase.COPYING, A, B)
    assert next_step(PLANNED, None, TargetReport(B), 0) is None
    assert next_step(PLANNED, SourceReport(A), None, 0) is None


def test_sealed_when_nearly_even() -> None:
    """A copy that is complete and lacks little is sealed, with a new attempt each time."""
    assert next_step(MOVE, SOURCE, EVEN, 0) == attrs.evolve(MOVE, phase=Phase.SEALING, attempt=1)
    again = MOVE.sealing().unsealed("why")
    assert (again.phase, again.attempt, again.why) == (Phase.COPYING, 1, "why")
    assert next_step(again, SOURCE, EVEN, SEALED_AGAIN) == attrs.evolve(MOVE, phase=Phase.SEALING, attempt=2)
    at_most = attrs.evolve(EVEN, bytes_behind=BYTES_BEHIND, seconds_behind=SECONDS_BEHIND)
    assert next_step(MOVE, SOURCE, at_most, 0) is not None


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (None, EVEN),
        (SOURCE, None),
        (SOURCE, TargetReport(B)),
        (SOURCE, attrs.evolve(EVEN, bytes_behind=BYTES_BEHIND + 1)),
        (SOURCE, attrs.evolve(EVEN, seconds_behind=SECONDS_BEHIND * 1.01)),
    ],
)
def test_not_sealed_before(source: SourceReport | None, target: TargetReport | None) -> None:
    """Else nothing is sealed, however long it takes."""
    assert next_step(MOVE, source, target, 1e6) is None


@pytest.mark.parametrize("move", [MOVE, MOVE.sealing(), MOVE.waiting(True)])
def test_copies_that_differ(move: RangeMove) -> None:
    """When the copy wasn't equal to what the source has several times, the move is cancelled, whatever else is said."""
    seldom = attrs.evolve(EVEN, complete=False, differed=MOST_DIFFERED - 1)
    assert next_step(move, SOURCE, seldom, 0) is None
    for target in (attrs.evolve(seldom, differed=MOST_DIFFERED), attrs.evolve(EVEN, differed=MOST_DIFFERED + 1)):
        step = next_step(move, SOURCE, target, 0)
        assert step is not None
        assert step.phase is Phase.CANCELLED
        assert step.why == (
            f"the copy was compared {target.differed} times with what shard 'giver' has, and never equal; the log of "
            "shard 'taker' says where"
        )
    assert next_step(MOVE.sealing().committed(), SOURCE, attrs.evolve(EVEN, differed=9), 0) is None


def test_committed_by_this_attempt_alone() -> None:
    """A target that has reached the seal has all. One that has reached an older seal doesn't count."""
    sealed = MOVE.sealing().unsealed("").sealing()
    for reached, expected in ((0, None), (1, None), (2, Phase.COMMITTED), (3, None)):
        step = next_step(sealed, SOURCE, attrs.evolve(EVEN, sealed=reached), 0)
        assert (step and step.phase) == expected
    step = next_step(sealed, None, attrs.evolve(EVEN, sealed=2), SEALED_AT_MOST)
    assert step is not None
    assert step.phase is Phase.COMMITTED  # what is sealed stays so, whether or not the source can be asked


@pytest.mark.parametrize("target", [None, EVEN, attrs.evolve(EVEN, sealed=4)])
def test_seal_taken_back(target: TargetReport | None) -> None:
    """A seal that has brought nothing on in time is taken back."""
    sealed = MOVE.sealing()
    assert next_step(sealed, SOURCE, target, SEALED_AT_MOST - 0.01) is None
    step = next_step(sealed, SOURCE, target, SEALED_AT_MOST)
    assert step is not None
    assert (step.phase, step.attempt) == (Phase.COPYING, 1)
    assert "within 2 s" in step.why


def test_seals_that_never_bring_anything_on() -> None:
    """The next one waits twice as long each time; after some of them the move is cancelled, but none that is paused."""
    move, waited = MOVE, 0.0
    for attempt in range(1, MOST_SEALS + 1):
        before = 0.0 if attempt == 1 else SEALED_AGAIN * 2 ** (attempt - 2)
        if before:
            assert next_step(move, SOURCE, EVEN, before - 0.01) is None
        step = next_step(move, SOURCE, EVEN, before)
        assert step == attrs.evolve(move, phase=Phase.SEALING, attempt=attempt, why="")
        back = next_step(step, SOURCE, EVEN, SEALED_AT_MOST)
        assert back is not None
        move, waited = back, waited + before
    assert waited == SEALED_AGAIN * (2 ** (MOST_SEALS - 1) - 1)
    assert next_step(move.waiting(True), SOURCE, EVEN, 0) is None
    ended = next_step(move, SOURCE, EVEN, 0)
    assert ended is not None
    assert (ended.phase, ended.attempt) == (Phase.CANCELLED, MOST_SEALS)
    assert ended.why == (
        "these slots were closed 5 times, and each time opened again, the last time since the target hadn't all within "
        "2 s of the seal; see why shard 'taker' is slow, or move less at a time"
    )
    assert next_step(attrs.evolve(move, attempt=2**63), SOURCE, EVEN, 0) == attrs.evolve(
        ended, attempt=2**63, why=ended.why.replace("5 times", f"{2**63} times")
    )


@pytest.mark.parametrize("move", [MOVE, MOVE.sealing()])
def test_another_store(move: RangeMove) -> None:
    """A store that has lost what it had ends a move before it is committed, also one whose target has all."""
    everything = attrs.evolve(EVEN, sealed=1)
    for source, target, name in [
        (SourceReport(LOST), everything, "giver"),
        (SOURCE, attrs.evolve(everything, store=LOST), "taker"),
        (None, attrs.evolve(everything, store=StoreId("c", "1")), "taker"),
        (SourceReport(LOST), None, "giver"),
    ]:
        step = next_step(move, source, target, 0)
        assert step is not None
        assert step.phase is Phase.CANCELLED
        assert name in step.why


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (attrs.evolve(EVEN, seconds_behind=1e9, chasing=settings.MOVE_CATCHES_UP + 1), "hasn't caught up"),
        (TargetReport(B, copies=settings.MOVE_COPIES, error="no room", failed=True), "no room"),
        (TargetReport(B, copies=settings.MOVE_COPIES + 1), "--followed-log-size"),
        (TargetReport(B, copies=1, ended=settings.MOVE_COPIES), "each time one of the two shards ended that"),
        (
            TargetReport(B, stalled=settings.MOVE_STALLS + 1, error="no such row"),
            "see the logs of both shards: ",
        ),
    ],
)
def test_cancelled_when_it_cannot_end(target: TargetReport, why: str) -> None:
    """A target that can't catch up, or can't complete its copy, ends the move, with the reason; but none that waits."""
    step = next_step(MOVE, SOURCE, target, 0)
    assert step is not None
    assert step.phase is Phase.CANCELLED
    assert why in step.why
    assert next_step(MOVE.waiting(True), SOURCE, target, 0) is None
    sealing = next_step(MOVE.sealing(), SOURCE, target, 0)
    assert sealing is None


@pytest.mark.parametrize(
    "target",
    [
        attrs.evolve(EVEN, seconds_behind=1e9, chasing=settings.MOVE_CATCHES_UP),
        attrs.evolve(EVEN, seconds_behind=1e9, error="the connection was closed"),
        TargetReport(B, copies=settings.MOVE_COPIES),
        TargetReport(B, stalled=settings.MOVE_STALLS),
        TargetReport(B, copies=settings.MOVE_COPIES - 1, error="no room", failed=True),
        TargetReport(B, copies=settings.MOVE_COPIES, error="why an earlier copy failed"),
        TargetReport(B, copies=1, ended=settings.MOVE_COPIES - 1, error="one comparison ended"),
        attrs.evolve(EVEN, seconds_behind=1e9, error="it was closed", failed=True, copies=settings.MOVE_COPIES),
        attrs.evolve(EVEN, seconds_behind=1e9, copies=settings.MOVE_COPIES + 5),
    ],
)
def test_not_cancelled_before(target: TargetReport) -> None:
    """However long it takes: a source that can't be reached is waited for."""
    assert next_step(MOVE, SOURCE, target, 1e6) is None


def test_forgotten_when_both_are_clean() -> None:
    """A move that has ended stays until nothing is left of it on either side."""
    clean_source, clean_target = attrs.evolve(SOURCE, clean=True), attrs.evolve(EVEN, clean=True)
    for ended in (MOVE.cancelled("why"), MOVE.sealing().committed()):
        assert next_step(ended, SourceReport(LOST), EVEN, 1e6) is None
        assert is_over(ended, clean_source, clean_target)
        assert is_over(ended, SourceReport(LOST), clean_target)
        assert not is_over(ended, SOURCE, clean_target)
        assert not is_over(ended, clean_source, EVEN)
        assert not is_over(ended, None, clean_target)
    assert not is_over(MOVE, clean_source, clean_target)


def test_each_side_is_done_by_itself() -> None:
    """Whatever the other one says, or doesn't."""
    clean = attrs.evolve(SOURCE, clean=True)
    for target in (None, EVEN):
        assert done_sides(MOVE.cancelled("why"), clean, target) == {"giver"}
        assert done_sides(MOVE.cancelled("why"), SourceReport(LOST), target) == {"giver"}
    assert done_sides(MOVE.cancelled("why"), SOURCE, attrs.evolve(EVEN, clean=True)) == {"taker"}
    assert done_sides(MOVE.cancelled("why"), None, None) == set()


def test_phases_follow_as_the_table_says() -> None:
    """Whatever may not follow is an error."""
    ways = {
        Phase.PLANNED: lambda move: move,
        Phase.COPYING: lambda move: move.begun(A, B) if move.phase is Phase.PLANNED else move.unsealed("why"),
        Phase.SEALING: lambda move: move.sealing(),
        Phase.COMMITTED: lambda move: move.committed(),
        Phase.CANCELLED: lambda move: move.cancelled("why"),
    }
    for before, after in product(Phase, Phase):
        move = attrs.evolve(MOVE, phase=before)
        if after in FOLLOWS[before]:
            assert ways[after](move).phase is after
        elif after is not Phase.PLANNED:
            with pytest.raises(ValueError, match=f"is {before.value}, and can.t become {after.value}"):
                ways[after](move)


stores = st.sampled_from([A, B, LOST])
sources = st.none() | st.builds(SourceReport, stores, st.booleans())
targets = st.none() | st.builds(
    TargetReport, stores, st.booleans(), st.sampled_from([0, 1 << 30]), st.sampled_from([0.0, 9.0]), st.integers(0, 4)
)


@given(st.lists(st.tuples(sources, targets, st.floats(0, 5)), max_size=30))
def test_any_history(reports: list[tuple[SourceReport | None, TargetReport | None, float]]) -> None:
    """Phases follow each other as they may, attempts rise, and what is committed was reached by the last attempt."""
    move = MOVE
    for source, target, seconds in reports:
        step = next_step(move, source, target, seconds)
        if step is None:
            continue
        assert step.phase in FOLLOWS[move.phase]
        assert step.attempt == move.attempt + (step.phase is Phase.SEALING)
        if step.phase is Phase.COMMITTED:
            assert target is not None
            assert (target.store, target.sealed) == (B, move.attempt)
            assert source is None or source.store == A
        move = step
