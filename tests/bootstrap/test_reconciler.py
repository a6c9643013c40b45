"""The bootstrap watches its shards from then on, until it ends."""

from __future__ import annotations

import pytest
from bootstrap.watching import HIGH, LOW, Bench, DurableStore, about
from deferreds import change_state, result
from other_answers import answer_with
from twisted.internet.defer import Deferred

from pyshard.bootstrap.bootstrap import Condition
from pyshard.model.address_mapping import mapping_of
from pyshard.settings import settings
from pyshard.shard.protocol import ShardProtocol

# -- watching -------------------------------------------------------------------------------------------------------


def test_shard_in_memory_that_was_restarted(running: Bench, log_lines: list[str]) -> None:
    """A shard that comes back empty gets its place under the next epoch, of which the others are told."""
    epoch = running.state.epoch
    running.kill_shard("high")
    running.network.advance(10)
    assert running.conditions() == [Condition.READY, Condition.UNREACHABLE]
    running.start_shard("high")
    running.network.advance(settings.RETRY_LONGEST)
    assert running.state.epoch == epoch + 1
    assert running.everybody_knows()
    assert about(log_lines, "high") == [
        "info: shard high at 127.0.0.1:5051: ready",
        "warn: shard high at 127.0.0.1:5051: unreachable: the connection was closed",
        "warn: shard high at 127.0.0.1:5051: unreachable: connection refused",
        "info: shard high at 127.0.0.1:5051: ready",
    ]


def test_shard_that_comes_back_with_its_data(bench: Bench) -> None:
    """A shard that comes back with its store goes on under the same epoch."""
    store = DurableStore("durable", bench.clock.seconds)
    bench.start_shard("high", store)
    bench.start(["low", "bootstrap"], 1)
    before = bench.state
    bench.kill_shard("high")
    bench.network.advance(10)
    bench.start_shard("high", store)
    bench.network.advance(2)
    assert bench.state is before
    assert bench.everybody_knows()
    assert bench.conditions() == [Condition.READY, Condition.READY]


def test_shard_that_forgot_its_place(bench: Bench) -> None:
    """A shard that comes back with its store, but doesn't know its place any more, is told again."""
    store = DurableStore("durable", bench.clock.seconds)
    bench.start_shard("high", store)
    bench.start(["low", "bootstrap"], 1)
    before = bench.state
    bench.kill_shard("high")
    store._remembered = None
    bench.start_shard("high", store)
    bench.network.advance(2)
    assert bench.everybody_knows()
    assert bench.state is before


def test_present_reason(running: Bench) -> None:
    """What is told of a shard is why it isn't ready now, not why it wasn't before."""
    running.network.silence(*HIGH)
    running.network.advance(6.1)
    assert running.detail("high") == "no answer to Ping within 5 s"
    running.kill_shard("high")
    running.network.unsilence(*HIGH)
    running.network.advance(10)
    assert running.detail("high") == "connection refused"


def test_refused_shard_that_goes(bench: Bench) -> None:
    """A shard that was refused and is gone now is unreachable."""
    bench.start_shard("high", DurableStore("durable", bench.clock.seconds))
    bench.start(["low", "bootstrap"], 1)
    bench.kill_shard("high")
    bench.start_shard("high", DurableStore("other", bench.clock.seconds))
    bench.network.advance(10)
    assert bench.conditions() == [Condition.READY, Condition.REFUSED]
    bench.kill_shard("high")
    bench.network.advance(10)
    assert bench.conditions() == [Condition.READY, Condition.UNREACHABLE]
    assert bench.detail("high") == "connection refused"


def test_connection_that_breaks(running: Bench) -> None:
    """A shard whose connection broke is found again at once; it is the same one, and nothing changes."""
    before = running.state
    running.network.cut(*HIGH)
    running.network.settle()
    assert running.conditions() == [Condition.READY, Condition.UNREACHABLE]
    running.network.advance(settings.RETRY_FIRST)
    assert running.conditions() == [Condition.READY, Condition.READY]
    assert running.state is before


def test_shard_that_fell_silent(running: Bench, log_lines: list[str]) -> None:
    """A shard that answers nothing any more, on a connection that stands, is noticed by the next look at it."""
    running.network.silence(*HIGH)
    running.network.advance(settings.WATCH_INTERVAL + settings.TIMEOUT + 0.1)
    assert running.conditions() == [Condition.READY, Condition.UNREACHABLE]
    assert running.detail("high") == "no answer to Ping within 5 s"
    running.network.unsilence(*HIGH)
    running.network.advance(1)
    assert running.conditions() == [Condition.READY, Condition.READY]
    assert about(log_lines, "high")[1:] == [
        "warn: shard high at 127.0.0.1:5051: unreachable: no answer to Ping within 5 s",
        "info: shard high at 127.0.0.1:5051: ready",
    ]


