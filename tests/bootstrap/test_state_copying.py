"""A state is copied to another state store, unless what is there mustn't be lost."""

from __future__ import annotations

import attrs
import pytest
from bootstrap.states import STATE
from deferreds import result, watch
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.bootstrap.state_copying import copy_state, obstacle
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore, SwapFault
from pyshard.errors import ConfigError, OutcomeUnknown
from pyshard.model.cluster_state import ClusterState

NEWER = STATE.with_index("links")
FOREIGN = attrs.evolve(STATE, cluster="another", epoch=1)


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (None, ""),
        (STATE, ""),
        (attrs.evolve(STATE, epoch=6), ""),
        (NEWER, "there is a state of epoch 8, and this one, of epoch 7, is no later one"),
        (attrs.evolve(STATE, indexes={}), "there is a state of epoch 7, and this one, of epoch 7, is no later one"),
        (FOREIGN, "there is the state of another cluster, another; this one is of c1"),
    ],
    ids=["nothing", "the same", "older", "newer", "another one of the same order", "another cluster's"],
)
def test_obstacles(there: ClusterState | None, why: str) -> None:
    """What is newer, or another cluster's, is in the way; and so it is said. Unless it is to be overwritten."""
    assert obstacle(STATE, there) == why
    store, clock = MemoryStateStore(there), Clock()
    if why:
        with pytest.raises(ConfigError, match=f"^memory: {why}; --overwrite replaces it all the same$"):
            result(Deferred.fromCoroutine(copy_state(STATE, store, False, clock)))
        assert store.swaps == []
    copied = result(Deferred.fromCoroutine(copy_state(STATE, store, bool(why), clock)))
    assert copied is (there != STATE)
    assert store.stored is not None
    assert store.stored.state == STATE


@pytest.mark.parametrize("fault", SwapFault)
def test_an_unknown_swap_is_tried_again(fault: SwapFault) -> None:
    """As it is, until it is settled, or for some seconds."""
    store, clock, faults = MemoryStateStore(), Clock(), [fault] * 3
    store.fault = lambda _: faults.pop() if faults else None
    copied = watch(Deferred.fromCoroutine(copy_state(STATE, store, False, clock)))
    clock.pump([0.1] * 20)
    assert copied == [True]
    assert store.swaps == [STATE]
    store.fault = lambda _: SwapFault.LOST
    copied = watch(Deferred.fromCoroutine(copy_state(NEWER, store, False, clock)))
    clock.pump([0.1] * 100)
    assert isinstance(copied[0], OutcomeUnknown)


def test_somebody_else_comes_in_between() -> None:
    """What they have put there stays."""
    store, clock = MemoryStateStore(), Clock()

    def overtaken(_: ClusterState) -> None:
        store.fault = lambda _: None
        store.stored = MemoryStateStore(FOREIGN).stored

    store.fault = overtaken
    with pytest.raises(ConfigError, match="somebody else has changed what is there just now"):
        result(Deferred.fromCoroutine(copy_state(STATE, store, True, clock)))
    assert store.stored is not None
    assert store.stored.state == FOREIGN
