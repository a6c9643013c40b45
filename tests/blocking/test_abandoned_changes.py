"""Changes that their callers have left, while another thread waits for the answer to the box that they are in."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from green_threads import GreenSockets, GreenThreads

from pyshard import Pyshard
from pyshard.blocking.abandoned_changes import ChangesLeft
from pyshard.blocking.calling_thread_tasks import run
from pyshard.blocking.connector import Connector
from pyshard.blocking.operation_waiting_for_thread import GatheredOperation
from pyshard.blocking.pyshard import over
from pyshard.blocking.sessions_in_doubt import SessionsInDoubt
from pyshard.errors import OutcomeUnknown
from pyshard.net.connection_parameters import connection_parameters
from pyshard.testing import MemoryCluster
from pyshard.testing.memory_sockets import MemorySockets

LOW = ("127.0.0.1", 5050)  # the shard that has "test"
SESSION = b"s" * 16


class Registry:
    """The changes left of one shard, on a cluster's clock."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.network = MemorySockets(cluster.network)
        self.in_doubt = SessionsInDoubt()
        self.left = ChangesLeft(self.network, self.in_doubt)

    def operation(self, verb: str = "write", key: bytes = b"test", sent: bool = True) -> GatheredOperation:
        """An operation, and the session that it is sent in."""
        made = GatheredOperation(verb, "", key, 0, 10.0, 1)
        if sent:
            made.session = SESSION
        return made

    def settled(self, key: bytes = b"test", seconds: float = 10.0) -> float:
        """How long it takes until those of a key are settled."""
        began = self.network.now()
        run(self.network, self.left.settle({("", key)}, began + seconds))
        return self.network.now() - began


@pytest.fixture
def registry(cluster: MemoryCluster) -> Registry:
    """An empty one."""
    return Registry(cluster)


@pytest.mark.parametrize(("seconds", "expected"), [(10.0, 0.5), (0.2, 0.1)])
def test_one_that_lasts(registry: Registry, seconds: float, expected: float) -> None:
    """What comes later on its key waits for a moment, and leaves time for itself. Then the session is in doubt."""
    registry.left.leave(registry.operation())
    assert registry.settled(seconds=seconds) == pytest.approx(expected)
    assert registry.in_doubt.sessions() == [SESSION]
    assert registry.settled() == 0
    assert not registry.left


def test_one_that_is_answered(cluster: MemoryCluster, registry: Registry) -> None:
    """What waits goes on, and nothing is in doubt."""
    operation = registry.operation()
    registry.left.leave(operation)
    cluster.clock.callLater(0.1, registry.left.over, [operation])
    assert registry.settled() == pytest.approx(0.1, abs=0.01)
    assert not registry.in_doubt
    assert not registry.left
    assert operation.session == b""


def test_what_waits_for_nothing(registry: Registry) -> None:
    """Other keys don't wait; nor does anything for reads, and for what wasn't sent or is over."""
    for operation in (registry.operation("read"), registry.operation(sent=False)):
        registry.left.leave(operation)
        assert operation.left
        assert not registry.left
    registry.left.leave(registry.operation())
    assert registry.settled(b"other") == 0
    assert registry.left


def test_an_answer_ends_the_doubt() -> None:
    """A session all of whose changes are answered after all isn't fenced."""
    in_doubt = SessionsInDoubt()
    in_doubt.cut_short(SESSION)
    in_doubt.answered(SESSION)
    assert not in_doubt


@pytest.mark.parametrize(
    "later",
    [lambda app: app.read("test", deadline=5), lambda app: app.read_many(["other", "test"], deadline=5)[1]],
)
def test_a_thread_with_less_time_than_the_others(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, later: Callable[[Pyshard], object]
) -> None:
    """Its change never happens after what it calls on the key then, though others wait for the same box on."""
    threads = GreenThreads(cluster.clock, Random(1), 0, monkeypatch)
    sockets = GreenSockets(cluster.network, threads)
    parameters = connection_parameters(deadline=10, token_file="", tls=False)
    app = over(Connector(parameters, lambda: sockets, Random(1)))
    threads.start(lambda: app.has("test"))
    cluster.advance(1)
    cluster.network.delay(*LOW, 0.02)
    found: list[object] = []

    def change_and_read() -> None:
        with pytest.raises(OutcomeUnknown):
            app.write("test", 1, deadline=0.2)
        found.append(later(app))

    threads.start(lambda: app.has("test"))  # the other two wait for it, and then go together
    threads.start(lambda: found.append(app.get("test")))
    threads.start(change_and_read)
    cluster.advance(0.05)
    cluster.network.strand(*LOW)
    cluster.advance(3)
    assert found == [None]
    cluster.network.unstrand(*LOW)
    cluster.advance(30)
    assert found == [None, None]
    threads.start(lambda: found.append(app.get("test")))
    cluster.advance(1)
    assert found == [None, None, None]
