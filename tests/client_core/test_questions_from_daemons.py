"""What a daemon may ask of whoever dialed it."""

from __future__ import annotations

import pytest

from pyshard.client_core.questions_from_daemons import QuestionAllowance
from pyshard.settings import settings

BREACH = "it asked more than 20 questions at once, or 1 a second"


def test_questions_at_once() -> None:
    """So many questions may come at once; the next one breaks the protocol, in words."""
    allowance = QuestionAllowance(5.0)
    assert {allowance.breach(30, 5.0) for _ in range(settings.PEER_QUESTIONS)} == {None}
    assert allowance.breach(30, 5.0) == BREACH


def test_questions_a_second() -> None:
    """One a second may come for ever; two a second may not."""
    allowance = QuestionAllowance(0.0)
    assert {allowance.breach(30, second) for second in range(1000)} == {None}
    allowance = QuestionAllowance(0.0)
    assert BREACH in {allowance.breach(30, half / 2) for half in range(2 * settings.PEER_QUESTIONS + 2)}


def test_silence_saves_nothing_up() -> None:
    """After years of silence no more may come at once than at first."""
    allowance = QuestionAllowance(0.0)
    assert {allowance.breach(30, 1e9) for _ in range(settings.PEER_QUESTIONS)} == {None}
    assert allowance.breach(30, 1e9) == BREACH


def test_an_honest_daemon() -> None:
    """A ping in each look at all connections, and a farewell."""
    allowance = QuestionAllowance(0.0)
    looks = [settings.IDLE_LOOK * look for look in range(1000)]
    assert {allowance.breach(40, now) for now in [*looks, looks[-1]]} == {None}


@pytest.mark.parametrize(("size", "questions"), [(1023, 20), (1024, 10), (2048, 6), (20 * 1024, 0), (18 * 2**20, 0)])
def test_long_questions(size: int, questions: int) -> None:
    """Each KiB of a question counts as one more."""
    allowance = QuestionAllowance(0.0)
    found = [allowance.breach(size, 0.0) for _ in range(questions + 1)]
    assert found == [*[None] * questions, BREACH]