@pytest.mark.parametrize("rounds", [1, 4, 20])
def test_ping_behind_large_answers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, log_lines: list[str], rounds: int
) -> None:
    """While other answers come, a ping may wait for its own; but not for ever."""
    waiting: list[Deferred[dict[str, object]]] | None = None

    def ping(_: ShardProtocol) -> object:
        if waiting is None:
            return {}
        waiting.append(Deferred())
        return waiting[-1]

    answer_with(monkeypatch, ShardProtocol, b"Ping", ping)
    bench.running()
    assert bench.service is not None
    waiting = []
    for _ in range(rounds):
        bench.network.advance((settings.WATCH_INTERVAL + settings.TIMEOUT) / 2)
        for name in ("low", "high"):
            reconciler = bench.service.reconcilers.named(name)
            assert reconciler is not None
            reconciler.ask_statistics().addErrback(lambda _: None)  # stands for a piece of a large answer
        bench.network.advance((settings.WATCH_INTERVAL + settings.TIMEOUT) / 2)
    ended = [line for line in about(log_lines, "high") if line.startswith("warn")]
    assert bool(ended) == (rounds > 6)
    assert all(line.endswith("unreachable: no answer to Ping within 5 s") for line in ended)
    last, waiting = waiting, None
    for answer in last:
        answer.callback({})
    bench.network.advance(10)
    assert bench.conditions() == [Condition.READY, Condition.READY]


@pytest.mark.parametrize("cuts", [0, 5])
def test_looks_are_regular(bench: Bench, monkeypatch: pytest.MonkeyPatch, cuts: int) -> None:
    """Each shard is asked once a second whether it is there, also after its connection broke some times."""
    pings: list[ShardProtocol] = []

    def ping(self: ShardProtocol) -> dict[str, object]:
        pings.append(self)
        return {}

    answer_with(monkeypatch, ShardProtocol, b"Ping", ping)
    bench.running()
    for _ in range(cuts):
        bench.network.cut(*HIGH)
        bench.network.cut(*LOW)
        bench.network.advance(0.1)
    bench.network.advance(2)  # until both are connected again
    pings.clear()
    bench.network.advance(10)
    assert len(pings) == 20


# -- ending ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", [False, True])
def test_stop(running: Bench, silent: bool) -> None:
    """A bootstrap that stops lets go of everything, and says nothing more; the shards go on."""
    if silent:
        running.network.silence(*HIGH)
        change_state(running.bootstrap, running.state.with_index("pages"))
    before = running.conditions()
    service = running.service
    assert service is not None
    assert ("localhost", 9192) in running.network.listeners
    stopping: Deferred[object] = service.stopService()
    running.network.advance(0.1)
    result(stopping)
    assert running.conditions() == before
    reconcilers = [service.reconcilers.named(shard.name) for shard in running.state.map.shards]
    assert not any(one is None or one.running for one in (service, *service.services, *reconcilers))
    assert ("localhost", 9192) not in running.network.listeners
    running.network.unsilence(*HIGH)
    running.network.advance(100)
    assert running.conditions() == before
    assert running.told()[0] is not None
    for shard in running.shards.values():
        shard.stopService()
    assert running.clock.getDelayedCalls() == []


def test_stop_while_waiting_for_a_shard(bench: Bench) -> None:
    """A bootstrap that waits for its shards can be stopped too."""
    service = bench.start_bootstrap()
    bench.network.advance(10)
    stopping: Deferred[object] = service.stopService()
    bench.network.advance(10)
    result(stopping)
    assert bench.clock.getDelayedCalls() == []


def test_next_bootstrap(running: Bench) -> None:
    """A bootstrap that takes over with the saved state finds its shards, and changes nothing."""
    assert running.service is not None
    stopping: Deferred[object] = running.service.stopService()
    running.network.advance(10)
    result(stopping)
    before = running.state
    running.bootstrap = running.new_bootstrap()
    running.start_bootstrap()
    running.network.advance(1)
    assert running.state == before
    assert running.conditions() == [Condition.READY, Condition.READY]
    change_state(running.bootstrap, running.state.with_index("pages"))
    running.network.settle()
    assert running.everybody_knows()


def test_shards_that_are_dialed_elsewhere(bench: Bench, log_lines: list[str]) -> None:
    """A bootstrap dials where its mapping says; log and readiness name both addresses, the map the announced one."""
    outside = ("db.example.com", 15050)
    bench.addresses = mapping_of({"127.0.0.1:5051": "db.example.com:15050", "192.0.2.9:1": "nobody:1"})
    bench.start_shard("high")
    bench.network.listeners[outside] = bench.network.listeners.pop(HIGH)
    bench.start(["low", "bootstrap"], 1)
    assert bench.conditions() == [Condition.READY, Condition.READY]
    assert [(shard.host, shard.port) for shard in bench.state.map.shards] == [LOW, HIGH]
    del bench.network.listeners[outside]
    bench.network.cut(*outside)
    bench.network.advance(10)
    assert bench.detail("high") == "connection refused (dialed at db.example.com:15050)"
    assert about(log_lines, "high")[0] == "info: shard high at 127.0.0.1:5051 (dialed at db.example.com:15050): ready"
    assert about(log_lines, "high")[-1].endswith(
        "127.0.0.1:5051 (dialed at db.example.com:15050): unreachable: connection refused"
    )
    assert all("dialed" not in line for line in about(log_lines, "low"))
