"""What operators want of moves: new ones, and others of those that there are; or why it can't be. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from pyshard.errors import BadRequest, shown_value
from pyshard.model.range_moves import Phase, RangeMove
from pyshard.model.range_plan import Transfer
from pyshard.model.slot_ranges import SlotRanges, common, range_with, shown, union, without
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


def planned_moves(
    transfers: Sequence[Transfer], first: int, layout: Mapping[str, SlotRanges], others: Sequence[RangeMove]
) -> list[RangeMove]:
    """Moves of some transfers.

    :param first: the number of the first one.
    :param layout: the ranges that each shard of the map owns.
    :param others: the moves that there are already.
    :raises BadRequest: a shard isn't there, or the source doesn't own what it is to give, or that moves already; or
        there are too many moves.
    """
    planned = [
        RangeMove(number, transfer.source, transfer.target, union(transfer.ranges))
        for number, transfer in enumerate(transfers, first)
    ]
    for move in planned:
        _check_shards(move, layout)
    _check_apart([move for move in others if not move.has_ended] + planned)
    for move in planned:
        _check_owned(move, layout[move.source])
    if len(others) + len(planned) > settings.MAX_MOVES:
        raise BadRequest(
            f"move: the cluster has {len(others):,} moves, and may have {settings.MAX_MOVES:,} with the"
            f" {len(planned):,} that are to begin; wait for some of them"
        )
    return planned


def _check_shards(move: RangeMove, layout: Mapping[str, SlotRanges]) -> None:
    for name in (move.source, move.target):
        if name not in layout:
            raise BadRequest(f"move: found shard {shown_value(name)}, expected one of the cluster's map")
    if move.source == move.target:
        raise BadRequest(f"move: found shard {shown_value(move.source)} as source and target, expected two shards")


def _check_owned(move: RangeMove, owned: SlotRanges) -> None:
    if not move.ranges or not all(_is_in(one, owned) for one in move.ranges):
        lacking = without(move.ranges, owned)
        raise BadRequest(f"move: found {shown(lacking)}, which {move.source!r} doesn't own")


def _check_apart(moves: Sequence[RangeMove]) -> None:
    """Refuse moves of which two have the same slots. All are compared in one go, however many there are."""
    ranges = sorted((start, end, place) for place, move in enumerate(moves) for start, end in move.ranges)
    for (_, behind, one), (start, _, other) in pairwise(ranges):
        if start < behind:
            first, second = moves[min(one, other)], moves[max(one, other)]
            twice = shown(common(first.ranges, second.ranges))
            raise BadRequest(f"move: found {twice}, which {first.name} has already; wait for it, or cancel it")


def _is_in(one: tuple[int, int], ranges: SlotRanges) -> bool:
    """Whether all of a range is in one of some ranges, which are in order."""
    found = range_with(one[0], ranges)
    return found is not None and one[1] <= found[1]
