"""What becomes of a group when one of its processes, or of their machines, is gone, sleeps, or is cut off."""

from __future__ import annotations

import pytest
from replication.scripted_group import A, B, C, ScriptedGroup
from replication.simulated_group import TIMES, median_and_most
from twisted.python.failure import Failure

from pyshard.errors import NotConfigured, PyshardError, Unavailable
from pyshard.replication.group_times import of_lease


def test_dirty_refusal() -> None:
    """A conditional change that saw what isn't committed has no answer, and what it saw is gone with the primary."""
    group = ScriptedGroup()
    assert group.call("pop") is None
    group.network.cut |= {(A, B), (A, C)}  # B and C ask, and are answered nothing more
    held = group.begin("write", 2)
    group.until(lambda: group.machines[A].store.values.get(b"a") == b"2")
    refused = group.begin("write", 3, condition="absent")
    read = group.begin("read")
    group.clock.advance(0.2)
    assert not refused.called
    assert not read.called
    group.cut_off(A, "client 1")
    group.until(lambda: group.state.group.primary != A and group.leader.replica.leads)
    for one in (held, refused, read):
        with pytest.raises(Unavailable):
            group.result(one)
    assert group.call("read") is None, "what was held is gone, and nobody has seen it"
    assert group.call("write", 3, condition="absent") is True
    group.network.cut.clear()
    group.settle()
    assert {machine.store.values[b"a"] for machine in group.machines.values()} == {b"3"}


@pytest.mark.parametrize("address", [B, C])
def test_member_dies(address: str) -> None:
    """Without a member a change waits for less than its lease, and is acknowledged: it isn't unknown."""
    group = ScriptedGroup()
    group.machines[address].kill()
    began = group.clock.seconds()
    machine = group.machines[A]
    gate = machine.replica.gate
    _, seen, changed, safe = machine.store.execute(lambda _: (None, {b"a": b"1"}))
    group.result(safe)
    assert group.result(gate.passed(seen, changed)) is None
    assert group.clock.seconds() - began < 1.2
    assert group.state.group.members == {A, B, C} - {address}


def test_member_that_joins_makes_no_change_unknown() -> None:
    """Answers that wait go on under the next ballot, when a learner has joined."""
    group = ScriptedGroup(2)
    group.machines[B].kill()
    group.until(lambda: group.state.group.members == {A})
    group.until(lambda: group.machines[A].replica.leads)
    group.machines[B].start()
    results: list[object] = []
    while group.state.group.members == {A} or not group.machines[A].replica.leads:
        group.begin("increment", 1, b"n").addBoth(results.append)
        group.clock.advance(0.02)
    group.clock.advance(2.0)
    numbers = [result for result in results if isinstance(result, int)]
    assert sorted(numbers) == list(range(1, len(numbers) + 1)), "none was done and not told"
    rest = [result for result in results if not isinstance(result, int)]
    refused = [isinstance(failure, Failure) and failure.check(NotConfigured) for failure in rest]
    assert all(refused), "those others were refused"


@pytest.mark.parametrize(("lease", "most"), [(1.0, 2.0), (3.0, 5.0)])
def test_time_of_failover(lease: float, most: float) -> None:
    """From the kill of a primary to the next change that is acknowledged."""
    group = ScriptedGroup(times=of_lease(lease))
    group.begin_clients()
    failovers = group.figures.failovers
    for count in range(1, 16):
        group.clock.advance(group.random.uniform(0.0, 1.0))
        killed = group.leader
        group.faults.kill(killed)
        group.until(lambda: len(failovers) == count)  # noqa: B023  # it is called now
        killed.start()
        group.settle()
    print(f"\nlease {lease} s: {median_and_most(failovers)}")  # noqa: T201  # shown when it is asked for (-s)
    assert max(failovers) < most
    group.end()


