"""What the web page says isn't well, and what it shows of the state store, by value."""

from __future__ import annotations

import attrs
import pytest
from bootstrap.states import HIGH, LOW, STATE
from twisted.internet.task import Clock

from pyshard.bootstrap.bootstrap import Bootstrap, Condition, ShardReadiness
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.bootstrap.status_page.shard_figures import ShardFigures
from pyshard.bootstrap.status_page.shown_cluster import shown_without_state
from pyshard.bootstrap.status_page.shown_levels import Level
from pyshard.bootstrap.status_page.shown_problems import Problem, health_of, problems_of
from pyshard.bootstrap.status_page.shown_shards import ShardLook, WatchedShard
from pyshard.bootstrap.status_page.shown_state_store import MOST_ERROR, WatchedStateStore, state_store_of
from pyshard.errors import Unavailable

WELL = WatchedStateStore("etcd", "etcd://10.0.0.1:2379/pyshard")
AWAY = attrs.evolve(WELL, away=12.6, error="10.0.0.1:2379: connection refused")
READY = ShardReadiness("low", LOW.address, Condition.READY, "")
GOOD = WatchedShard(LOW, READY)
DOWN = WatchedShard(HIGH, ShardReadiness("high", HIGH.address, Condition.UNREACHABLE, "connection refused"))
NEARLY = WatchedShard(LOW, READY, ShardFigures(9.0, 1.0, 0, 0, 900, epoch=7))


def test_problems() -> None:
    """The state store comes first, then shards in the map's order, each with its reason."""
    assert problems_of(WELL, [GOOD], 9.5, 9.0) == []
    assert problems_of(AWAY, [NEARLY, DOWN], 9.5, 0.0) == [
        Problem(
            Level.BAD,
            "state store: away",
            "10.0.0.1:2379: connection refused; changes of the cluster wait, failovers too",
        ),
        Problem(Level.WARN, "low: nearly full", "give it a larger limit, or another shard some of its ranges"),
        Problem(Level.BAD, "high: down", "connection refused"),
    ]


def test_texts_stand_still() -> None:
    """As time passes, no text changes: a screen reader would read it again each second."""
    later = attrs.evolve(AWAY, away=13.6)
    assert problems_of(later, [DOWN], 10.5, 0.0) == problems_of(AWAY, [DOWN], 9.5, 0.0)


@pytest.mark.parametrize(
    ("shards", "all_ready", "health"),
    [
        ([GOOD], True, Level.GOOD),
        ([NEARLY], True, Level.WARN),
        ([NEARLY, DOWN], True, Level.BAD),
        ([], False, Level.BAD),
    ],
)
def test_health(shards: list[WatchedShard], all_ready: bool, health: Level) -> None:
    """It is the worst that is known, and bad where a shard isn't ready that isn't shown."""
    assert health_of(problems_of(WELL, shards, 9.5, 9.0), all_ready) is health


def test_levels() -> None:
    """What keeps callers waiting, or refuses what they want, is bad; what may soon is a warning."""
    levels: dict[Level, list[str]] = {
        level: [look.value for look in ShardLook if look.level is level] for level in Level
    }
    assert levels == {
        Level.BAD: ["refused", "down", "failing over", "failing", "too few members", "full"],
        Level.WARN: ["not configured", "slow", "member missing", "nearly full"],
        Level.INFO: ["moving"],
        Level.GOOD: ["ready"],
    }


def test_a_state_store() -> None:
    """Its kind and name, and for how long it has been away."""
    assert WELL.shown() == {"kind": "etcd", "name": "etcd://10.0.0.1:2379/pyshard", "away": None, "error": ""}
    assert AWAY.shown()["away"] == 13
    assert attrs.evolve(AWAY, away=0.0).shown()["away"] == 0


def test_what_a_bootstrap_knows_of_it() -> None:
    """Trouble is told since it began, in one short line."""
    clock, store = Clock(), MemoryStateStore(STATE)
    bootstrap = Bootstrap(store, clock, "b1", store.stored)
    assert state_store_of(bootstrap) == WatchedStateStore("memory", "memory")
    store.away = Unavailable("nobody\nanswers " + "x" * 1000)
    bootstrap.changes.look()
    clock.advance(2)
    found = state_store_of(bootstrap)
    assert found.away == 2.0
    assert found.error.startswith(r"nobody\nanswers x")
    assert found.error.isprintable()
    assert len(found.error) <= MOST_ERROR + 100


def test_without_a_state() -> None:
    """A bootstrap that has no state yet says what it waits for."""
    assert shown_without_state(AWAY) == {
        "waits": True,
        "problems": [
            {
                "level": "bad",
                "what": "state store: away",
                "why": "10.0.0.1:2379: connection refused; this bootstrap waits for it",
            }
        ],
        "store": AWAY.shown(),
    }
