"""What waits before it is read, and until its answer may be given."""

from __future__ import annotations

from typing import Any

import pytest
from deferreds import watch
from shard.led import Led
from shard.states import A
from told_sender import ToldSender
from twisted.internet.defer import Deferred, succeed

from pyshard.errors import NotConfigured
from pyshard.protocol.batch_answers import Answer
from pyshard.shard.waiting_answers import WaitingAnswers, answer_size
from pyshard.storage import ITSELF, Page


class Peer:
    """Who waits for answers.

    :ivar held: bytes that are held for it.
    :ivar took: times that were counted for it.
    """

    def __init__(self) -> None:
        self.there = True
        self.sender = ToldSender("a", "c1", lambda: not self.there)
        self.took = self.sender.counted

    @property
    def held(self) -> int:
        return sum(self.sender.held)


def test_leases_are_looked_at_before_and_after() -> None:
    """What is read while a lease runs out isn't given until there is one again."""
    led, reading, begun = Led(), Deferred[str](), list[None]()
    led.join()

    def begin() -> Deferred[str]:
        begun.append(None)
        return reading

    answer: list[Any] = watch(led.replica.answer(begin, changes=False))
    assert begun == []
    led.hear()
    assert (begun, answer) == ([None], [])
    led.leave()
    reading.callback("found")
    assert (answer, len(led.gate)) == ([], 1)
    led.hear()
    assert (begun, answer) == ([None], ["found"])


def test_what_is_begun_late_counts() -> None:
    """The time for which a read takes that had to wait is its sender's."""
    led, peer = Led(), Peer()
    led.join()

    def begin() -> Deferred[str]:
        led.clock.rightNow += 0.25
        return succeed("found")

    answer: list[Any] = watch(led.replica.answer(begin, False, peer.sender))
    led.hear()
    assert (answer, peer.took) == (["found"], [(0.25, 1)])


def test_a_gate_that_ends() -> None:
    """What waits to be read fails with it, and was never begun."""
    led = Led()
    led.join()
    answer: list[Any] = watch(led.replica.answer(lambda: pytest.fail("it was begun"), changes=False))
    led.replica.close()
    assert isinstance(answer[0], NotConfigured)


def test_what_waits_counts() -> None:
    """Until it is given, or fails."""
    waiting, peer = WaitingAnswers(), Peer()
    first, second = Deferred[None](), Deferred[None]()
    answers: list[list[Any]] = [
        watch(waiting.wait(peer.sender, passed, "found", 1000, keeps_place=False)) for passed in (first, second)
    ]
    assert (answers, peer.held) == ([[], []], 2000)
    first.callback(None)
    assert (answers, peer.held) == ([["found"], []], 1000)
    second.errback(NotConfigured("another leads"))
    assert (isinstance(answers[1][0], NotConfigured), peer.held) == (True, 0)
    assert not waiting._of


@pytest.mark.parametrize("keeps_place", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_who_has_gone(keeps_place: bool, before: bool) -> None:
    """Its answers are let go, and others' aren't; a change alone keeps its place. Who had gone before is the same."""
    waiting, peer, other = WaitingAnswers(), Peer(), Peer()
    peer.there = not before
    passed = Deferred[None]()
    kept: list[Any] = watch(waiting.wait(other.sender, Deferred(), "found", 10, keeps_place))
    answer: list[Any] = watch(waiting.wait(peer.sender, passed, "found", 1000, keeps_place))
    if not before:
        waiting.forget(peer.sender)
    assert (passed.called, len(answer), peer.held) == (not keeps_place, not keeps_place, 0)
    if keeps_place:
        passed.callback(None)
    assert "the connection ended" in str(answer[0])
    assert (kept, other.held, list(waiting._of)) == ([], 10, [other.sender])


def test_sizes() -> None:
    """Records and keys count; all else is small."""
    answers = [Answer([b"x" * 1000, None, True]), Answer([b"y" * 10])]
    assert answer_size(answers) == 1010 + 2 * 49
    assert answer_size(Page([b"k" * 100, A], False, None)) == 100 + len(A) + 2 * 49
    assert (answer_size(5), answer_size([5]), answer_size([])) == (0, 0, 0)
    ITSELF.hold(5)
