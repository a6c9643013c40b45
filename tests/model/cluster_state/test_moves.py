"""Moves in the state of a cluster: planned, gone on with, committed, and done with."""

from __future__ import annotations

import attrs
import pytest
from model.cluster_state.states import HALF, HIGH, LOW, MOVES_TEXT, MOVING, STATE, TEXT

from pyshard.errors import BadRequest
from pyshard.model.cluster_state_json import from_json, to_json
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Phase, RangeMove, StoreId
from pyshard.model.range_plan import Transfer
from pyshard.model.slot_ranges import SlotRanges
from pyshard.settings import settings

A, B = StoreId("1d", "a"), StoreId("2e", "b")
UP = Transfer("low", "high", ((0, 100), (200, 300)))


def test_text() -> None:
    """Moves are in the text, with all that they have."""
    assert to_json(MOVING) == TEXT[: TEXT.index(b'"step"')] + MOVES_TEXT
    assert from_json(to_json(MOVING)) == MOVING


@pytest.mark.parametrize(
    ("text", "wrong", "why"),
    [
        (b'"phase":"sealing"', b'"phase":"other"', "no cluster state"),
        (b'"attempt":2', b'"attempt":-1', "no cluster state"),
        (b'"ranges":[[0,10],[20,30]]', b'"ranges":[]', "no cluster state"),
        (b'"ranges":[[0,10],[20,30]]', b'"ranges":[[20,30],[0,10]]', "move 5, from 'low' to 'high'"),
        (b'"ranges":[[0,10],[20,30]]', b'"ranges":[[0,10],[30,20]]', "move 5"),
        (b'"source":"low"', b'"source":"other"', "move 5, from 'other'"),
        (b'"target":"high"', b'"target":"other"', "to 'other'"),
        (b'"source_store":["1d","a"]', b'"source_store":null', "move 5"),
        (b'"target_store":["2e","b"]', b'"target_store":null', "move 5"),
        (b"[[0,10,6],[20,30,7]]", b"[[20,30,7],[0,10,6]]", "`since`"),
        (b"[[0,10,6],[20,30,7]]", b"[[0,25,6],[20,30,7]]", "`since`"),
        (b"[[0,10,6],[20,30,7]]", b"[[10,10,6],[20,30,7]]", "`since`"),
    ],
)
def test_wrong_text(text: bytes, wrong: bytes, why: str) -> None:
    """What no move can be is refused."""
    whole = to_json(MOVING)
    assert whole.count(text) >= 1
    with pytest.raises(BadRequest, match=why):
        from_json(whole.replace(text, wrong))


@pytest.mark.parametrize(("name", "began"), [("low", A), ("high", B)])
def test_a_shard_with_another_store(name: str, began: StoreId) -> None:
    """Its moves that began with the one before are cancelled, in the same state; others stay as they are."""
    planned = STATE.with_moves([UP, Transfer("high", "low", ((HALF, HALF + 5),))])
    begun = planned.with_move(planned.moves[0].begun(A, B))
    replaced = begun.with_identity(name, "new", durable=False)
    assert [move.phase for move in replaced.moves] == [Phase.CANCELLED, Phase.PLANNED]
    assert f"the store of shard {name!r}" in replaced.moves[0].why
    assert begun.with_identity(name, began.identity, durable=True).moves == begun.moves
    sealing = begun.with_move(begun.moves[0].sealing())
    committed = sealing.with_move(sealing.moves[0].committed())
    assert committed.with_identity(name, "new", durable=False).moves == committed.moves


