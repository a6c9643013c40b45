"""Which answers pass, and what becomes of those that wait."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from replication.group_samples import HISTORY, B, group_of, pull_of
from stores import at_once
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.errors import NotConfigured, OutcomeUnknown
from pyshard.replication.answer_gate import AnswerGate
from pyshard.replication.group_times import GroupTimes
from pyshard.replication.primary_term import PrimaryTerm
from pyshard.settings import settings


class Gate:
    """A gate of a term of A and B, at 100."""

    def __init__(self, least: int = 1) -> None:
        self.now = 100.0
        self.safe = 0
        self.term = PrimaryTerm(group_of("AB", least=least), GroupTimes(3.0, 4.0), self.now, b"0" * 16)
        self.later: list[Callable[[], None]] = []
        self.gate = AnswerGate(self.term, self.seconds, lambda: self.term.commit(self.safe), self.later.append)
        self.passed: list[object] = []

    def seconds(self) -> float:
        """The time."""
        return self.now

    def hear(self, last: int, sent: float | None = None) -> None:
        """B has groups, and perhaps gives a beacon back."""
        beacon = b"" if sent is None else self.term.beacon(sent)
        self.term.heard(pull_of(B, last, beacon), HISTORY, 100, 100, self.now)
        self.term.commit(self.safe)
        self.gate.look()

    def wait(self, name: object, seen: int, changed: bool) -> Deferred[None]:
        """Note when it has passed."""
        return self.gate.passed(seen, changed).addCallback(lambda _: self.passed.append(name))


def test_change_waits_for_all() -> None:
    """It passes when both have its group, and needs no lease."""
    gate = Gate()
    gate.wait("change", 1, changed=True)
    gate.safe = 1
    gate.hear(0)
    assert gate.passed == []
    gate.hear(1)
    assert gate.passed == ["change"]
    gate.wait("next", 1, changed=True)
    assert gate.passed == ["change", "next"]


def test_read_waits_for_what_it_saw_and_for_a_lease() -> None:
    """The lease is looked at after what it saw was committed."""
    gate = Gate()
    gate.wait("read", 1, changed=False)
    gate.hear(0, sent=99.9)
    assert gate.passed == [], "1 isn't committed"
    gate.now, gate.safe = 103.0, 1
    gate.hear(1)
    assert gate.passed == [], "the lease has run out meanwhile"
    gate.hear(1, sent=102.9)
    assert gate.passed == ["read"]
    gate.now = 106.0
    gate.wait("late", 1, changed=False)
    assert gate.passed == ["read"]
    assert len(gate.gate) == 1


def test_who_waits_where_nobody_else_asks() -> None:
    """A primary without other members: one that came a moment before its group was safe passes with the next one."""
    gate = Gate()
    gate.gate.go_on(PrimaryTerm(group_of("A"), GroupTimes(3.0, 4.0), gate.now, b"1" * 16))
    gate.term = gate.gate._term
    gate.safe = 1
    gate.wait("first", 2, changed=True)
    assert gate.passed == []
    gate.safe = 3
    gate.wait("second", 3, changed=True)
    assert sorted(map(str, gate.passed)) == ["first", "second"]


def test_order_of_those_that_wait() -> None:
    """One that saw less doesn't wait for one that saw more, though it asks later."""
    gate = Gate()
    gate.hear(0, sent=99.9)
    gate.wait("read 3", 3, changed=False)
    gate.wait("change 2", 2, changed=True)
    gate.wait("read 1", 1, changed=False)
    gate.safe = 3
    gate.hear(2)
    assert sorted(gate.passed, key=str) == ["change 2", "read 1"]
    gate.hear(3)
    assert gate.passed[2:] == ["read 3"]


def test_what_is_safe_counts_at_once() -> None:
    """Who asks has it looked at what is safe by now."""
    gate = Gate()
    gate.hear(5, sent=99.9)
    gate.safe = 5
    gate.wait("change", 5, changed=True)
    assert gate.passed == ["change"]


