"""What the bootstrap does, without a network: how it changes the cluster's state, and what it says of shards."""

from __future__ import annotations

import attrs
import pytest
from bootstrap.states import STATE, Log
from deferreds import change_state, watch

from pyshard.bootstrap.bootstrap import Condition, ShardReadiness
from pyshard.bootstrap.state_stores.memory_state_store import SwapFault
from pyshard.errors import ConfigError, OutcomeUnknown

# -- changes --------------------------------------------------------------------------------------------------------


def test_change() -> None:
    """A change is saved first; then it holds, and everybody hears of it."""
    log = Log()
    log.bootstrap.on_change(lambda: log.done.append(("heard too", log.bootstrap.state.epoch)))
    change_state(log.bootstrap, STATE.with_index("links"))
    assert log.bootstrap.state == STATE.with_index("links")
    assert log.done == [("saved", 8), ("heard", 8), ("heard too", 8)]


def test_change_to_the_same() -> None:
    """What is no change is neither saved nor told."""
    log = Log()
    change_state(log.bootstrap, attrs.evolve(STATE))
    assert log.done == []


def test_change_that_cannot_be_saved() -> None:
    """A change that can't be saved doesn't hold, and nobody hears of it."""
    log = Log()
    log.store.away = ConfigError("the disk is full")
    with pytest.raises(ConfigError, match="the disk is full"):
        change_state(log.bootstrap, STATE.with_index("links"))
    assert (log.bootstrap.state, log.done) == (STATE, [])
    log.store.away = None
    change_state(log.bootstrap, STATE.with_index("links"))
    assert log.done == [("saved", 8), ("heard", 8)]


def test_change_of_which_nobody_knows_whether_it_was_saved() -> None:
    """It doesn't hold and nobody hears of it, until it is saved for sure; another change may come in its place."""
    for change in (STATE.with_index("links"), STATE.without_index("pages")):
        log = Log()
        log.store.fault = lambda _: SwapFault.LOST
        outcome = watch(log.bootstrap.change(lambda state: state.with_index("links")))
        log.clock.pump([0.1] * 60)
        assert [type(each) for each in outcome] == [OutcomeUnknown]
        assert (log.bootstrap.state, log.done) == (STATE, [])
        log.store.fault = lambda _: None
        change_state(log.bootstrap, change)
        assert (log.bootstrap.state, log.done) == (change, [("saved", 8), ("heard", 8)])


# -- readiness ------------------------------------------------------------------------------------------------------


def test_readiness() -> None:
    """It knows of each shard, in slot order, how ready it is; none was reached at first."""
    bootstrap = Log().bootstrap
    none = "not reached yet"
    assert bootstrap.readiness() == [
        ShardReadiness("low", "10.0.0.1:5050", Condition.UNREACHABLE, none),
        ShardReadiness("high", "10.0.0.2:5051", Condition.UNREACHABLE, none),
    ]
    bootstrap.set_readiness("high", Condition.READY)
    bootstrap.set_readiness("low", Condition.REFUSED, "another cluster's")
    assert [one.described() for one in bootstrap.readiness()] == [
        {"name": "low", "address": "10.0.0.1:5050", "state": "refused", "detail": "another cluster's"},
        {"name": "high", "address": "10.0.0.2:5051", "state": "ready", "detail": ""},
    ]


def test_readiness_at_another_address() -> None:
    """A shard was ready where it was. Of who is at its new address nothing is known; another limit changes nothing."""
    bootstrap = Log().bootstrap
    low, high = STATE.map.shards
    for name in ("low", "high"):
        bootstrap.set_readiness(name, Condition.READY)
    change_state(bootstrap, STATE.with_shards([], [attrs.evolve(low, port=6000), attrs.evolve(high, limit=10)], []))
    assert bootstrap.readiness() == [
        ShardReadiness("low", "10.0.0.1:6000", Condition.UNREACHABLE, "not reached yet"),
        ShardReadiness("high", "10.0.0.2:5051", Condition.READY, ""),
    ]


def test_news() -> None:
    """A report is news when the condition or the reason is another one than before."""
    bootstrap = Log().bootstrap
    reports = [
        (Condition.UNREACHABLE, "connection refused"),
        (Condition.UNREACHABLE, "connection refused"),
        (Condition.UNREACHABLE, "no answer"),
        (Condition.REFUSED, "no answer"),
        (Condition.READY, ""),
        (Condition.READY, ""),
        (Condition.UNREACHABLE, "connection refused"),
    ]
    news = [bootstrap.set_readiness("low", *report) for report in reports]
    assert news == [True, False, True, True, True, False, True]
    assert bootstrap.set_readiness("high", Condition.UNREACHABLE, "connection refused")