@pytest.mark.parametrize("replicas", [2, 3])
def test_all_restart_at_once(replicas: int) -> None:
    """Durable replicas have all that was acknowledged, and the one that led leads again."""
    group = ScriptedGroup(replicas)
    assert group.call("write", 1) is True
    for machine in group.machines.values():
        machine.kill()
    group.clock.advance(0.1)
    for machine in group.machines.values():
        machine.start()
    assert group.written() < 2.0
    assert group.state.group.primary == A
    assert group.call("read") == 1
    group.settle()
    assert group.state.group.members == set(group.machines), "nobody had to go"


def test_all_restart_at_once_in_memory() -> None:
    """Of replicas in memory nothing is left. They begin empty, under a new ballot, and are a group again."""
    group = ScriptedGroup(3, ephemeral=True)
    assert group.call("write", 1) is True
    before = group.state.group.ballot
    for machine in group.machines.values():
        machine.kill()
    group.stale.forget()
    group.clock.advance(0.1)
    for machine in group.machines.values():
        machine.start()
    group.written()
    assert group.state.group.ballot > before
    assert group.call("read") is None
    group.settle()


def test_one_in_memory_restarts() -> None:
    """While one member has all, that one leads, and not the empty primary."""
    group = ScriptedGroup(3, ephemeral=True)
    assert group.call("write", 1) is True
    for address in (A, B):
        group.machines[address].kill()
        group.machines[address].start()
    group.until(lambda: group.state.group.primary == C)
    group.until(lambda: group.machines[C].replica.leads)
    assert group.call("read") == 1
    group.settle()
    assert {machine.store.values[b"a"] for machine in group.machines.values()} == {b"1"}


@pytest.mark.parametrize("address", [A, B])
def test_power_fails_in_a_weaker_mode(address: str) -> None:
    """A store lost groups that it had said to have, under the same identity: it is no member until it has all again."""
    group = ScriptedGroup()
    for value in range(1, 9):
        assert group.call("write", value) is True
    machine = group.machines[address]
    machine.lose_power()
    disk = machine.disk
    disk.log = disk.log[:-3]
    disk.history = tuple(pair for pair in disk.history if pair[1] <= disk.base.sequence + len(disk.log))
    machine.start()
    group.until(lambda: address not in group.state.group.members)
    assert group.written() < 2.0
    assert group.call("read") == 8
    group.settle()
    assert machine.store.values[b"a"] == b"8"
    assert machine.disk.identity == machine.store.identity == f"store 1 at {address}"


def test_primary_sleeps_past_its_lease() -> None:
    """A value was read, and the machine slept before the lease was looked at: the answer isn't given any more."""
    group = ScriptedGroup()
    assert group.call("write", 1) is True
    machine = group.machines[A]
    gate = machine.replica.gate
    value, seen, changed, _ = machine.store.execute(lambda values: (values[b"a"], {}))
    assert (value, changed) == (b"1", False)
    machine.sleep(4.0)
    group.until(lambda: group.state.group.primary != A and group.leader.replica.leads)
    assert group.call("write", 2) is True
    passed = gate.passed(seen, changed)  # as if it woke just here
    assert not passed.called
    group.clock.advance(5.0)
    with pytest.raises(NotConfigured):
        group.result(passed)


def test_standing_survives_a_restart() -> None:
    """A member stood, a swap that makes it the primary is late, and it restarts: it promises the old one no more."""
    group = ScriptedGroup(2)
    group.cut_off(A, "client 1")  # no bootstrap hears the primary
    group.state.lost = 1.0
    group.until(lambda: group.machines[B].replica.report().wish is not None)
    group.away()
    group.machines[B].kill()
    group.machines[B].start()
    group.network.cut.clear()
    group.clock.advance(1.0)
    with pytest.raises(Unavailable):
        group.call("read", at=A)  # it would be by a promise of one that may be the primary any time
    group.state.lost = 0.0
    group.swap(group.state.group.led_by(B))
    group.machines[B].replica.take_on(group.state.group)
    group.until(lambda: group.machines[B].replica.leads)
    assert group.call("write", 7, at=B) is True
    with pytest.raises(Unavailable):
        group.call("read", at=A)
    group.away(False)
    group.settle()


