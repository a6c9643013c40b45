"""Copies a cluster's state from one state store to another one, as when a cluster moves from a file into etcd.

Rules:

- What is there already is replaced only if it is an older state of the same cluster, or if somebody says so.
- It is put there by a compare-and-swap, so nothing that came in between is lost.
"""

from __future__ import annotations

import uuid

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pyshard.bootstrap.state_stores.state_store import NOTHING, Revision, StateStore, SwapApplied, SwapOutcome
from pyshard.errors import ConfigError, OutcomeUnknown
from pyshard.model.cluster_state import ClusterState

_TRIES, _PAUSE = 10, 0.5  # of a swap whose outcome is unknown, and seconds between them


def obstacle(state: ClusterState, there: ClusterState | None) -> str:
    """Why a state shouldn't take another one's place; empty: it may. Pure.

    :param there: what is there; None: nothing.
    """
    if there is None or there == state:
        return ""
    if there.cluster != state.cluster:
        return f"there is the state of another cluster, {there.cluster}; this one is of {state.cluster}"
    if there.order >= state.order:
        return f"there is a state of {there.shown_order}, and this one, of {state.shown_order}, is no later one"
    return ""


async def copy_state(state: ClusterState, target: StateStore, overwrite: bool, clock: IReactorTime) -> bool:
    """Put a state into a state store.

    :param overwrite: whether whatever is there may be replaced.
    :param clock: times tries.
    :return: whether it wasn't there already.
    :raises ConfigError: something is there that isn't to be replaced, or has come in between.
    :raises Unavailable: the state store can't be used now.
    :raises OutcomeUnknown: it is there, or will be, or won't.
    """
    there = await target.get()
    if there is not None and there.state == state:
        return False
    why = obstacle(state, None if there is None else there.state)
    if why and not overwrite:
        raise ConfigError(f"{target.name}: {why}; --overwrite replaces it all the same")
    expected, write = NOTHING if there is None else there.revision, f"copy-{uuid.uuid4().hex}"
    if not isinstance(await _swapped(state, target, expected, write, clock), SwapApplied):
        raise ConfigError(f"{target.name}: somebody else has changed what is there just now; look at it, and try again")
    return True


async def _swapped(
    state: ClusterState, target: StateStore, expected: Revision, write: str, clock: IReactorTime
) -> SwapOutcome:
    for _ in range(_TRIES - 1):
        try:
            return await target.swap(state, expected, write)
        except OutcomeUnknown:
            await deferLater(clock, _PAUSE)
    return await target.swap(state, expected, write)
