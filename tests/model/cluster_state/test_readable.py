"""A state that nobody could read is refused before it is saved, and only what it has new is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from model.cluster_state.states import HIGH, LOW, MOVING, STATE
from model.shard_layouts import equal_parts
from work import steps

from pyshard.errors import BadRequest
from pyshard.model import bounded_json, cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import check_readable, from_json, to_json
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import MapReplica, new_group
from pyshard.model.shard_map import ShardMap
from pyshard.settings import settings

LONG = "x" * (settings.MAX_NAME + 1)
GROUP = new_group([MapReplica("127.0.0.1", 5051, StoreId("2e", LONG)), MapReplica("h", 1)], lease=3.0)


def refusal(check: Callable[[], object]) -> str:
    """Why a state is refused; empty: it isn't."""
    try:
        check()
    except BadRequest as error:
        return str(error).partition(" - at ")[0]  # where in the text that is differs
    return ""


def with_shard(**changes: Any) -> ClusterState:
    """The state with another shard `low`."""
    return attrs.evolve(STATE, map=ShardMap([attrs.evolve(LOW, **changes), HIGH]))


@pytest.mark.parametrize(
    ("state", "refused"),
    [
        (STATE, False),
        (STATE.with_index("links"), False),
        (STATE.with_identity("low", "2e", True), False),
        (MOVING, False),
        (attrs.evolve(MOVING, map=STATE.with_identity("low", "2e", True).map), False),
        (STATE.with_identity("low", LONG, True), True),
        (STATE.with_group("high", GROUP), True),
        (with_shard(limit=-1), True),
        (with_shard(limit=2**63), True),
        (with_shard(port=0), True),
        (with_shard(name=LONG), True),
        (attrs.evolve(STATE, cluster=LONG), True),
        (attrs.evolve(STATE, epoch=2**63), True),
        (attrs.evolve(STATE, indexes={"a": 1, "b": 1}), True),
        (attrs.evolve(STATE, indexes={LONG: 1}), True),
        (attrs.evolve(STATE, since=((5, 5, 1),)), True),
        (attrs.evolve(MOVING, moves=(attrs.evolve(MOVING.moves[0], why="x" * 3000),)), True),
        (attrs.evolve(MOVING, moves=(attrs.evolve(MOVING.moves[0], source_store=None),)), True),
        (attrs.evolve(MOVING, map=ShardMap([attrs.evolve(LOW, ranges=((0, SLOTS),))])), True),
    ],
    ids=str,
)
def test_what_could_not_be_read(state: ClusterState, refused: bool) -> None:
    """It is refused in the same words, whichever state is known to be readable, or none."""
    expected = refusal(lambda: from_json(to_json(state)))
    assert bool(expected) == refused
    for readable in (None, STATE, MOVING, from_json(to_json(STATE))):
        assert refusal(lambda readable=readable: check_readable(state, readable)) == expected  # type: ignore[misc]


@pytest.mark.parametrize("readable", [None, STATE])
def test_too_large_a_state(readable: ClusterState | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its text counts, also what is as before."""
    size = len(to_json(STATE))
    monkeypatch.setattr(cluster_state_json, "settings", attrs.evolve(settings, MAX_STATE_BYTES=size))
    check_readable(STATE, readable)
    with pytest.raises(BadRequest, match=f"the cluster state has {size + 1} bytes; one has at most {size}"):
        check_readable(attrs.evolve(STATE, epoch=10), readable)


@pytest.mark.parametrize("readable", [None, STATE])
def test_too_many_elements(readable: ClusterState | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count in all of its text, too."""
    text = to_json(STATE)
    elements = sum(map(text.count, (b",", b"[", b"{")))
    monkeypatch.setattr(bounded_json, "settings", attrs.evolve(settings, MAX_ELEMENTS=elements))
    check_readable(STATE, readable)
    monkeypatch.setattr(bounded_json, "settings", attrs.evolve(settings, MAX_ELEMENTS=elements - 1))
    with pytest.raises(BadRequest, match=f"found about {elements} elements, expected at most {elements - 1}"):
        check_readable(STATE, readable)


def test_a_text_is_made_once() -> None:
    """The state has it from then on; another state has its own, and both are equal to those that have none."""
    state, following = STATE.with_index("links"), STATE.with_index("links").with_index("more")
    text = to_json(state)
    assert to_json(state) is text is state.text
    assert state == STATE.with_index("links")
    assert state.with_index("more").text is following.text is None
    assert to_json(following) != text


def test_work_of_a_change() -> None:
    """To look at one shard of hundreds costs far less than to read all of them."""
    shards = [attrs.evolve(each, port=place + 1) for place, each in enumerate(equal_parts(400))]
    state = ClusterState("c1", 7, ShardMap(shards))
    changed = state.with_identity(shards[7].name, "new", True)
    text = to_json(changed)
    from_json(text)  # msgspec looks at its classes when they are used for the first time
    assert steps(lambda: check_readable(changed, state)) * 10 < steps(lambda: from_json(text))
