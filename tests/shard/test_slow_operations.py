"""The lines about operations that took long: what they say, and what they never say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from deferreds import result, watch
from ports import free_port
from shard.served import ONE, Bench
from shard.states import A, B, C, with_low
from twisted.internet.defer import Deferred

from pyshard.errors import BadRequest, ShardBehind
from pyshard.protocol import commands
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Has, Read, Run, Write
from pyshard.shard.plugin import ShardOptions
from pyshard.shard.slow_operations import index_of, verbs_of
from pyshard.storage import ITSELF, MemoryStore, Sender, Task

DISTINCTIVE = [b"xylophone-key-1", b"xylophone-key-2"]
KEYS = [A, B, C]


class SlowStore(MemoryStore):
    """A store that takes its time.

    :ivar takes: seconds of each batch.
    :ivar gate: batches that aren't answered before this fires; None: they are at once.
    """

    takes = 0.0
    gate: Deferred[None] | None = None
    pass_time: Callable[[float], object]

    def apply(
        self, tasks: Sequence[Task], limit: int, answer_bytes: int, sender: Sender = ITSELF
    ) -> Deferred[list[Answer]]:
        self.pass_time(self.takes)
        applied = super().apply(tasks, limit, answer_bytes, sender)
        return applied if self.gate is None else self.gate.addCallback(lambda _: result(applied))


@pytest.fixture
def store() -> SlowStore:
    """The shard's store."""
    return SlowStore("1d", lambda: 1000.0)


@pytest.fixture
def bench(store: SlowStore, log_lines: list[str]) -> Bench:
    """A shard on which half a second is slow."""
    made = Bench(store, slow=0.5)
    store.pass_time = made.clock.advance
    made.configure(with_low(limit=10**9))
    log_lines.clear()
    return made


def slow_lines(lines: list[str]) -> list[str]:
    """The lines about slow operations, without the ports."""
    return [line for line in lines if ": slow: " in line]


def test_quick(bench: Bench, log_lines: list[str]) -> None:
    """What isn't slow has no line."""
    bench.apply(Write("", KEYS, [ONE] * 3))
    bench.apply(Read("", KEYS))
    assert slow_lines(log_lines) == []


def test_at_once(bench: Bench, store: SlowStore, log_lines: list[str]) -> None:
    """A batch that kept the shard busy for long is told with its verbs, its size and its time."""
    store.takes = 0.75
    runs: list[Run] = [Has("", KEYS), Write("", KEYS, [ONE] * 3), Has("", KEYS[:1])]
    bench.apply(*runs)
    size = len(encode_runs(runs))
    (line,) = slow_lines(log_lines)
    assert line.startswith("warn: connection c1 from ")
    assert line.endswith(
        f": slow: 4 × has, 3 × write, {size} bytes; it waited 0 ms for its turn, and was answered after 750 ms"
    )


def test_later(bench: Bench, store: SlowStore, log_lines: list[str]) -> None:
    """The time counts until the answer is there."""
    held = store.gate = Deferred()
    asked = bench.peer.call(commands.Apply, 5, epoch=7, batch=encode_runs([Write("", KEYS, [ONE] * 3)]))
    bench.network.settle()
    bench.clock.advance(2)
    assert slow_lines(log_lines) == []
    held.callback(None)
    bench.network.settle()
    assert result(asked)
    (line,) = slow_lines(log_lines)
    assert line.endswith("it waited 0 ms for its turn, and was answered after 2,000 ms")


def test_its_turn(bench: Bench, log_lines: list[str]) -> None:
    """The wait for a turn counts once, for what was asked next."""
    (connection,) = [each for each in bench.service.listener._factory.connections if each.id == "c1"]
    connection.wait_for_turn()
    bench.clock.advance(0.25)
    connection.wait_unread()
    bench.clock.advance(0.5)
    connection.take_turn()
    bench.apply(Read("", KEYS))
    bench.apply(Read("", KEYS))
    (line,) = slow_lines(log_lines)
    assert line.endswith("it waited 750 ms for its turn, and was answered after 0 ms")


