"""The bootstrap finds its shards, and refuses those that aren't what they should be."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import attrs
import pytest
from bootstrap.watching import HIGH, MAP, Bench, DurableStore, about
from deferreds import change_state, result

from pyshard.bootstrap.bootstrap import Condition, first_state
from pyshard.model.shard_map import ShardMap
from pyshard.settings import settings
from pyshard.shard.assignment import Assignment
from pyshard.storage import MemoryStore

# -- finding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 0.01, 5])
@pytest.mark.parametrize("names", list(permutations(["low", "high", "bootstrap"])), ids="-".join)
def test_any_order(bench: Bench, names: Sequence[str], seconds: float) -> None:
    """Bootstrap and shards may be started in any order, at once or one long after the other."""
    bench.start(names, seconds)
    bench.network.advance(settings.RETRY_LONGEST + 0.1)
    assert bench.conditions() == [Condition.READY, Condition.READY]
    assert bench.everybody_knows()
    assert bench.state.epoch == 3
    assert {one.identity for one in bench.state.map.shards} == {"store1", "store2"}
    assert bench.saved[-1] == bench.state


def test_ready_at_once(bench: Bench, log_lines: list[str]) -> None:
    """Where both shards run already the cluster is ready without any time passing, and the log says so once."""
    bench.start(["low", "high", "bootstrap"], 0)
    assert bench.everybody_knows()
    bench.network.advance(60)
    assert about(log_lines, "low") == ["info: shard low at 127.0.0.1:5050: ready"]
    assert about(log_lines, "high") == ["info: shard high at 127.0.0.1:5051: ready"]


def test_unreachable(bench: Bench, log_lines: list[str]) -> None:
    """A shard that isn't there is reported with the reason; the log has one line, however often it is tried."""
    bench.start(["low", "bootstrap"], 0)
    bench.network.advance(300)
    assert [(one.condition, one.detail) for one in bench.bootstrap.readiness()] == [
        (Condition.READY, ""),
        (Condition.UNREACHABLE, "connection refused"),
    ]
    assert about(log_lines, "high") == ["warn: shard high at 127.0.0.1:5051: unreachable: connection refused"]


def test_unreachable_does_not_hold_up_others(bench: Bench) -> None:
    """A shard that is there is configured, whatever the others do."""
    bench.start(["low", "bootstrap"], 0)
    assert bench.shards["low"].shard.assignment == Assignment("low", bench.state)


def test_another_reason(bench: Bench, log_lines: list[str]) -> None:
    """When the reason changes the log says so, once."""
    bench.start(["low", "bootstrap"], 10)
    bench.network.silence(*HIGH)
    bench.start_shard("high")
    bench.network.advance(60)
    bench.network.unsilence(*HIGH)
    bench.network.advance(10)
    assert about(log_lines, "high") == [
        "warn: shard high at 127.0.0.1:5051: unreachable: connection refused",
        "warn: shard high at 127.0.0.1:5051: unreachable: no answer to Hello within 5 s",
        "info: shard high at 127.0.0.1:5051: ready",
    ]


# -- refusing -------------------------------------------------------------------------------------------------------


def test_foreign_shard(bench: Bench, log_lines: list[str]) -> None:
    """A shard of another cluster is refused, reported once with the reason, and left as it is."""
    theirs = bench.start_shard("high", MemoryStore("theirs", bench.clock.seconds))
    foreign = attrs.evolve(
        first_state("c2", MAP), map=ShardMap([MAP.shards[0], attrs.evolve(MAP.shards[1], identity="theirs")])
    )
    result(theirs.configure("high", foreign))
    bench.start(["low", "bootstrap"], 60)
    assert bench.conditions() == [Condition.READY, Condition.REFUSED]
    reason = (
        "the shard at 127.0.0.1:5051 belongs to another cluster (c2, as 'high'); this one is c1. Correct the address, "
        "or restart that shard empty"
    )
    assert bench.detail("high") == reason
    assert theirs.assignment == Assignment("high", foreign)
    assert about(log_lines, "high") == [f"warn: shard high at 127.0.0.1:5051: refused: {reason}"]
    bench.kill_shard("high")
    bench.start_shard("high")
    bench.network.advance(2)
    assert bench.everybody_knows()
    assert about(log_lines, "high")[-1] == "info: shard high at 127.0.0.1:5051: ready"


def test_durable_shard_that_lost_its_data(bench: Bench) -> None:
    """A durable shard that comes back with another store is refused, until it comes with its own."""
    store = DurableStore("durable", bench.clock.seconds)
    bench.start_shard("high", store)
    bench.start(["low", "bootstrap"], 1)
    epoch = bench.state.epoch
    bench.kill_shard("high")
    lost = bench.start_shard("high", DurableStore("other", bench.clock.seconds))
    bench.network.advance(10)
    assert bench.conditions() == [Condition.READY, Condition.REFUSED]
    assert bench.detail("high").endswith("are in store durable; start the shard with its own data")
    assert lost.assignment is None
    bench.kill_shard("high")
    bench.start_shard("high", store)
    bench.network.advance(10)
    assert bench.everybody_knows()
    assert bench.state.epoch == epoch


def test_shard_that_knows_more(running: Bench, log_lines: list[str]) -> None:
    """A shard that was told a newer state by somebody else is refused, and keeps it."""
    newer = attrs.evolve(running.state, epoch=100)
    shard = running.shards["high"].shard
    result(shard.configure("high", newer))
    change_state(running.bootstrap, running.state.with_index("pages"))
    running.network.advance(60)
    assert running.conditions() == [Condition.READY, Condition.REFUSED]
    assert shard.assignment == Assignment("high", newer)
    refused = "warn: shard high at 127.0.0.1:5051: refused: "
    assert about(log_lines, "high")[1:] == [
        f"{refused}this shard has epoch 100; the given epoch 4 is no newer one",
        f"{refused}shard 'high' knows epoch 100 and this bootstrap 4; restore the bootstrap's newest state file",
    ]


def test_change_that_cannot_be_saved(bench: Bench) -> None:
    """A new shard whose identity can't be saved isn't configured; it is as soon as saving works."""
    bench.fill_disk()
    bench.start(["low", "high", "bootstrap"], 10)
    assert bench.told() == [None, None]
    assert bench.conditions() == [Condition.UNREACHABLE, Condition.UNREACHABLE]
    assert bench.detail("low") == "the disk is full"
    bench.fill_disk(False)
    bench.network.advance(2)
    assert bench.everybody_knows()
