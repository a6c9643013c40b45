"""What an exception in the middle of a blocking call says of a change that was under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pyshard import Pyshard
from pyshard.blocking import bulk_call
from pyshard.blocking.interrupted_change import tell_doubt
from pyshard.errors import OutcomeUnknown, Unavailable
from pyshard.testing import MemoryCluster

LOW, HIGH = ("127.0.0.1", 5050), ("127.0.0.1", 5051)  # where shard0 and shard1 are
LOW_KEY, HIGH_KEY = "test", "test1"  # theirs
BOOTSTRAP = ("localhost", 9192)


class Impatience:
    """Interrupts a call of the blocking client when it has waited for a time.

    :ivar app: the client.
    :ivar after: seconds; None: it lets calls wait.
    """

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster
        self.app = cluster.blocking(pass_time=self._pass)
        self.after: float | None = None

    def _pass(self, seconds: float) -> None:
        if self.after is not None:
            self.after -= seconds
            if self.after <= 0:
                self.after = None
                raise KeyboardInterrupt
        self._cluster.advance(seconds)

    def interrupted(self, call: Callable[[Pyshard], object]) -> BaseException | None:
        """The cause of what comes out of a call that is interrupted after a second."""
        self.after = 1.0
        with pytest.raises(KeyboardInterrupt) as caught:
            call(self.app)
        return caught.value.__cause__


@pytest.fixture
def impatience(cluster: MemoryCluster) -> Impatience:
    """Interrupts calls."""
    made = Impatience(cluster)
    made.app.create_index("old")
    made.app.write_many([(LOW_KEY, 1), (HIGH_KEY, 1)])
    return made


CHANGES: list[tuple[tuple[str, int], Callable[[Pyshard], object]]] = [
    (LOW, lambda app: app.write(LOW_KEY, 2)),
    (LOW, lambda app: app.increment(LOW_KEY)),
    (LOW, lambda app: app.pop_many([HIGH_KEY, LOW_KEY])),
    (BOOTSTRAP, lambda app: app.create_index("new")),
    (BOOTSTRAP, lambda app: app.drop_index("old")),
]


@pytest.mark.parametrize(("where", "change"), CHANGES)
def test_a_change_that_was_sent(
    cluster: MemoryCluster, impatience: Impatience, where: tuple[str, int], change: Callable[[Pyshard], object]
) -> None:
    """It may have happened, and the exception's cause says so."""
    cluster.network.silence(*where)
    assert isinstance(impatience.interrupted(change), OutcomeUnknown)


@pytest.mark.parametrize("change", [change for _, change in CHANGES])
def test_a_change_that_was_not_sent(
    cluster: MemoryCluster, impatience: Impatience, change: Callable[[Pyshard], object]
) -> None:
    """Where nobody can be reached nothing was changed; a bulk verb and a change of indexes only say that it may be."""
    cluster.kill_shard("shard0")
    cluster.kill_shard("shard1")
    cluster.stop_bootstrap()
    cluster.advance(1)
    cause = impatience.interrupted(change)
    assert cause is None or "was begun" in str(cause)


def test_a_read(cluster: MemoryCluster, impatience: Impatience) -> None:
    """It leaves nothing in doubt."""
    for where in (LOW, HIGH, BOOTSTRAP):
        cluster.network.silence(*where)
    reads: list[Callable[[Pyshard], object]] = [
        lambda app: app.read(LOW_KEY),
        lambda app: app.read_many([LOW_KEY, HIGH_KEY]),
        lambda app: list(app.items()),
        lambda app: app.indexes(),
    ]
    assert [impatience.interrupted(read) for read in reads] == [None] * 4


def test_several_steps(cluster: MemoryCluster, impatience: Impatience) -> None:
    """What one shard has done before the other one was waited for is in doubt, too."""
    cluster.kill_shard("shard1")
    cluster.advance(1)
    cause = impatience.interrupted(lambda app: app.remove_many([LOW_KEY, HIGH_KEY]))
    assert str(cause).startswith("a change of 2 keys was begun")
    assert impatience.app.read(LOW_KEY) is None
    impatience.app.write(LOW_KEY, 1)
    assert str(impatience.interrupted(lambda app: app.clear())).startswith("1 documents were removed")
    assert impatience.interrupted(lambda app: app.clear()) is None


def test_an_iterable_that_raises(impatience: Impatience, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys that it gave before may have been changed; before it gave any, there is nothing in doubt."""
    monkeypatch.setattr(bulk_call, "_WINDOW", 2)

    def pairs(many: int) -> Iterator[tuple[str, int]]:
        yield from [(f"key {number}", number) for number in range(many)]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        impatience.app.write_many(pairs(5))
    assert str(caught.value.__cause__).startswith("a change of 4 keys was begun")
    with pytest.raises(ZeroDivisionError) as caught:
        impatience.app.write_many(pairs(1))
    assert caught.value.__cause__ is None


def test_what_an_exception_tells() -> None:
    """The outcome of a call is no interruption, and an exception keeps the cause that it has."""
    outcome, caused, plain = Unavailable("why"), ValueError(), KeyboardInterrupt()
    caused.__cause__ = KeyError()
    for error in (outcome, caused, plain):
        tell_doubt(error, "a change was begun")
    assert (outcome.__cause__, type(caused.__cause__)) == (None, KeyError)
    assert str(plain.__cause__) == "a change was begun: it may or may not have happened"
