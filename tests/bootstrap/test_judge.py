"""Whom the bootstrap takes for a shard."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from bootstrap.states import HIGH, LOW, STATE

from pyshard.bootstrap.bootstrap import first_state, judge
from pyshard.errors import ForeignCluster, PyshardError, StaleEpoch, WrongIdentity
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import ShardMap
from pyshard.protocol.greeting import Greeting

#: What shard low says when all is well.
GREETING = Greeting(1, "shard", "1d", "c1", "low", 7, True, "c1")

#: What a shard says that was just started with nothing.
EMPTY = attrs.evolve(GREETING, identity="3f", cluster="", name="", epoch=0)

#: Why a store that is not the one of low's documents can't take its place.
ANOTHER_STORE = (
    "the store at 10.0.0.1:5050 is 3f, but the documents of shard 'low' are in store 1d; "
    "start the shard with its own data"
)


def with_low(**changes: Any) -> ClusterState:
    """`STATE`, in which low is another one."""
    return attrs.evolve(STATE, map=ShardMap([attrs.evolve(LOW, **changes), HIGH]))


def judged(state: ClusterState, greeting: Greeting) -> ClusterState:
    """The judgement on who answers at low's address."""
    own = state.map.named("low")
    assert own is not None
    return judge(state, own, greeting)


@pytest.mark.parametrize(
    ("state", "greeting"),
    [
        pytest.param(STATE, GREETING, id="all is well"),
        pytest.param(STATE, attrs.evolve(GREETING, epoch=3), id="it is behind"),
        pytest.param(
            STATE, attrs.evolve(GREETING, cluster="", name="", epoch=0), id="it kept its store, not its assignment"
        ),
        pytest.param(with_low(durable=True), attrs.evolve(GREETING, ephemeral=False), id="a durable one"),
        pytest.param(
            with_low(durable=True),
            attrs.evolve(GREETING, ephemeral=False, cluster="", name="", epoch=0),
            id="a durable one that kept its store",
        ),
    ],
)
def test_known_store(state: ClusterState, greeting: Greeting) -> None:
    """The store that the map names gets the state as it is."""
    assert judged(state, greeting) is state


@pytest.mark.parametrize(
    ("state", "greeting", "durable"),
    [
        pytest.param(with_low(identity=""), EMPTY, False, id="the first, in memory"),
        pytest.param(with_low(identity=""), attrs.evolve(EMPTY, ephemeral=False), True, id="the first, durable"),
        pytest.param(
            with_low(identity=""),
            attrs.evolve(GREETING, identity="3f"),
            False,
            id="one of this cluster whose identity the state has lost",
        ),
        pytest.param(STATE, EMPTY, False, id="in memory, started again"),
        pytest.param(STATE, attrs.evolve(EMPTY, ephemeral=False), True, id="durable, in place of one in memory"),
    ],
)
def test_new_store(state: ClusterState, greeting: Greeting, durable: bool) -> None:
    """A store that may take the place makes the next state, which names it; nothing else changes."""
    own = state.map.shards[0]
    assert judged(state, greeting) == attrs.evolve(
        state, epoch=8, map=ShardMap([attrs.evolve(own, identity="3f", durable=durable), HIGH])
    )


def test_a_shard_that_owns_nothing() -> None:
    """A new store may take the place of a durable one that has nothing to lose; one with a past may not."""
    low, high = attrs.evolve(LOW, ranges=(), durable=True), attrs.evolve(HIGH, ranges=((0, SLOTS),))
    state = attrs.evolve(STATE, map=ShardMap([low, high]))
    assert judged(state, EMPTY) == attrs.evolve(
        state, epoch=8, map=ShardMap([attrs.evolve(low, identity="3f", durable=False), high])
    )
    with pytest.raises(WrongIdentity, match="are in store 1d"):
        judged(state, attrs.evolve(GREETING, identity="3f"))


@pytest.mark.parametrize(
    ("state", "greeting", "error", "message"),
    [
        pytest.param(
            STATE,
            attrs.evolve(GREETING, role="bootstrap"),
            WrongIdentity,
            "a bootstrap answers at 10.0.0.1:5050, where shard 'low' should be",
            id="no shard",
        ),
        pytest.param(
            STATE,
            attrs.evolve(GREETING, cluster="c2", name="theirs"),
            ForeignCluster,
            "the shard at 10.0.0.1:5050 belongs to another cluster (c2, as 'theirs'); this one is c1. Correct the "
            "address, or restart that shard empty",
            id="another cluster",
        ),
        pytest.param(
            with_low(identity=""),
            attrs.evolve(GREETING, cluster="c2"),
            ForeignCluster,
            "the shard at 10.0.0.1:5050 belongs to another cluster (c2, as 'low'); this one is c1. Correct the "
            "address, or restart that shard empty",
            id="another cluster, before this one's first shard",
        ),
        pytest.param(
            STATE,
            attrs.evolve(GREETING, name="high"),
            WrongIdentity,
            "shard 'high' answers at 10.0.0.1:5050, where shard 'low' should be",
            id="another name",
        ),
        pytest.param(
            STATE,
            attrs.evolve(GREETING, identity="2e", name="", cluster="", epoch=0),
            WrongIdentity,
            "the shard at 10.0.0.1:5050 is 'high' at 10.0.0.2:5051 already; give 'low' an address of its own",
            id="another shard of this cluster",
        ),
        pytest.param(
            STATE,
            attrs.evolve(GREETING, epoch=8),
            StaleEpoch,
            "shard 'low' knows epoch 8 and this bootstrap 7; restore the bootstrap's newest state file",
            id="it knows more",
        ),
        pytest.param(
            with_low(durable=True),
            EMPTY,
            WrongIdentity,
            ANOTHER_STORE,
            id="it lost its durable data",
        ),
        pytest.param(
            with_low(durable=True),
            attrs.evolve(EMPTY, ephemeral=False),
            WrongIdentity,
            ANOTHER_STORE,
            id="it lost its durable data and began anew",
        ),
        pytest.param(
            STATE,
            attrs.evolve(GREETING, identity="3f"),
            WrongIdentity,
            ANOTHER_STORE,
            id="two of them",
        ),
    ],
)
def test_refused(state: ClusterState, greeting: Greeting, error: type[PyshardError], message: str) -> None:
    """Who may not take the place is refused; the message says who is there, who should be, and what to do."""
    with pytest.raises(PyshardError) as refused:
        judged(state, greeting)
    assert (type(refused.value), str(refused.value)) == (error, message)


def test_first_state() -> None:
    """A new cluster is at epoch 1 and has no index but the default one."""
    configured = ShardMap([attrs.evolve(LOW, identity=""), attrs.evolve(HIGH, identity="")])
    assert first_state("c1", configured) == ClusterState("c1", 1, configured, {}, 1)
