"""Swaps that come late, switches, networks that are cut in part: what each rule is for, scene by scene."""

from __future__ import annotations

import pytest
from replication.scripted_group import A, B, C, ScriptedGroup
from twisted.python.failure import Failure

from pyshard.errors import BadRequest, OutcomeUnknown, PyshardError, Unavailable
from pyshard.replication.pulls import Pull, Pulled
from pyshard.replication.wishes import Wish, WishKind


def _ignore(failure: Failure) -> None:
    """It may fail."""


def test_late_swap_for_a_join_then_the_primary_dies() -> None:
    """A learner that was to join has joined, and the primary never hears of it: the learner has all that counts."""
    group = ScriptedGroup()
    group.machines[C].kill()
    group.until(lambda: group.state.group.members == {A, B})
    group.state.lost = 1.0
    group.machines[C].start()
    group.until(lambda: (wish := group.machines[A].replica.report().wish) is not None and wish.address == C)
    assert group.call("write", 1) is True
    group.away()
    group.cut_off(A, B, C, "client 1")
    group.state.lost = 0.0
    group.swap(group.state.group.with_member(C))  # the swap comes now
    assert group.call("write", 2, at=A) is True
    group.machines[A].kill()
    group.machines[B].kill()
    group.away(False)
    group.until(lambda: group.state.group.primary == C)
    group.until(lambda: group.state.group.members == {C})  # it can't answer before: B isn't there
    assert group.call("read") == 2
    group.machines[A].start()
    group.machines[B].start()
    group.network.cut.clear()
    group.settle()


def test_switch() -> None:
    """A member leads in the primary's place soon, and all stay members."""
    group = ScriptedGroup()
    assert group.call("write", 1) is True
    group.machines[A].replica.switch(B)
    assert not group.machines[A].replica.takes_changes
    began = group.clock.seconds()
    group.until(lambda: group.machines[B].replica.takes_changes)
    assert group.clock.seconds() - began < 0.5
    assert group.call("read") == 1
    assert group.state.group.members == {A, B, C}


def test_switch_to_nobody() -> None:
    """One that is no member, or the primary itself, can't lead in its place."""
    group = ScriptedGroup()
    for address in (A, "h:9"):
        with pytest.raises(BadRequest, match="expected one of the other members"):
            group.machines[A].replica.switch(address)
    assert group.machines[A].replica.takes_changes


def test_switch_to_a_silent_member() -> None:
    """A switch that nobody grants is given up, and changes go on."""
    group = ScriptedGroup()
    group.away()
    group.machines[A].replica.switch(B)
    group.clock.advance(0.8)
    assert not group.machines[A].replica.takes_changes
    group.clock.advance(0.5)
    assert group.machines[A].replica.takes_changes
    assert group.call("write", 1) is True


@pytest.mark.parametrize("seed", range(4))
def test_old_primary_of_a_switch_reads_nothing_stale(seed: int) -> None:
    """It answers by old promises, and doesn't hear that another one leads: till they end, that one waits for it."""
    group = ScriptedGroup(seed=seed)
    assert group.call("write", 1) is True
    group.away()
    group.cut_off(A, "client 1")
    began = group.clock.seconds()
    group.swap(group.state.group.switched_to(B))
    for address in (B, C):
        group.machines[address].replica.take_on(group.state.group)
    written: list[object] = []
    while group.clock.seconds() < began + 3.0:
        wish = group.machines[B].replica.report().wish
        if wish == Wish(WishKind.REMOVE, A):  # a bootstrap that is as quick as can be
            group.swap(group.state.group.without_member(A))
            for address in (B, C):
                group.machines[address].replica.take_on(group.state.group)
        changed = list(written)
        if group.machines[B].replica.takes_changes:
            group.begin("write", 2, at=B).addCallbacks(written.append, _ignore)
        read: list[object] = []
        group.begin("read", at=A).addCallbacks(read.append, _ignore)
        group.clock.advance(0.07)
        assert not (changed and read), "what another primary has changed was read as it was before"
    assert written
    assert group.state.group.members == {B, C}


def test_late_bytes_across_a_switch_and_back() -> None:
    """What a primary did before another one led, and before it led again, isn't acknowledged by its new term."""
    group = ScriptedGroup()
    assert group.call("write", 1) is True
    machine = group.machines[A]
    gate = machine.replica.gate
    group.network.cut |= {(A, B), (A, C)}
    _, seen, changed, _ = machine.store.execute(lambda _: (None, {b"a": b"2"}))
    _, saw, nothing, _ = machine.store.execute(lambda _: (None, {}))
    group.cut_off(A, "client 1")
    group.until(lambda: group.state.group.primary != A and group.leader.replica.leads)
    assert group.call("write", 3) is True
    group.network.cut.clear()
    group.settle()
    group.leader.replica.switch(A)
    group.until(lambda: machine.replica.takes_changes)
    assert machine.store.committed >= seen, "another group has its number"
    with pytest.raises(OutcomeUnknown):
        group.result(gate.passed(seen, changed))
    with pytest.raises(PyshardError, match="doesn't lead"):
        group.result(gate.passed(saw, nothing))
    assert machine.replica.leads_since == group.state.group.ballot
    assert group.call("read") == 3


def test_removed_member_that_no_bootstrap_reaches() -> None:
    """It has nothing of the new ballot until one tells it: the primary's word isn't enough. The others go on."""
    group = ScriptedGroup()
    cut = {pair for each in group.bootstraps for pair in ((each.address, C), (C, each.address))}
    group.network.cut |= cut
    before = group.state.group
    group.swap(before.without_member(C))
    group.until(lambda: group.machines[A].replica.group == group.state.group)
    assert group.call("write", 1) is True
    group.clock.advance(10.0)
    assert group.machines[C].replica.group == before
    group.network.cut -= cut
    group.until(lambda: group.state.group.members == {A, B, C}, 5.0)


