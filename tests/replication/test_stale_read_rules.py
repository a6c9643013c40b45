"""Reads at members of a simulated group: scene by scene, what a member that is cut off says."""

from __future__ import annotations

import pytest
from replication.scripted_group import A, B, C, ScriptedGroup
from replication.simulated_group import TIMES

from pyshard.errors import NotConfigured


def why_not(group: ScriptedGroup, address: str) -> str:
    """Why a replica answers no read that may be old; empty: it does."""
    machine = group.machines[address]
    try:
        machine.replica.check_read(machine.store.applied)
    except NotConfigured as error:
        return str(error)
    return ""


def test_members_answer() -> None:
    """All members do, in two thirds of a second what the primary has acknowledged, and say how old that is."""
    group = ScriptedGroup()
    assert group.call("write", 1) is True
    group.clock.advance(4 * TIMES.wait)
    for address in (B, C):
        machine = group.machines[address]
        assert why_not(group, address) == ""
        assert machine.store.values == {b"a": b"1"}
        figures = machine.replica.figures()
        assert figures is not None
        assert figures.stale is not None
        assert figures.stale < 4 * TIMES.wait
        assert figures.described()["most_stale"] == TIMES.staleness


def test_a_member_that_is_cut_off() -> None:
    """It answers until what it has is too old, also while the others go on without it; and again when it is back."""
    group = ScriptedGroup()
    group.cut_off(C)
    group.until(lambda: C not in group.state.group.members)
    assert group.call("write", 2) is True
    assert why_not(group, C) == ""
    assert group.machines[C].store.values == {}
    began = group.clock.seconds()
    group.until(lambda: bool(why_not(group, C)))
    assert group.clock.seconds() - began < TIMES.staleness * 1.02
    assert "reads at replicas are at most 2 s old" in why_not(group, C)
    group.network.cut.clear()
    group.settle()
    group.until(lambda: not why_not(group, C))
    assert group.machines[C].store.values == {b"a": b"2"}


def test_members_of_a_primary_that_was_replaced() -> None:
    """A and B go on with one another, and C leads by itself: what A tells B then makes nothing new."""
    group = ScriptedGroup()
    group.network.cut |= {(near, far) for near in (A, B) for far in group.ends() if far not in (A, B)}
    group.network.cut |= {(far, near) for near, far in group.network.cut}
    group.until(lambda: group.state.group.primary == C)
    group.until(lambda: group.state.group.members == {C})
    assert group.call("write", 3) is True
    heard = group.machines[B].replica.member_term
    assert heard is not None
    assert group.machines[B].seconds() - heard.heard < TIMES.lease, "A answers it still"
    group.clock.advance(TIMES.staleness)
    assert "s old, and reads" in why_not(group, B)
    assert group.machines[B].store.values == {}


def test_members_of_a_primary_whose_answers_are_lost() -> None:
    """A hears C, so it doesn't give way; C doesn't hear A, so it leads. A still answers B: that makes nothing new."""
    group = ScriptedGroup()
    group.network.cut |= {(near, far) for near in (A, B) for far in group.ends() if far not in (A, B)}
    group.network.cut |= {(far, near) for near, far in group.network.cut if (far, near) != (C, A)}
    group.until(lambda: group.state.group.members == {C})
    assert group.call("write", 3) is True
    acknowledged = group.clock.seconds()
    group.until(lambda: bool(why_not(group, B)))
    assert group.clock.seconds() < acknowledged + TIMES.staleness * 1.02
    assert "s old, and reads" in why_not(group, B)
    heard = group.machines[B].replica.member_term
    assert heard is not None
    assert group.machines[B].seconds() - heard.heard < TIMES.staleness, "A has answered it since"


def test_a_new_primary_does_not_know_what_the_old_one_has_acknowledged() -> None:
    """The other member's state isn't made new by it until that is committed again."""
    group = ScriptedGroup()
    assert group.call("write", 1) is True
    acknowledged = group.clock.seconds()
    group.machines[A].kill()
    group.until(lambda: group.state.group.primary != A)
    other = group.machines[B if group.state.group.primary == C else C]
    answers = 0
    while group.clock.seconds() < acknowledged + 2 * TIMES.staleness:
        if not why_not(group, other.address) and group.clock.seconds() > acknowledged + TIMES.staleness * 1.02:
            answers += 1
            assert other.store.values == {b"a": b"1"}
        group.clock.advance(0.005)
    assert answers


def test_a_replica_that_began_anew() -> None:
    """It knows nothing of how old its state is until it has heard of the primary."""
    group = ScriptedGroup()
    group.machines[C].kill()
    group.machines[C].start()
    assert "hasn't heard of its primary yet" in why_not(group, C)
    group.until(lambda: not why_not(group, C))


@pytest.mark.parametrize("ephemeral", [False, True], ids=["durable", "memory"])
def test_a_learner(ephemeral: bool) -> None:
    """It answers nothing until it is a member."""
    group = ScriptedGroup(ephemeral=ephemeral)
    assert group.call("write", 1) is True
    group.machines[C].kill()
    group.until(lambda: (known := group.machines[A].replica.group) is not None and C not in known.members)
    group.machines[C].start()
    seen = set()
    while (why := why_not(group, C)) or C not in group.state.group.members:
        assert why, "it answers, and is none"
        seen.add(why)
        group.clock.advance(0.005)
    assert any("hasn't all documents" in why for why in seen)
    assert group.machines[C].store.values == {b"a": b"1"}


def test_a_replica_that_was_removed() -> None:
    """It answers no more as soon as it knows, though it has all documents of that moment."""
    group = ScriptedGroup()
    state = group.state.group
    assert why_not(group, C) == ""
    removed = state.without_member(C)
    group.away()
    group.swap(removed)
    group.machines[C].replica.take_on(removed)
    group.until(lambda: bool(why_not(group, C)), within=1.0)
    assert "hasn't all documents" in why_not(group, C)
    gone = removed.with_replicas(removed.replicas[:2], 1, removed.lease)
    group.machines[C].replica.take_on(gone)
    group.until(lambda: "is no replica of the shard any more" in why_not(group, C), within=1.0)