@pytest.mark.parametrize("before", ["Ping", "an unreadable batch", "a batch of another epoch"])
def test_a_turn_of_what_came_before(bench: Bench, log_lines: list[str], before: str) -> None:
    """What waited for its turn and was only a ping, or was refused, isn't what the next operation waited."""
    (connection,) = [each for each in bench.service.listener._factory.connections if each.id == "c1"]
    connection.wait_for_turn()
    bench.clock.advance(2)
    connection.take_turn()
    assert connection.waited == 2
    if before == "Ping":
        bench.ask(commands.Ping)
    else:
        epoch, batch = (7, b"?") if before == "an unreadable batch" else (99, encode_runs([Read("", KEYS)]))
        refused = watch(bench.peer.call(commands.Apply, 5, epoch=epoch, batch=batch))
        bench.network.settle()
        assert [type(found) for found in refused] == [BadRequest if epoch == 7 else ShardBehind]
    bench.apply(Read("", KEYS))
    assert slow_lines(log_lines) == []


def test_not_only_batches(bench: Bench, log_lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of keys and snapshots may be slow, too."""
    keys = bench.shard.keys

    def slowly(*arguments: object) -> object:
        bench.clock.advance(1)
        return keys(*arguments)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(bench.shard, "keys", slowly)
    bench.ask(commands.Keys, epoch=7, index="", slot=0, after=None)
    (line,) = slow_lines(log_lines)
    assert ": slow: 1 × Keys; it waited 0 ms" in line


def test_many(bench: Bench, store: SlowStore, log_lines: list[str]) -> None:
    """However many are slow, a few lines tell of them, and how many had none."""
    store.takes = 0.5
    for _ in range(200):
        bench.apply(Has("", KEYS))
    told = slow_lines(log_lines)
    assert 50 <= len(told) <= 110  # of 200, in 100 seconds
    store.takes = 0.0
    bench.clock.advance(3)
    store.takes = 0.5
    bench.apply(Has("", KEYS))
    assert " such lines before were left out" in slow_lines(log_lines)[-1]


def test_never_a_key(bench: Bench, store: SlowStore, log_lines: list[str]) -> None:
    """No line has a key, a document, or an index that a peer made up; one of the cluster's it may have."""
    store.takes = 1.0
    bench.apply(Has("", DISTINCTIVE), Has("xylophone-index", DISTINCTIVE))
    bench.apply(Has("xylophone-index", DISTINCTIVE), Write("xylophone-index", DISTINCTIVE, [ONE + b"xylophone"] * 2))
    state = with_low(limit=10**9)
    (index,) = [*state.indexes][:1]
    bench.apply(Has(index, DISTINCTIVE))
    assert len(slow_lines(log_lines)) == 3
    assert "xylophone" not in "".join(log_lines)
    assert f" of index {index!r}" in log_lines[-1]


def test_what_a_batch_is() -> None:
    """Its verbs, each with the number of its operations; runs that aren't permitted have no verb. And its index."""
    runs: list[Run | int] = [Has("a", KEYS), 7, Has("a", KEYS)]
    assert (verbs_of(runs), index_of(runs)) == ({"has": 6, "refused": 7}, "a")
    assert index_of([Has("a", KEYS), Has("b", KEYS)]) is None


@pytest.mark.parametrize(
    ("given", "seconds"), [([], 1.0), (["--slow-operation=250"], 0.25), (["--slow-operation=0"], None)]
)
def test_the_default(given: list[str], seconds: float | None, asked: list[tuple[str, int]], tmp_path: Path) -> None:
    """A second is slow, unless an option says otherwise; 0: nothing is."""
    options = ShardOptions()
    options.parseOptions([f"--port={free_port()}", *given])
    assert options["slow"] == seconds
