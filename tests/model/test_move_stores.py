"""What becomes of a move when the documents of one of its shards are in another store."""

from __future__ import annotations

import attrs
import pytest

from pyshard.model.move_stores import with_next_group, without_store
from pyshard.model.range_moves import (
    SEALED_AGAIN,
    Phase,
    RangeMove,
    SourceReport,
    StoreId,
    TargetReport,
    is_over,
    next_step,
)
from pyshard.model.replica_group import MapReplica, ReplicaGroup
from pyshard.model.shard_map import MapShard

A, B, C, D = (StoreId(name, "1") for name in "abcd")
GIVER = [MapReplica("g", 1, A, True), MapReplica("g", 2, B, True), MapReplica("g", 3, C, True)]
GROUP = ReplicaGroup(5, "g:1", frozenset({"g:1", "g:2"}), tuple(GIVER))
COPYING = RangeMove(7, "giver", "taker", ((10, 20),)).begun(A, D)
SEALING = COPYING.sealing()


def shard(group: ReplicaGroup | None, name: str = "giver") -> MapShard:
    """A shard with some replicas."""
    lone = MapShard(name, ((0, 100),), 1, "g", 1, "a", True)
    return lone if group is None else lone.led_by_group(group)


def handed(move: RangeMove, after: ReplicaGroup, before: ReplicaGroup | None = GROUP) -> RangeMove:
    """What becomes of a move when its source has another group."""
    return with_next_group(move, shard(before), shard(after))


@pytest.mark.parametrize("after", [GROUP.led_by("g:2"), GROUP.switched_to("g:2")])
def test_goes_on_with_a_member(after: ReplicaGroup) -> None:
    """The next primary of the source has all that the one before had: what is copied stays, a seal doesn't count."""
    copying = handed(COPYING, after)
    assert copying == attrs.evolve(COPYING, source_store=B, origin=A)
    assert copying.copied_from == COPYING.copied_from == A
    sealed = handed(SEALING, after)
    assert (sealed.phase, sealed.attempt, sealed.source_store) == (Phase.COPYING, 1, B)
    assert "another replica of shard 'giver'" in sealed.why
    everything = TargetReport(D, complete=True, sealed=1)
    step = next_step(sealed, SourceReport(B), everything, SEALED_AGAIN)
    assert step is not None
    assert (step.phase, step.attempt) == (Phase.SEALING, 2), "what was reached before isn't committed"
    again = handed(copying, after.switched_to("g:1") if "g:1" in after.members else after, after)
    assert again.copied_from == A


def test_goes_on_at_the_target() -> None:
    """The next primary of the target has what was copied, and what is known of its source."""
    taker = with_next_group(
        attrs.evolve(SEALING, target_store=A), shard(GROUP, "taker"), shard(GROUP.led_by("g:2"), "taker")
    )
    assert (taker.phase, taker.source_store, taker.target_store, taker.origin) == (Phase.COPYING, A, B, None)


def test_nothing_new() -> None:
    """Other members, an unknown store, a shard that has no part in it, a move that isn't begun: all stays."""
    planned = RangeMove(7, "giver", "taker", ((10, 20),))
    assert handed(planned, GROUP.led_by("g:2")) is planned
    assert handed(COPYING, GROUP.without_member("g:2")) is COPYING
    assert with_next_group(COPYING, shard(GROUP, "other"), shard(GROUP.led_by("g:2"), "other")) is COPYING
    first = ReplicaGroup(1, "g:1", frozenset({"g:1"}), (MapReplica("g", 1, StoreId("a", "")),))
    assert handed(COPYING, first, before=None) is COPYING, "a lone shard that gets replicas is where it was"
    assert handed(COPYING, first.with_store("g:1", A, True), first) is COPYING


@pytest.mark.parametrize("move", [COPYING, SEALING])
def test_ends_with_who_may_lack_something(move: RangeMove) -> None:
    """A learner that an operator has lead, or a new store in the primary's place: nobody knows what they have of it."""
    alone = ReplicaGroup(5, "g:1", frozenset({"g:1"}), tuple(GIVER))
    lost = alone.with_store("g:1", StoreId("x", "1"), True)
    unknown = ReplicaGroup(6, "g:4", frozenset({"g:4"}), (MapReplica("g", 4),))
    for after, before in ((GROUP.begun_anew("g:3"), GROUP), (lost, alone), (unknown, GROUP)):
        ended = handed(move, after, before)
        assert ended.phase is Phase.CANCELLED
        assert "the store of shard 'giver'" in ended.why
    assert without_store(move, "giver", "x").phase is Phase.CANCELLED
    assert without_store(move, "giver", "a") is move


@pytest.mark.parametrize("move", [COPYING.cancelled("why"), SEALING.committed()])
def test_over_when_the_present_primary_says_so(move: RangeMove) -> None:
    """A move that is decided waits for whoever leads now, also for one that may lack something."""
    done = TargetReport(D, clean=True)
    for after in (GROUP.led_by("g:2"), GROUP.begun_anew("g:3")):
        ended = handed(move, after)
        now = ended.source_store
        assert now == after.at(after.primary).store  # type: ignore[union-attr]
        assert ended.phase is move.phase
        assert now is not None
        assert not is_over(ended, SourceReport(now), done)
        assert is_over(ended, SourceReport(now, clean=True), done)
