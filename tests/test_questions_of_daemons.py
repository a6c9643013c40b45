"""Daemons that ask without end, in each kind of client: their connection ends, and the error says why.

They ask well: each question is whole, and each answer is taken. A shard begins when it is asked for a document.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib import import_module

import attrs
import pytest
from memory_loop import MemoryLoop, started
from other_answers import answer_with
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard import aio
from pyshard.aio.loop_clock import LoopClock
from pyshard.errors import OutcomeUnknown, PartialFailure, Unavailable
from pyshard.protocol.boxes import Box
from pyshard.protocol.error_answers import UnknownCommand
from pyshard.settings import settings
from pyshard.shard.protocol import ShardProtocol
from pyshard.testing import MemoryCluster

WHY = "the peer broke the protocol: it asked more than 20 questions at once, or 1 a second"
FLOOD = 500  # questions over one connection

#: Keys of shard0 and of shard1, of two.
GOOD, BAD = "0", "1"


@attrs.define
class Asked:
    """What became of the questions.

    :ivar connections: over how many connections they were asked.
    :ivar answers: how many answers came.
    """

    connections: int = 0
    answers: int = 0

    def answered(self, _: Box) -> None:
        self.answers += 1

    def failed(self, failure: Failure) -> None:
        self.answers += failure.check(UnknownCommand) is not None  # else the connection was lost

    def check(self, seconds: float) -> None:
        """Few questions were answered, and within these seconds it was dialed again with growing pauses.

        Each pause of the first six is as long as the ones before it together, at the least; the others have half a
        second at the least.
        """
        assert 1 < self.connections <= 7 + 2 * seconds
        assert self.answers <= self.connections * settings.PEER_QUESTIONS


@pytest.fixture(params=[b"Ping", b"GoAway", b"Nonsense"])
def asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """`shard1` answers no batch, but asks something again and again."""
    found, honest = Asked(), ShardProtocol.apply

    def apply(self: ShardProtocol, box: Box) -> Deferred[object]:
        assignment = self._shard.assignment
        if assignment is None or assignment.name != "shard1":
            return honest(self, box)  # type: ignore[return-value]  # whatever it fires with
        found.connections += 1
        for _ in range(FLOOD):
            self.call_directly(request.param, {}).addCallbacks(found.answered, found.failed)
        return Deferred()

    answer_with(monkeypatch, ShardProtocol, b"Apply", apply)
    return found


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """A cluster of two shards."""
    with MemoryCluster(2) as made:
        yield made


def test_deferred(cluster: MemoryCluster, asked: Asked, log_lines: list[str]) -> None:
    """A Deferred client's read fails at its deadline, and says why; the log has a line for each connection."""
    client = cluster.connect()
    reading = client.read(BAD)
    cluster.advance(0.001)
    assert cluster.run(client.write(GOOD, "x"))
    with pytest.raises(Unavailable, match=WHY):
        cluster.run(reading)
    asked.check(settings.DEADLINE)
    assert log_lines.count(f"warn: connection ?: closed, {WHY}") == asked.connections
    with pytest.raises(OutcomeUnknown, match=WHY):
        cluster.run(client.write(BAD, "x"))


def test_blocking(cluster: MemoryCluster, asked: Asked) -> None:
    """A blocking client's read fails at its deadline, and says why."""
    with cluster.blocking() as app:
        began = cluster.clock.seconds()
        with pytest.raises(Unavailable, match=WHY):
            app.read(BAD)
        assert cluster.clock.seconds() - began < settings.DEADLINE + 0.1
        asked.check(settings.DEADLINE)
        with pytest.raises(OutcomeUnknown, match=WHY):
            app.write(BAD, "x")


def test_bulk(cluster: MemoryCluster, asked: Asked) -> None:
    """A bulk verb goes on at the other shards, and ends as soon as the flooding one's part is known to be in doubt."""
    keys = [str(number) for number in range(4000)]
    with cluster.blocking() as app:
        began = cluster.clock.seconds()
        with pytest.raises(PartialFailure) as caught:
            app.write_many((key, key) for key in keys)
        assert cluster.clock.seconds() - began < 1
        failed = [str(key) for key, _ in caught.value.failed]
        assert failed == [key for key in keys if app.locate(key)["shard"] == "shard1"]
        assert WHY in str(caught.value)


def test_on_asyncio(cluster: MemoryCluster, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """An asyncio client reads at other shards meanwhile."""
    monkeypatch.setattr(import_module("pyshard.aio.connect"), "LoopClock", lambda loop: LoopClock(loop, loop.time))
    loop = MemoryLoop(cluster.network)  # type: ignore[abstract]  # it has what is called

    async def work() -> None:
        async with aio.connect(token_file="", tls=False) as client:
            reading = asyncio.ensure_future(client.read(BAD))
            await asyncio.sleep(0)
            await client.write(GOOD, "x")
            assert not reading.done()
            with pytest.raises(Unavailable, match=WHY):
                await reading

    working = started(loop, work)
    cluster.advance(settings.DEADLINE + 1)
    working.result()
    asked.check(settings.DEADLINE)
    assert loop.reported == []
