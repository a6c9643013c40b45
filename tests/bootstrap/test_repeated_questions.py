"""Questions that are asked again and again: when each begins, and what a slow or failed one holds up."""

from __future__ import annotations

from functools import partial

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pyshard.bootstrap.repeated_questions import Question, RepeatedQuestions
from pyshard.errors import Unavailable


class Bench:
    """Things to ask about, and what came of that; questions are 0.5 s apart.

    :ivar things: what there is to ask about.
    :ivar asked: what was asked about, and when.
    :ivar answers: what the questions wait for, by thing; what isn't here is answered at once.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.things: list[str] = []
        self.asked: list[tuple[str, float]] = []
        self.answers: dict[str, Deferred[None]] = {}
        self.failures: list[Failure] = []
        self.questions = RepeatedQuestions(self.clock, 0.5, self.due, self.failures.append)

    def due(self) -> dict[str, Question]:
        """What there is to ask about, and how."""
        return {thing: partial(self.ask, thing) for thing in self.things}

    async def ask(self, thing: str) -> None:
        """Ask about one thing."""
        self.asked.append((thing, self.clock.seconds()))
        if thing in self.answers:
            await self.answers[thing]


@pytest.fixture
def bench() -> Bench:
    """Nothing to ask about yet."""
    return Bench()


def test_nothing_to_ask_about(bench: Bench) -> None:
    """The clock calls nobody until there is something."""
    bench.questions.start()
    assert bench.clock.getDelayedCalls() == []
    bench.things = ["a"]
    bench.questions.wake()
    bench.questions.wake()
    assert len(bench.clock.getDelayedCalls()) == 1
    bench.clock.pump([0.5] * 3)
    assert bench.asked == [("a", 0.5), ("a", 1.0), ("a", 1.5)]
    bench.things = []
    bench.clock.advance(0.5)
    assert (len(bench.asked), bench.clock.getDelayedCalls()) == (3, [])


def test_a_slow_answer_holds_up_nobody_else(bench: Bench) -> None:
    """There is one question about a thing at a time."""
    bench.things, bench.answers["a"] = ["a", "b"], Deferred()
    bench.questions.start()
    bench.clock.pump([0.5] * 3)
    assert bench.asked == [("a", 0.5), ("b", 0.5), ("b", 1.0), ("b", 1.5)]
    bench.answers.pop("a").callback(None)
    bench.clock.advance(0.5)
    assert bench.asked[4:] == [("a", 2.0), ("b", 2.0)]


def test_a_question_that_fails(bench: Bench) -> None:
    """It is told, and asked again."""
    bench.things, bench.answers["a"] = ["a"], Deferred()
    bench.questions.start()
    bench.clock.advance(0.5)
    bench.answers.pop("a").errback(Unavailable("nobody there"))
    (failure,) = bench.failures
    assert failure.getErrorMessage() == "nobody there"
    bench.clock.advance(0.5)
    assert bench.asked == [("a", 0.5), ("a", 1.0)]


def test_stopped(bench: Bench) -> None:
    """Nothing is asked after that, nor before the start, whoever wakes it."""
    bench.things = ["a"]
    bench.questions.wake()
    assert bench.clock.getDelayedCalls() == []
    bench.questions.start()
    bench.questions.stop()
    bench.questions.wake()
    assert bench.clock.getDelayedCalls() == []
    bench.questions.start()
    bench.clock.advance(0.5)
    assert bench.asked == [("a", 0.5)]


def test_a_few_at_a_time(bench: Bench) -> None:
    """Of many things two that are urgent are asked about in one turn, and two others: each in its turn."""
    few = RepeatedQuestions(bench.clock, 0.5, bench.due, bench.failures.append, 2, str.isupper)
    bench.things = ["a", "b", "c", "d", "e", "S", "T", "U"]
    few.start()
    bench.clock.pump([0.5] * 4)
    turns = [[thing for thing, at in bench.asked if at == 0.5 * turn] for turn in range(1, 5)]
    assert turns == [["S", "T", "a", "b"], ["U", "S", "c", "d"], ["T", "S", "e", "a"], ["U", "S", "b", "c"]]


def test_turns_of_slow_answers(bench: Bench) -> None:
    """Who answers a turn later isn't asked before those that weren't asked yet, and silence takes nobody's place."""
    few = RepeatedQuestions(bench.clock, 0.5, bench.due, bench.failures.append, 1)
    bench.things, bench.answers = ["a", "b", "c"], {"a": Deferred(), "b": Deferred()}
    few.start()
    bench.clock.pump([0.5] * 2)
    bench.answers.pop("a").callback(None)
    bench.clock.pump([0.5] * 4)
    assert [thing for thing, _ in bench.asked] == ["a", "b", "c", "a", "c", "a"]
