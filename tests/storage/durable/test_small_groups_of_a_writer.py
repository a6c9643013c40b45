"""What a writer makes of who asks soon: how many it commits together, and answers in a turn of the reactor."""

from __future__ import annotations

from typing import Any

import pytest
from storage.durable.writer_bench import Disk, Reactor
from twisted.internet.defer import Deferred

from pyshard.storage.durable.group_commit import GroupCommit
from pyshard.storage.durable.small_groups import MOST_BESIDE
from pyshard.storage.interface import Sender

BUSY, OTHER = Sender("a", "1"), Sender("b", "1")
TICK = 1e-5  # seconds from one look at the clock to the next
TOOK = 0.04  # seconds until an update is answered: longer than within which somebody asks soon


class Asked:
    """A writer that two addresses ask for updates, and a clock that goes on with each look."""

    def __init__(self) -> None:
        self.now = 100.0
        self.disk, self.reactor = Disk(), Reactor()
        self.writer: GroupCommit[int] = GroupCommit(
            self.disk.commit, self.reactor.call_from_thread, steady=self._seconds
        )

    def _seconds(self) -> float:
        self.now += TICK
        return self.now

    def submit(self, sender: Sender) -> Deferred[Any]:
        """Have an update committed."""
        return self.writer.submit(1, 0, 0, sender)

    def ask(self, again_after: float) -> None:
        """Both ask for updates, and again some seconds behind the answers."""
        for _ in range(2):
            done = [self.submit(BUSY), self.submit(OTHER)]
            self.now += TOOK
            for each in done:
                self.reactor.until(each)
            self.now += again_after

    def flood(self) -> list[int]:
        """How many of a thousand updates are answered in each of the first turns, while the other one asks again."""
        self.disk.unblocked.clear()
        self.submit(OTHER)
        done = [self.submit(BUSY) for _ in range(1000)]
        self.disk.unblocked.set()
        answered: list[int] = []
        for _ in range(5):
            self.reactor.turn()
            answered.append(sum(each.called for each in done))
        self.reactor.until(done[-1])
        return answered


@pytest.fixture
def asked() -> Asked:
    """A writer that nobody has asked anything."""
    return Asked()


def test_who_asks_soon_behind_its_answer(asked: Asked) -> None:
    """However long that took: small groups are made for it, and few are answered in a turn."""
    asked.ask(0.001)
    answered = asked.flood()
    assert MOST_BESIDE // 2 < max(map(len, asked.disk.commits)) <= MOST_BESIDE
    assert max(answered) <= 50
    asked.reactor.until(asked.writer.close())


def test_who_asks_late(asked: Asked) -> None:
    """Many are committed and answered together."""
    asked.ask(0.1)
    answered = asked.flood()
    assert max(map(len, asked.disk.commits)) > MOST_BESIDE
    assert max(answered) >= 100
    asked.reactor.until(asked.writer.close())
