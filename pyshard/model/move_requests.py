"""What operators want of moves: new ones, and others of those that there are; or why it can't be. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyshard.errors import BadRequest, shown_value
from pyshard.model.range_moves import Phase, RangeMove
from pyshard.model.slot_ranges import SlotRanges, common, shown, without
from pyshard.settings import settings


def changed_move(moves: Sequence[RangeMove], number: int, change: str) -> RangeMove:
    """A move as an operator wants it: cancelled, paused, or going on again.

    :param change: ``"cancel"``, ``"pause"`` or ``"resume"``.
    :raises BadRequest: there is no such move or change, or it is too late for it.
    """
    move = next((move for move in moves if move.number == number), None)
    if move is None:
        raise BadRequest(f"move: found {number}, expected the number of a move that is planned or under way")
    if change not in ("cancel", "pause", "resume"):
        raise BadRequest(f"change: found {shown_value(change)}, expected cancel, pause or resume")
    if move.has_ended:
        raise BadRequest(f"{move.name} is {move.phase.value} already, so it can't be changed any more")
    if change == "cancel":
        return move.cancelled("an operator cancelled it")
    if move.phase is Phase.SEALING:
        raise BadRequest(f"{move.name} is being handed over just now; try again in a few seconds, or cancel it")
    if move.paused == (change == "pause"):
        raise BadRequest(f"{move.name} is {'paused' if move.paused else 'going on'} already")
    return move.waiting(change == "pause")


def check_move(move: RangeMove, layout: Mapping[str, SlotRanges], others: Sequence[RangeMove]) -> None:
    """Refuse a move that can't be planned.

    :param layout: the ranges that each shard of the map owns.
    :param others: the moves that there are already.
    :raises BadRequest: a shard isn't there, or the source doesn't own what it is to give, or that moves already; or
        there are too many moves.
    """
    for name in (move.source, move.target):
        if name not in layout:
            raise BadRequest(f"move: found shard {shown_value(name)}, expected one of the cluster's map")
    if move.source == move.target:
        raise BadRequest(f"move: found shard {shown_value(move.source)} as source and target, expected two shards")
    for other in others:
        if not other.has_ended and (twice := common(move.ranges, other.ranges)):
            raise BadRequest(f"move: found {shown(twice)}, which {other.name} has already; wait for it, or cancel it")
    if not move.ranges or (lacking := without(move.ranges, layout[move.source])):
        raise BadRequest(f"move: found {shown(lacking if move.ranges else ())}, which {move.source!r} doesn't own")
    if len(others) >= settings.MAX_MOVES:
        raise BadRequest(f"move: the cluster has {len(others):,} moves, the most it may have; wait for some of them")
