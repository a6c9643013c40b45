"""Whose a batch is, as the store is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from shard.served import ONE, Bench
from twisted.internet.defer import Deferred

from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Read, Write
from pyshard.server.address_time_shares import COMMIT
from pyshard.server.own_time import OwnTime
from pyshard.server.served_connection import Served
from pyshard.shard.connection_sender import ConnectionSender
from pyshard.storage import ITSELF, MemoryStore, Sender, Task


class Told(MemoryStore):
    """Notes whose each batch is."""

    def __init__(self) -> None:
        super().__init__("1d", lambda: 0.0)
        self.senders: list[Sender] = []

    def apply(self, tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        self.senders.append(sender)
        return super().apply(tasks, limit, room, sender)

    def read_at_hand(self, index: int, keys: Sequence[bytes], room: int) -> None:
        """All go the usual way."""


class Late(MemoryStore):
    """Answers when the test says so."""

    def __init__(self) -> None:
        super().__init__("1d", lambda: 0.0)
        self.answered: Deferred[list[Answer]] = Deferred()

    def apply(self, *_: object) -> Deferred[list[Answer]]:
        return self.answered


def test_what_a_late_answer_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """To encode an answer that wasn't given at once is counted for who asked, not for whose turn it is by then."""
    store = Late()
    bench = Bench(store)
    bench.configure()
    counted: list[tuple[Served, float]] = []
    turns = bench.service.factory.turns
    monkeypatch.setattr(turns, "count_elsewhere", lambda connection, used: counted.append((connection, used)))
    monkeypatch.setattr(turns, "own_time", OwnTime(bench.clock.seconds, lambda: 0))

    def encode(_: list[Answer]) -> bytes:
        bench.clock.rightNow += 0.25
        return b""

    monkeypatch.setattr("pyshard.shard.protocol.encode_answers", encode)
    bench.peer.call(commands.Apply, 5, epoch=7, batch=encode_runs([Write("", [b"test"], [ONE])]))
    bench.network.settle()
    assert counted == []
    store.answered.callback([Answer([None], {})])
    bench.network.settle()
    assert counted == [(next(iter(bench.service.factory.connections)), 0.25)]


def test_what_the_writers_thread_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted for the connection; of one change as what took no longer than any commit, as far as that goes."""
    bench = Bench(MemoryStore("1d", lambda: 0.0))
    bench.configure()
    bench.network.settle()
    [connection] = bench.service.factory.connections
    counted: list[tuple[object, ...]] = []
    monkeypatch.setattr(bench.service.factory.turns, "count_elsewhere", lambda *told: counted.append(told))
    ConnectionSender.of(connection).count(0.3, 1)
    ConnectionSender.of(connection).count(0.3, 1.5)
    assert counted == [(connection, 0.3, 1, COMMIT), (connection, 0.3, 1.5, 0.0)]


def test_whose_a_batch_is() -> None:
    """Each connection is a sender of its own, of its address, for reads and for changes, until it is lost."""
    store = Told()
    bench = Bench(store)
    bench.configure()
    bench.apply(Write("", [b"test"], [ONE]))
    bench.apply(Read("", [b"test"]))
    second = bench.connect(BoundedAMP(bench.clock))
    second.call(commands.Apply, 5, epoch=7, batch=encode_runs([Write("", [b"test"], [ONE])]))
    bench.network.settle()
    first, again, other = store.senders
    assert first == again != other
    assert first.address == other.address != ITSELF.address
    assert [sender.gone() for sender in store.senders] == [False, False, False]
    second.abort()
    bench.network.settle()
    assert [sender.gone() for sender in store.senders] == [False, False, True]