def test_replica_that_is_no_part_any_more_asks_nothing() -> None:
    """One that was taken out of the config doesn't ask the primary for ever."""
    group = ScriptedGroup()
    group.machines[C].kill()
    group.until(lambda: group.state.group.members == {A, B})
    group.machines[C].start()
    present = group.state.group
    group.swap(present.with_replicas([each for each in present.replicas if each.address != C], 1, present.lease))
    group.clock.advance(2.0)
    asked: list[object] = []
    pulled = group.machines[A].replica.pulled

    async def noted(question: Pull) -> Pulled:
        asked.append(question.address)
        return await pulled(question)

    group.machines[A].replica.pulled = noted  # type: ignore[method-assign]
    group.clock.advance(2.0)
    assert set(asked) == {B}


def test_primary_that_no_bootstrap_reaches_gives_way() -> None:
    """It misses a member, and nobody tells it to go on without it. Then another member leads."""
    group = ScriptedGroup()
    for bootstrap in group.bootstraps:
        group.network.cut |= {(bootstrap.address, A), (A, bootstrap.address)}
    group.clock.advance(10.0)
    assert group.call("write", 1) is True, "as long as all members are there, it needs no bootstrap"
    group.machines[C].kill()
    group.until(lambda: group.state.group.primary == B)
    assert group.written() < 3.0
    assert group.call("read") == 1


def test_primary_that_misses_a_member_goes_on_when_it_is_back() -> None:
    """With no bootstrap at all nothing goes on; when the member is there again, it does, with no bootstrap."""
    group = ScriptedGroup()
    group.away()
    group.machines[C].kill()
    group.clock.advance(20.0)
    with pytest.raises(Unavailable):
        group.call("write", 1, at=A)
    group.machines[C].start()
    group.clock.advance(1.0)
    assert group.written() < 2.0
    assert group.state.group.primary == A


def test_member_that_stood_for_nothing() -> None:
    """Bootstraps were away, a member is dead, and another one stood: the dead one has to go, and not that one."""
    group = ScriptedGroup()
    group.state.lost = 1.0
    group.machines[C].kill()
    group.until(lambda: group.machines[B].replica.report().wish is not None)
    group.state.lost = 0.0
    group.until(lambda: group.state.group.members == {A, B})
    assert group.written() < 2.0
    assert group.state.group.members == {A, B}


@pytest.mark.parametrize("cut", [[(A, B)], [(B, A)], [(A, B), (B, A)]])
def test_member_that_the_primary_does_not_reach(cut: list[tuple[str, str]]) -> None:
    """It is removed, whichever way nothing passes, also where no bootstrap reaches it; reads and changes go on."""
    group = ScriptedGroup()
    for bootstrap in group.bootstraps:
        group.network.cut |= {(bootstrap.address, B), (B, bootstrap.address)}
    group.network.cut |= set(cut)
    group.clock.advance(1.5)
    assert group.call("read") is None
    assert group.written() < 0.5
    assert group.state.group.members == {A, C}


def test_begun_anew() -> None:
    """An operator has a replica lead that isn't a member. What it didn't have is gone, and the others follow it."""
    group = ScriptedGroup()
    assert group.call("write", 1) is True
    group.machines[C].kill()
    group.until(lambda: group.state.group.members == {A, B})
    for value in range(2, 40):
        group.call("write", value)
    group.settle_at_rest()
    group.machines[A].kill()
    group.machines[B].kill()
    group.swap(group.state.group.begun_anew(C))
    group.stale.forget()
    group.machines[C].start()
    group.written()
    assert group.state.group.primary == C
    assert group.call("read") == 1
    assert group.call("write", 50) is True
    group.machines[A].start()
    group.machines[B].start()
    group.settle()
    assert {machine.store.values[b"a"] for machine in group.machines.values()} == {b"50"}


def test_begun_anew_with_half_a_copy() -> None:
    """One that has only a part of a copy leads nothing, and asks for no ballot after the other."""
    group = ScriptedGroup()
    group.away()
    group.machines[C].store.incomplete = True
    group.swap(group.state.group.begun_anew(C))
    for machine in (group.machines[A], group.machines[B]):
        machine.kill()
    group.away(False)
    group.clock.advance(5.0)
    assert not group.machines[C].replica.leads
    assert group.state.group.ballot < group.machines[C].replica.report().ballot + 3
    ballot = group.state.group.ballot
    group.clock.advance(5.0)
    assert group.state.group.ballot == ballot


def test_member_does_not_wipe_what_it_has() -> None:
    """A member that is told to begin from a copy waits until it is removed."""
    group = ScriptedGroup()
    assert group.call("write", 1) is True
    group.away()
    group.machines[A].store.ballots = ()  # as if its log didn't go back far enough
    group.clock.advance(2.0)
    assert not group.machines[B].store.incomplete
    assert group.machines[B].store.values[b"a"] == b"1"
    group.away(False)
    group.settle()


def test_late_swap_of_a_removal() -> None:
    """A member was to be removed, and was back before it was: until the primary hears of it, it needs that one."""
    group = ScriptedGroup()
    group.away()
    before = group.state.group
    group.swap(before.without_member(C))
    group.machines[C].kill()
    with pytest.raises(Unavailable):
        group.call("write", 1, at=A)
    assert group.machines[A].replica.group == before
    group.away(False)
    assert group.written() < 2.0