def test_steps_within_an_epoch() -> None:
    """What a move does before it is committed is a step. A commit is an epoch, with the map, and begins steps anew."""
    planned = STATE.with_moves([UP])
    assert planned == attrs.evolve(STATE, step=1, moves=(RangeMove(1, "low", "high", UP.ranges),), next_move=2)
    begun = planned.with_move(planned.moves[0].begun(A, B))
    sealing = begun.with_move(begun.moves[0].sealing())
    assert (sealing.epoch, sealing.step, sealing.map) == (STATE.epoch, 3, STATE.map)
    committed = sealing.with_move(sealing.moves[0].committed())
    assert (committed.epoch, committed.step) == (STATE.epoch + 1, 0)
    assert committed.map.shards == (
        attrs.evolve(HIGH, ranges=((0, 100), (200, 300), (HALF, SLOTS))),
        attrs.evolve(LOW, ranges=((100, 200), (300, HALF))),
    )
    assert committed.since == ((0, 100, 8), (200, 300, 8))
    assert committed.moves[0].phase is Phase.COMMITTED
    done = committed.without_move(1)
    assert (done.order, done.moves, done.next_move) == ((STATE.epoch + 1, 1), (), 2)
    assert [state.order for state in (STATE, planned, begun, sealing, committed, done)] == sorted(
        state.order for state in (STATE, planned, begun, sealing, committed, done)
    )


def test_cancelled() -> None:
    """A move that is given up changes nothing but itself."""
    begun = STATE.with_moves([UP]).with_move(RangeMove(1, "low", "high", UP.ranges).begun(A, B))
    cancelled = begun.with_move(begun.moves[0].cancelled("why"))
    assert (cancelled.epoch, cancelled.map, cancelled.since) == (STATE.epoch, STATE.map, ())
    assert cancelled.without_move(1).with_moves([UP]).moves[0].number == 2


def test_all_that_a_shard_has() -> None:
    """A shard may give all; then it owns nothing."""
    state = STATE.with_moves([Transfer("low", "high", ((0, HALF),))])
    state = state.with_move(state.moves[0].begun(A, B))
    state = state.with_move(state.moves[0].sealing())
    state = state.with_move(state.moves[0].committed())
    assert [(shard.name, shard.ranges) for shard in state.map.shards] == [("high", ((0, SLOTS),)), ("low", ())]


@pytest.mark.parametrize(
    ("source", "target", "ranges", "why"),
    [
        ("other", "high", ((0, 1),), "found shard 'other', expected one of the cluster's map"),
        ("low", "other", ((0, 1),), "found shard 'other'"),
        ("low", "low", ((0, 1),), "as source and target"),
        ("low", "high", (), "found no slot"),
        ("low", "high", ((HALF - 1, HALF + 1),), r"found \[0.5, 0.5000001\), which 'low' doesn't own"),
        ("low", "high", ((99, 101),), r"found \[9.9e-06, 1e-05\), which move 1 has already"),
    ],
)
def test_what_can_not_be_planned(source: str, target: str, ranges: SlotRanges, why: str) -> None:
    """Shards that aren't there, what the source doesn't own, and what moves already."""
    with pytest.raises(BadRequest, match=why):
        STATE.with_moves([UP]).with_moves([Transfer(source, target, ranges)])


def test_only_so_many() -> None:
    """The state has its bound."""
    each = [Transfer("low", "high", ((number, number + 1),)) for number in range(settings.MAX_MOVES + 1)]
    state = STATE.with_moves(each[:-1])
    assert len(state.moves) == settings.MAX_MOVES
    assert from_json(to_json(state)) == state
    with pytest.raises(BadRequest, match="has 1,000 moves, and may have 1,000"):
        state.with_moves(each[-1:])


def test_transfers_of_the_same_slots() -> None:
    """Also two that are to be planned together are refused; a move that has ended is in nobody's way."""
    part = Transfer("low", "high", ((10, 20), (30, 40)))
    with pytest.raises(BadRequest, match=r"found \[3.9e-06, 4e-06\), which move 1 has already"):
        STATE.with_moves([part, Transfer("low", "high", ((20, 30),)), Transfer("low", "high", ((39, 41),))])
    beside = [part, Transfer("low", "high", ((20, 30),)), Transfer("low", "high", ((40, 41),))]
    assert [move.number for move in STATE.with_moves(beside).moves] == [1, 2, 3]
    planned = STATE.with_moves([part])
    ended = planned.with_move(planned.moves[0].cancelled("no"))
    assert [move.number for move in ended.with_moves([part]).moves] == [1, 2]
