"""The answers of a shard with replicas that wait until they may be given, by whose they are.

Rules:

- what waits counts among the bytes that the daemon holds for its sender, and for all;
- who has gone hears nothing: of a read nothing waits any more. A change keeps its place until all members have it, as
  others are held up by it till then, but not what it found;
- an answer whose sender has gone already isn't kept.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.errors import OutcomeUnknown, PyshardError, Unavailable
from pyshard.protocol.batch_answers import PER_BYTES, Answer, answers_size
from pyshard.storage import Page, Sender

_T = TypeVar("_T")


@attrs.define(eq=False)
class _WaitingAnswer(Generic[_T]):
    """An answer that waits.

    :param passed: fires when it may be given.
    :param size: bytes that it takes, more or less.
    :param keeps_place: whether it waits on when its sender has gone.
    """

    sender: Sender
    passed: Deferred[None]
    answer: _T
    size: int
    keeps_place: bool
    outcome: Deferred[_T] = attrs.field(factory=Deferred)


class WaitingAnswers:
    """The answers of one shard that wait."""

    def __init__(self) -> None:
        self._of: dict[Sender, dict[_WaitingAnswer[Any], None]] = {}

    def wait(self, sender: Sender, passed: Deferred[None], answer: _T, size: int, keeps_place: bool) -> Deferred[_T]:
        """Have an answer wait.

        :param sender: whose it is.
        :param passed: fires when it may be given. It is cancelled when the sender goes, unless the place is kept.
        :param size: bytes that it takes, more or less.
        :return: a Deferred of the answer; fails as `passed` does, or with `Unavailable` if the sender has gone.
        """
        waiting = _WaitingAnswer(sender, passed, answer, size, keeps_place)
        del answer  # else the frame of whoever is cut off below has it
        self._of.setdefault(sender, {})[waiting] = None
        if sender.gone():
            waiting.size = 0
            self.forget(sender)
        elif size:
            sender.hold(size)  # which may end the sender's connection
        passed.addBoth(self._end, waiting)
        return waiting.outcome

    def forget(self, sender: Sender) -> None:
        """Keep nothing of a sender that has gone."""
        for waiting in list(self._of.pop(sender, ())):
            _let_go(waiting)
            if not waiting.keeps_place:
                waiting.passed.cancel()

    # ------------------------------------------------------------------ inside

    def _end(self, outcome: Failure | None, waiting: _WaitingAnswer[_T]) -> None:
        """Give one that waits no more, or fail it."""
        if not self._remove(waiting):
            waiting.outcome.errback(_gone(waiting))
            return
        answer = waiting.answer
        _let_go(waiting)
        if outcome is None:
            waiting.outcome.callback(answer)
        else:
            waiting.outcome.errback(outcome)

    def _remove(self, waiting: _WaitingAnswer[Any]) -> bool:
        """Note that one waits no more; whether its sender was still there."""
        of_sender = self._of.get(waiting.sender, {})
        if waiting not in of_sender:
            return False
        del of_sender[waiting]
        if not of_sender:
            del self._of[waiting.sender]
        return True


def answer_size(answer: object) -> int:
    """About how many bytes of memory an answer takes, if that can be many: one to a batch, or a page of keys."""
    if isinstance(answer, Page):
        return sum(map(len, answer.keys)) + PER_BYTES * len(answer.keys)
    return answers_size([each for each in answer if isinstance(each, Answer)]) if isinstance(answer, list) else 0


def _let_go(waiting: _WaitingAnswer[Any]) -> None:
    """Keep the answer no longer."""
    size, waiting.size, waiting.answer = waiting.size, 0, None
    if size:
        waiting.sender.hold(-size)


def _gone(waiting: _WaitingAnswer[Any]) -> PyshardError:
    return (OutcomeUnknown if waiting.keeps_place else Unavailable)(
        "the connection ended before the shard could answer"
    )
