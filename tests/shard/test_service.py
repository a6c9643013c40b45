"""The shard's service: what it does with its store when it stops."""

from __future__ import annotations

import pytest
from deferreds import result
from shard.served import WHERE, Bench
from stores import PLENTY, at_once, task
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.errors import ShuttingDown
from pyshard.protocol import commands
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Has, Write
from pyshard.settings import settings
from pyshard.shard.service import ShardService
from pyshard.shard.shard import Shard
from pyshard.storage import MemoryStore
from pyshard.testing import MemoryNetwork


class ClosingStore(MemoryStore):
    """Answers when the test says so, and notes when it is closed."""

    def __init__(self) -> None:
        super().__init__("1d", lambda: 0.0)
        self.log: list[str] = []
        self.pending: Deferred[list[Answer]] = Deferred()
        self.closing: Deferred[None] = Deferred()

    def apply(self, *_: object) -> Deferred[list[Answer]]:
        return self.pending.addCallback(self._applied)

    def _applied(self, answers: list[Answer]) -> list[Answer]:
        self.log.append("applied")
        return answers

    def refuse_waiting(self) -> None:
        self.log.append("refused")

    def close(self) -> Deferred[None]:
        self.log.append("closed")
        return self.closing


def test_store_is_closed_last() -> None:
    """A shard that stops answers what it owes, then closes its store, and has stopped when that is done."""
    store = ClosingStore()
    bench = Bench(store)
    bench.configure()
    asked = bench.peer.callRemote(commands.Apply, epoch=7, batch=encode_runs([Has("", [b"test"])]))
    bench.network.settle()
    stopping: Deferred[None] = bench.service.stopService()
    bench.network.advance(1)
    assert store.log == []
    store.pending.callback([Answer([False])])
    bench.network.advance(1)
    assert result(asked)["answers"] == b"\x91\x92\x91\xc2\x80"
    assert store.log == ["applied", "refused", "closed"]
    assert not stopping.called
    store.closing.callback(None)
    assert result(stopping) is None
    assert WHERE not in bench.network.listeners


def test_what_waits_after_the_drain_is_refused() -> None:
    """A peer whose batch hasn't begun when the drain is over hears that nothing of it was done; then the store ends."""
    store = ClosingStore()
    bench = Bench(store)
    bench.configure()
    asked = bench.peer.call(commands.Apply, 1000, epoch=7, batch=encode_runs([Has("", [b"test"])]))
    bench.network.settle()
    stopping: Deferred[None] = bench.service.stopService()
    bench.network.advance(settings.DRAIN - 0.1)
    assert store.log == []
    store.refuse_waiting = lambda: store.pending.errback(ShuttingDown("not begun"))  # type: ignore[method-assign]
    bench.network.advance(0.2)
    with pytest.raises(ShuttingDown, match="not begun"):
        result(asked)
    bench.network.advance(1.5)
    assert store.log == ["closed"]
    store.closing.callback(None)
    assert result(stopping) is None


class SweptStore(MemoryStore):
    """Notes when it is swept. A sweep takes so long of the reactor, and is done when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__("1d", self.clock.seconds)
        self.takes = 0.0
        self.begun: list[float] = []
        self.most: list[int] = []
        self.done: Deferred[bool] = Deferred()

    def sweep(self, most: int) -> Deferred[bool]:
        self.most.append(most)
        self.begun.append(self.clock.seconds())
        self.clock.rightNow += self.takes
        self.done = Deferred()
        return self.done


@pytest.mark.parametrize(("takes", "waits", "more", "pause", "left"), [
    (0.0, 0.0, False, 0.5, False),
    (0.0, 0.0, True, 0.005, False),
    (0.01, 0.0, True, 0.05, False),
    (1.0, 0.0, True, 0.5, False),
    (0.0, 7.0, True, 0.005, False),
    (0.01, 0.0, True, 0.12, True),
    (1.0, 0.0, True, 0.5, True),
])  # fmt: skip
def test_pauses_between_sweeps(takes: float, waits: float, more: bool, pause: float, left: bool) -> None:
    """After a sweep others have five times what it took of the reactor; what another thread took is its own matter.

    They have twelve times that while it removes what is left over.
    """
    store = SweptStore()
    if left:
        at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
        at_once(store.own(()))
    store.takes = takes
    shard, network = Shard(store, store.clock.seconds), MemoryNetwork(store.clock)
    service = ShardService(lambda: shard, store.clock, network.listen(*WHERE))
    service.startService()
    store.clock.advance(0.5)
    assert len(store.begun) == 1
    store.clock.advance(waits)
    store.done.callback(more)
    store.clock.advance(pause - 0.0001)
    assert len(store.begun) == 1
    store.clock.advance(0.0002)
    assert len(store.begun) == 2
    assert store.most == [100, 100]
    store.done.callback(False)
    service.stopService()


def test_sweeps_of_a_store_with_a_thread() -> None:
    """They are larger, since each is a group of its log."""
    store = SweptStore()
    store.ephemeral = False
    shard, network = Shard(store, store.clock.seconds), MemoryNetwork(store.clock)
    service = ShardService(lambda: shard, store.clock, network.listen(*WHERE))
    service.startService()
    store.clock.advance(0.5)
    assert store.most == [500]
    store.done.callback(False)
    service.stopService()