def test_end() -> None:
    """What came of a change isn't known; what changed nothing can be asked of another one."""
    gate = Gate()
    waiting = [gate.wait("change", 2, True), gate.wait("read", 1, False), gate.wait("read 0", 0, False)]
    why = NotConfigured("another leads")
    gate.gate.end(why)
    assert len(gate.gate) == 0
    for one, error in zip(
        [*waiting, gate.gate.passed(0, True), gate.gate.passed(0, False)],
        [OutcomeUnknown, NotConfigured, NotConfigured, OutcomeUnknown, NotConfigured],
        strict=True,
    ):
        with pytest.raises(error):
            at_once(one)
    assert gate.passed == []


def test_goes_on_under_the_next_ballot() -> None:
    """Those that wait pass by what the next term knows."""
    gate = Gate()
    gate.wait("change", 2, changed=True)
    gate.wait("read", 2, changed=False)
    alone = PrimaryTerm(group_of("A", 6), GroupTimes(3.0, 4.0), gate.now, b"1" * 16)
    gate.gate.go_on(alone)
    alone.commit(2)
    gate.gate.look()
    assert gate.passed == ["change", "read"]


def test_change_of_too_few_members() -> None:
    """It waits until there are enough; reads go on."""
    gate = Gate(least=3)
    gate.safe = 1
    gate.hear(1, sent=99.9)
    gate.wait("change", 1, changed=True)
    gate.wait("read", 1, changed=False)
    assert gate.passed == ["read"]
    more = PrimaryTerm(group_of("ABC", 6, least=3), GroupTimes(3.0, 4.0), gate.now, b"1" * 16)
    more.committed = 1
    gate.gate.go_on(more)
    gate.gate.look()
    assert gate.passed == ["read", "change"]


@pytest.mark.parametrize("changed", [True, False])
@pytest.mark.parametrize("committed", [0, 1])
def test_cancelled(changed: bool, committed: int) -> None:
    """One that nobody waits for any more takes no room, whatever it waited for; others pass."""
    gate = Gate(least=3)
    failures: list[object] = []
    waiting, other = gate.gate.passed(1, changed), gate.wait("other", 1, changed=False)
    waiting.addErrback(failures.append)
    gate.safe = committed
    gate.hear(committed)
    assert len(gate.gate) == 2
    waiting.cancel()
    assert (len(failures), len(gate.gate)) == (1, 1)
    gate.safe = 1
    gate.hear(1, sent=99.9)
    assert (gate.passed, len(gate.gate), other.called) == (["other"], 0, True)


class SlowGate(Gate):
    """One where each that passes, or fails, takes half of the time that is to be taken in one turn."""

    def wait(self, name: object, seen: int, changed: bool) -> Deferred[None]:
        def passes(outcome: object) -> None:
            self.now += settings.SERVED_AT_ONCE / 2
            self.passed.append((name, isinstance(outcome, Failure)))

        return self.gate.passed(seen, changed).addBoth(passes)

    def turn(self) -> None:
        """The reactor's next turn."""
        later, self.later[:] = list(self.later), []
        for call in later:
            call()


@pytest.mark.parametrize("ends", [False, True])
def test_many_pass_in_some_turns(ends: bool) -> None:
    """Others are served in between, and those that wait pass in order, however often it is looked."""
    gate = SlowGate()
    for number in range(5):
        gate.wait(number, 1, changed=number == 0)
    gate.safe = 1
    passed = [(number, ends) for number in range(5)]
    if ends:
        gate.gate.end(NotConfigured("another leads"))
    else:
        gate.hear(1, sent=99.9)
    for given in (2, 4):
        gate.gate.look()
        assert (gate.passed, len(gate.gate), len(gate.later)) == (passed[:given], 5 - given, 1)
        gate.turn()
    assert (gate.passed, len(gate.gate), gate.later) == (passed, 0, [])


def test_a_lease_that_ends_between_turns() -> None:
    """Those that are left wait for the next one."""
    gate = SlowGate()
    for number in range(3):
        gate.wait(number, 0, changed=False)
    gate.hear(0, sent=99.9)
    assert len(gate.passed) == 2
    gate.now += 5.0
    gate.turn()
    assert (len(gate.passed), len(gate.gate), gate.gate.seems_leased) == (2, 1, False)
    gate.hear(0, sent=gate.now)
    assert (len(gate.passed), gate.gate.seems_leased) == (3, True)
    gate.gate.go_on(gate.term)
    assert not gate.gate.seems_leased, "by what the next term knows"
