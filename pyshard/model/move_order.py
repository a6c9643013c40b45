"""Which moves of ranges go on now: a shard has one at a time. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyshard.model.range_moves import Phase, RangeMove

#: Whether a shard may have something left of a move, given its name.
HasLeft = Callable[[RangeMove, str], bool]


def next_in_line(moves: Sequence[RangeMove], has_left: HasLeft) -> list[RangeMove]:
    """The moves that go on now: those that have begun, and of those that are planned the ones whose shards are free.

    A shard that has nothing left of a cancelled move is free, though the other one may have something: that may be away
    for good.

    :param moves: in the order in which they were planned.
    :param has_left: is asked of cancelled moves alone.
    """
    busy: set[str] = set()
    going = [move for move in moves if move.phase is not Phase.PLANNED]
    for move in going:
        cancelled = move.phase is Phase.CANCELLED
        busy |= {name for name in (move.source, move.target) if not cancelled or has_left(move, name)}
    for move in moves:
        if move.phase is Phase.PLANNED and not busy & {move.source, move.target}:
            going.append(move)
        busy |= {move.source, move.target} if move.phase is Phase.PLANNED else set()  # nobody overtakes one that waits
    return going