def test_restarted_member_waits() -> None:
    """A member that has restarted doesn't know what it promised, so it stands only when a grace has passed."""
    group = ScriptedGroup(2)
    group.cut_off(A, "client 1")  # the primary goes on for as long as its lease
    group.machines[B].kill()
    group.machines[B].start()
    began = group.clock.seconds()
    group.until(lambda: group.state.group.primary == B)
    assert group.clock.seconds() - began > TIMES.grace / 1.01


def test_lone_primary_whose_disk_failed() -> None:
    """A primary that is alone leads again, by a new ballot, when its disk works again."""
    group = ScriptedGroup(1)
    group.machines[A].fail_disk(2.0)
    with pytest.raises(PyshardError):
        group.call("write", 1)
    assert not group.machines[A].replica.leads
    group.written()
    assert not group.machines[A].replica.failed


def test_primary_whose_disk_fails() -> None:
    """Another member leads, and the one whose disk has failed is one again when it works."""
    group = ScriptedGroup()
    group.machines[A].fail_disk(20.0)
    with pytest.raises(PyshardError):
        group.call("write", 1)
    assert group.written() < 3.0
    assert group.state.group.primary != A
    group.clock.advance(20.0)
    group.settle()


def test_member_whose_disk_fails() -> None:
    """A member that asks, and gets no further, is removed: changes don't wait for it."""
    group = ScriptedGroup()
    group.machines[B].fail_disk(30.0)
    assert group.written() < 1.5
    assert group.state.group.members == {A, C}
    for _ in range(10):
        assert group.written() < 1.5, "it doesn't come and go"
        group.clock.advance(1.0)
    assert "disk fails" in group.machines[B].replica.report().failed
    group.clock.advance(20.0)
    group.settle()
    assert group.machines[B].replica.report().failed == ""


def test_disk_of_the_last_member_failed_for_a_while() -> None:
    """The primary is gone for good; the member whose disk failed leads when it works again."""
    group = ScriptedGroup(2, ephemeral=True)
    assert group.call("write", 1) is True
    group.machines[B].fail_disk(0.3)
    group.begin("write", 2)
    group.until(lambda: bool(group.machines[B].replica.failed))
    group.machines[A].kill()
    group.until(lambda: group.state.group.primary == B and group.machines[B].replica.leads)
    assert group.call("read") in (1, 2)
    assert group.machines[B].replica.failed == ""


def test_too_few_members() -> None:
    """A change that waited when the group fell below what it needs isn't acknowledged before it has enough again."""
    group = ScriptedGroup(2, least=2)
    machine = group.machines[A]
    group.machines[B].kill()
    gate = machine.replica.gate
    _, seen, changed, safe = machine.store.execute(lambda _: (None, {b"a": b"1"}))
    group.result(safe)
    passed = gate.passed(seen, changed)
    group.until(lambda: group.state.group.members == {A} and machine.replica.leads)
    group.clock.advance(2.0)
    assert [passed.called] == [False]
    assert not machine.replica.takes_changes
    assert group.call("read") == 1, "reads go on"
    group.machines[B].start()
    group.settle()
    assert passed.called
    assert group.result(passed) is None


def test_group_of_one() -> None:
    """A primary that is alone tells its store what is committed, with nobody who asks."""
    group = ScriptedGroup(1)
    assert group.call("write", 1) is True
    assert group.machines[A].store.committed == group.machines[A].store.position.sequence


def test_machine_that_fails_between_promise_and_lead() -> None:
    """A member was made the primary, and ended before it heard of it: it asks for a new ballot, or another leads."""
    group = ScriptedGroup()
    group.machines[A].kill()
    group.until(lambda: group.state.group.primary != A)
    chosen = group.leader
    chosen.kill()
    chosen.start()
    assert group.written() < 5.0
    group.machines[A].start()
    group.settle()
