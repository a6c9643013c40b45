"""The faults of the state store in memory."""

from __future__ import annotations

import pytest
from bootstrap.states import STATE
from deferreds import result

from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore, SwapFault
from pyshard.bootstrap.state_stores.state_store import Revision, SwapApplied, SwapRefused
from pyshard.errors import OutcomeUnknown, Unavailable

NEXT, OTHER = STATE.with_index("links"), STATE.with_index("others")


@pytest.mark.parametrize("fault", SwapFault)
def test_unknown_swaps(fault: SwapFault) -> None:
    """It is never applied, or was, or is later: then also after the old state was read."""
    store = MemoryStateStore(STATE)
    store.fault = lambda _: fault
    with pytest.raises(OutcomeUnknown):
        result(store.swap(NEXT, Revision(1), "a-1"))
    assert store.stored is not None
    assert store.stored.state == (NEXT if fault is SwapFault.UNTOLD else STATE)
    assert store.land() == ([SwapApplied(Revision(2))] if fault is SwapFault.LATE else [])
    assert store.stored.state == (STATE if fault is SwapFault.LOST else NEXT)


def test_a_late_swap_comes_too_late() -> None:
    """After another one was applied it is refused."""
    store = MemoryStateStore(STATE)
    store.fault = lambda _: SwapFault.LATE
    with pytest.raises(OutcomeUnknown):
        result(store.swap(NEXT, Revision(1), "a-1"))
    store.fault = lambda _: None
    result(store.swap(OTHER, Revision(1), "b-1"))
    assert store.land() == [SwapRefused(store.stored)]
    assert store.swaps == [OTHER]


def test_it_is_away() -> None:
    """Then nothing is read or put there."""
    store = MemoryStateStore(STATE)
    store.away = Unavailable("it is away")
    with pytest.raises(Unavailable):
        result(store.get())
    with pytest.raises(Unavailable):
        result(store.swap(NEXT, Revision(1), "a-1"))
    store.away = None
    assert store.swaps == []
