"""How much of its rate a bulk load keeps at a shard with replicas, beside clients that ask always, or now and then."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.shard.large_changes import ALONE, LargeChanges
from pyshard.shard.small_changes import SMALL
from pyshard.storage import Sender
from pyshard.storage.uncommitted_bytes import UncommittedBytes

LOADER, ASKER = Sender("a", "c1"), Sender("c", "c4")
LARGE = ALONE // 3
TOOK = 0.02  # seconds until all members have a large change


def kept_beside(reads: bool, pause: float) -> float:
    """Which part of its rate a bulk load keeps beside somebody who asks for one small thing after the other.

    :param reads: whether that is read, and so answered at once; else it is a change, which members have after others.
    :param pause: seconds between an answer and the next question.
    """
    clock = Clock()
    clock.advance(1000)
    large, loaded, members_free = LargeChanges(clock, UncommittedBytes()), [], 0.0

    def members_have_it(seconds: float) -> Deferred[None]:
        nonlocal members_free
        members_free = max(members_free, clock.seconds()) + seconds
        answered: Deferred[None] = Deferred()
        clock.callLater(members_free - clock.seconds(), answered.callback, None)
        return answered

    def load(_: object = None) -> None:
        loaded.append(clock.seconds())
        clock.callLater(0, lambda: large.serve(LOADER, LARGE, lambda: members_have_it(TOOK)).addCallback(load))

    def ask(_: object = None) -> None:
        if reads:
            large.ask(ASKER)
            clock.callLater(pause, ask)
        else:
            large.serve(ASKER, SMALL, lambda: members_have_it(0.0015)).addCallback(
                lambda _: clock.callLater(pause, ask)
            )

    load()
    ask()
    for _ in range(25_000):
        clock.advance(0.0002)
    return sum(at > 1001 for at in loaded) * TOOK / (clock.seconds() - 1001)


@pytest.mark.parametrize(("reads", "pause"), [(True, 0.0009), (False, 0.0005), (False, 0.001)])
def test_who_asks_one_thing_after_the_other(reads: bool, pause: float) -> None:
    """Such a client has six times as long as each large change took, also where little of that is its work."""
    assert kept_beside(reads, pause) == pytest.approx(1 / 7, abs=0.01)


@pytest.mark.parametrize(("reads", "pause", "least"), [(True, 0.004, 0.55), (False, 0.004, 0.45), (True, 0.02, 0.7)])
def test_who_asks_now_and_then(reads: bool, pause: float, least: float) -> None:
    """Such a client has some time, and costs a bulk load little: a hundred small things a second are hardly work."""
    assert least < kept_beside(reads, pause) < 1
