"""Outcomes in turns, by value: their order, how many in a turn, and what is called when all are out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from told_sender import ToldSender
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.storage.durable.fair_update_queue import WaitingUpdate
from pyshard.storage.durable.outcomes_in_turns import OutcomesInTurns
from pyshard.storage.durable.submitted_updates import SubmittedUpdate
from pyshard.storage.interface import Sender

COST = 0.00003  # seconds that it takes to answer one


class OfAnotherAccount(ToldSender):
    """One whose time is counted apart from that of others of its address."""

    @property
    def account(self) -> str:
        return f"{self.address}, apart"


class Turns:
    """Outcomes, and a reactor whose turns are made by hand."""

    def __init__(self, several: bool = True) -> None:
        self.now = 0.0
        self.due: list[Callable[[], object]] = []
        self.answered: list[object] = []
        self.a_rests = self.awaited = False
        self.of_a = ToldSender("a", "1", may_rest=lambda: self.a_rests)
        self.outcomes = OutcomesInTurns(self.due.append, lambda: several, lambda: self.awaited, lambda: self.now)

    def commit(self, *outcomes: tuple[str, object]) -> None:
        """Hand out what was committed together: of which address, and what."""
        done = []
        for address, _ in outcomes:
            answered: Deferred[object] = Deferred()
            answered.addBoth(self.answer)
            update: SubmittedUpdate[int] = SubmittedUpdate(0, answered)
            sender = self.of_a if address == "a" else Sender(address, "1")
            done.append(WaitingUpdate(0.0, 0, update, sender, 0, 0))
        self.outcomes.hand_out(done, [outcome for _, outcome in outcomes], lambda: self.answered.append("all out"))

    def answer(self, outcome: object) -> None:
        self.answered.append(outcome)
        self.now += COST

    def turn(self) -> list[object]:
        """What is answered in the next turn."""
        before, due = len(self.answered), self.due[:]
        self.due.clear()
        for function in due:
            function()
        return self.answered[before:]


def test_few_are_handed_out_at_once() -> None:
    """What has room in a turn needs no other one, and the group is told of its end."""
    turns = Turns()
    turns.commit(("a", 1))
    assert (turns.answered, turns.due) == ([1, "all out"], [])


def test_an_address_has_some_in_each_turn() -> None:
    """While several ask, two or three are handed out in a turn, in order; then the reactor serves the others."""
    turns = Turns()
    turns.commit(*(("a", number) for number in range(7)))
    assert turns.answered == [0, 1]
    assert turns.turn() == [2, 3]
    assert turns.turn() == [4, 5]
    assert turns.turn() == [6, "all out"]
    assert turns.due == []


def test_more_are_handed_out_while_one_asks_alone() -> None:
    """Some ten in a turn, but not all of a large group."""
    turns = Turns(several=False)
    turns.commit(*(("a", number) for number in range(200)))
    assert 50 < len(turns.answered) < 100


def test_nobody_waits_for_all_that_another_has() -> None:
    """An outcome of another address comes in the next turn, though it was committed behind hundreds."""
    turns = Turns()
    turns.commit(*(("a", number) for number in range(100)), ("b", "first"))
    assert "first" in turns.answered
    turns.commit(*(("a", number) for number in range(100, 200)), ("b", "second"))
    assert "second" not in turns.answered
    assert "second" in turns.turn()


def test_all_are_handed_out_in_the_order_of_their_address() -> None:
    """However many groups and addresses there are."""
    turns = Turns()
    for group in range(5):
        turns.commit(*((f"{number % 3}", (number % 3, group, number)) for number in range(10)))
    while turns.due:
        turns.turn()
    assert turns.answered.count("all out") == 5
    for address in range(3):
        mine = [answer for answer in turns.answered if isinstance(answer, tuple) and answer[0] == address]
        assert mine == sorted(mine)
        assert len(mine) in {15, 20}


def test_a_failure_is_an_outcome() -> None:
    """Whoever waits for it gets it as an error."""
    turns, failure = Turns(), Failure(ValueError("no"))
    turns.commit(("a", failure), ("a", 1))
    assert turns.answered[0] is failure


@pytest.mark.parametrize("waiting", [0, 10])
def test_when_all_are_out(waiting: int) -> None:
    """What is to come after all of them is called when nothing waits any more."""
    turns = Turns()
    turns.commit(*(("a", number) for number in range(waiting)))
    turns.outcomes.when_all_out(lambda: turns.answered.append("the end"))
    while turns.due:
        turns.turn()
    assert turns.answered[-1] == "the end"
    assert turns.answered.count("the end") == 1


def test_who_leaves_its_time_to_others_is_answered_later() -> None:
    """One outcome, then none until that is over; others are answered meanwhile, and no turn is asked for in vain."""
    turns = Turns()
    turns.a_rests = True
    turns.commit(*(("a", number) for number in range(3)), ("b", "b's"))
    assert (turns.answered, turns.due) == ([0, "b's"], [])
    turns.commit(("a", 3), ("b", "again"))
    assert (turns.answered[2:], turns.due) == (["again"], [])
    (when_over,) = turns.of_a.ends_of_rests
    when_over()
    assert turns.answered[3:] == [1]
    when_over()  # it is called for another rest than its own, and no harm is done
    turns.of_a.ends_of_rests.pop()()
    while turns.due:
        turns.turn()
    assert [answer for answer in turns.answered if isinstance(answer, int)] == [0, 1, 2, 3]


def test_nobody_rests_at_the_end() -> None:
    """What is to come after all outcomes waits for no rest."""
    turns = Turns()
    turns.a_rests = True
    turns.commit(*(("a", number) for number in range(5)))
    turns.outcomes.when_all_out(lambda: turns.answered.append("the end"))
    while turns.due:
        turns.turn()
    assert turns.answered == [0, 1, 2, 3, 4, "all out", "the end"]


def test_nobody_rests_whom_the_thread_waits_for() -> None:
    """While it waits until enough is handed out all others wait for that, so rests end, and none begins."""
    turns = Turns()
    turns.a_rests = True
    turns.commit(*(("a", number) for number in range(3)))
    assert turns.answered == [0]
    turns.awaited = True
    turns.commit(("b", "b's"))
    while turns.due:
        turns.turn()
    assert turns.answered == [0, "b's", "all out", 1, 2, "all out"]


def test_small_things_dont_rest_for_large_ones() -> None:
    """While those of an address that count for its large things rest, its other ones are handed out."""
    turns = Turns()
    turns.a_rests = True
    turns.commit(*(("a", number) for number in range(3)))
    small: Deferred[object] = Deferred()
    small.addBoth(turns.answer)
    sender = OfAnotherAccount("a", "2")
    turns.outcomes.hand_out([WaitingUpdate(0.0, 0, SubmittedUpdate(0, small), sender, 0, 0)], ["small"], lambda: None)
    assert turns.answered == [0, "small"]


def test_nobody_rests_alone() -> None:
    """An address that asks alone is answered at once."""
    turns = Turns(several=False)
    turns.a_rests = True
    turns.commit(*(("a", number) for number in range(5)))
    assert turns.answered == [0, 1, 2, 3, 4, "all out"]


def test_what_is_submitted_meanwhile() -> None:
    """Whoever is answered may commit again at once: that is handed out in its turn, and nothing twice."""
    turns = Turns()

    def again(outcome: object) -> None:
        turns.answered.append(outcome)
        turns.commit(("a", "again"))

    answered: Deferred[object] = Deferred()
    answered.addCallback(again)
    done = [WaitingUpdate(0.0, 0, SubmittedUpdate(0, answered), Sender("a", "1"), 0, 0)]
    turns.outcomes.hand_out(done, ["once"], lambda: None)
    while turns.due:
        turns.turn()
    assert turns.answered == ["once", "again", "all out"]
