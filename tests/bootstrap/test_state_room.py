"""What others ask for leaves room in the state for what the bootstrap itself has to save."""

from __future__ import annotations

import attrs
import pytest
from bootstrap.states import STATE
from deferreds import result
from twisted.internet.task import Clock

from pyshard.bootstrap import state_room
from pyshard.bootstrap.change_turns import Asker
from pyshard.bootstrap.state_changes import StateChanges
from pyshard.bootstrap.state_room import check_room
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.errors import BadRequest
from pyshard.model.cluster_state_json import to_json
from pyshard.settings import settings

MORE = STATE.with_index("links")
SIZE = len(to_json(MORE))


@attrs.define
class Somebody:
    """A connection over which something is asked for."""

    id: str = "c1"
    origin: str = "127.0.0.1"
    ended: bool = False
    debt: float = 0.0

    def count_elsewhere(self, used: float) -> None:
        """See `Asker`."""


def test_an_eighth_is_kept() -> None:
    """Seven eighths may be asked for, to the byte."""
    most = -(-SIZE * 8 // 7)
    check_room(STATE, MORE, most)
    message = f"the cluster state would have {SIZE} bytes; of {most - 2} an eighth is kept for what the bootstrap saves"
    with pytest.raises(BadRequest, match=message):
        check_room(STATE, MORE, most - 2)


def test_what_makes_it_no_larger() -> None:
    """It may be asked for however large the state is."""
    check_room(MORE, STATE, SIZE)
    check_room(MORE, attrs.evolve(MORE, step=MORE.step), SIZE)


def test_a_store_that_takes_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that has more bytes than the store is known to take says that operators have it take more."""
    had = len(to_json(STATE))
    check_room(STATE, MORE, had - 1)
    with pytest.raises(BadRequest):
        check_room(STATE, MORE, had)
    monkeypatch.setattr(state_room, "settings", attrs.evolve(settings, MAX_STATE_BYTES=SIZE))
    with pytest.raises(BadRequest):
        check_room(STATE, MORE, had - 1)


def test_the_bootstrap_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may save what others may not ask for."""
    monkeypatch.setattr(MemoryStateStore, "most_bytes", len(to_json(STATE)))
    store = MemoryStateStore(STATE)
    changes = StateChanges(store, Clock(), "a", store.stored, lambda: None)
    asker: Asker = Somebody()
    with pytest.raises(BadRequest, match="an eighth is kept"):
        result(changes.change(lambda state: state.with_index("links"), asker=asker))
    assert changes.state == STATE
    result(changes.change(lambda state: state.with_index("links")))
    assert changes.state == MORE
