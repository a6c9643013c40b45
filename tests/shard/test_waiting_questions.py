"""How many questions wait at a shard with replicas: bounded by number, for each address and in all."""

from __future__ import annotations

from typing import Any

import pytest
from deferreds import watch
from shard.led import Led
from shard.served import ONE
from shard.states import A
from told_sender import ToldSender
from twisted.internet.defer import succeed

from pyshard.errors import Overloaded
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_operations import Has, Run, Write
from pyshard.shard.waiting_questions import WaitingQuestions
from pyshard.storage import ITSELF, Sender

READ, CHANGE = Has("", [A]), Write("", [A], [ONE])


def sender(address: str) -> Sender:
    """Who asks from an address."""
    return Sender(address, "c1")


def begin_all(questions: WaitingQuestions, address: str) -> int:
    """How many more may wait for an address."""
    begun = 0
    while questions.refusal(sender(address)) is None:
        questions.begin(sender(address))
        begun += 1
    return begun


def test_one_address_has_half_of_what_others_leave() -> None:
    """However many come from there; what waits no more makes room."""
    questions = WaitingQuestions(16)
    assert [begin_all(questions, address) for address in "abc"] == [8, 4, 2]
    refused = questions.refusal(sender("a"))
    assert isinstance(refused, Overloaded)
    assert "14 questions wait for this shard's replicas already, 8 of them from this address" in str(refused)
    for _ in range(8):
        questions.end(sender("a"))
    assert (len(questions), begin_all(questions, "b"), list(questions._of)) == (6, 3, ["b", "c"])


def test_the_shards_own() -> None:
    """What the shard asks itself isn't refused, and takes no room."""
    questions = WaitingQuestions(2)
    begin_all(questions, "a")
    assert questions.refusal(ITSELF) is None
    questions.begin(ITSELF)
    assert len(questions) == 1
    questions.end(ITSELF)
    assert len(questions) == 1


class Crowd:
    """A shard that leads another member, at which four questions may wait, and a peer that asks them."""

    def __init__(self, run: Run) -> None:
        self.led = Led()
        self.led.join()
        if run is CHANGE:
            self.led.hear()
        self.questions = self.led.replica._questions = WaitingQuestions(4)
        self.run = run
        self.peer = self.connect()

    def connect(self) -> BoundedAMP:
        """A peer; all of them have one address."""
        peer: BoundedAMP = self.led.connect(BoundedAMP(self.led.clock))
        return peer

    def ask(self, peer: BoundedAMP) -> list[Any]:
        """What a question comes to."""
        return self.led.asked(peer, self.run)


@pytest.mark.parametrize("run", [READ, CHANGE], ids=["read", "change"])
def test_a_batch_past_the_bound(run: Run) -> None:
    """It is refused before it is begun, be it ever so small; when those before are answered there is room."""
    crowd = Crowd(run)
    waiting = [crowd.ask(crowd.peer) for _ in range(2)]
    made = crowd.led.shard.store.position.sequence
    assert (waiting, len(crowd.questions)) == ([[], []], 2)
    assert isinstance(crowd.ask(crowd.connect())[0], Overloaded)
    assert (crowd.led.shard.store.position.sequence, len(crowd.questions)) == (made, 2)
    crowd.led.hear()
    assert all("answers" in answer[0] for answer in waiting)
    assert len(crowd.questions) == 0
    crowd.ask(crowd.peer)
    assert len(crowd.questions) == (run is CHANGE)  # a read is answered at once


@pytest.mark.parametrize("run", [READ, CHANGE], ids=["read", "change"])
def test_who_connects_again(run: Run) -> None:
    """A read that nobody wants makes room at once, a change when all members have it."""
    crowd = Crowd(run)
    for _ in range(2):
        crowd.ask(crowd.peer)
    crowd.peer.abort()
    crowd.led.network.settle()
    assert len(crowd.questions) == (2 if run is CHANGE else 0)
    assert bool(crowd.ask(crowd.connect())) == (run is CHANGE)
    crowd.led.hear()
    assert len(crowd.questions) == 0


def test_other_questions() -> None:
    """So it is with what isn't a batch, such as a question for a count."""
    crowd = Crowd(READ)

    def ask() -> list[Any]:
        answer = watch(crowd.peer.call(commands.Count, 1e6, epoch=crowd.led.epoch, index="", slot=0))
        crowd.led.network.settle()
        return answer

    waiting = [ask() for _ in range(2)]
    assert isinstance(ask()[0], Overloaded)
    crowd.led.hear()
    assert all("documents" in answer[0] for answer in waiting)


def test_who_waits_for_a_large_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that isn't begun yet counts, too."""
    crowd = Crowd(CHANGE)
    large = ToldSender("1.2.3.4", "c9", lambda: False)
    monkeypatch.setattr(crowd.led.replica.large, "_wait", lambda _: None)  # none may be begun
    monkeypatch.setattr(crowd.led.replica.large._small_ones, "may_begin", lambda *_: False)
    answer = watch(crowd.led.replica.apply(lambda: succeed([]), [CHANGE], 0, large))
    assert (answer, len(crowd.questions), crowd.questions._of) == ([], 1, {"1.2.3.4": 1})
