"""How far moves of ranges are, as operators are told it: what targets said last, times, and those that ended of late.

Nothing of it is saved: the bootstrap that goes on counts the times anew. No decision depends on it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import attrs

from pyshard.model.key_slots import slot_to_hash
from pyshard.model.range_moves import Phase, RangeMove, TargetReport
from pyshard.protocol.listed_moves import ListedMove

#: Moves that are still listed when they are done with.
_ENDED = 50


@attrs.define
class _Times:
    """When something of a move happened, in seconds of one clock; None: it hasn't."""

    begun: float | None = None
    sealed: float | None = None
    opened: float | None = None


class MoveProgress:
    """What is known of moves beside the cluster's state."""

    def __init__(self) -> None:
        self._reports: dict[int, TargetReport] = {}
        self._times: dict[int, _Times] = {}
        self._ended: deque[ListedMove] = deque(maxlen=_ENDED)

    def report(self, move: RangeMove, report: TargetReport | None) -> None:
        """Note what a target says of a move; None: it says nothing just now. Of one that has ended it knows no more."""
        if report is not None and not move.has_ended:
            self._reports[move.number] = report

    def changed(self, move: RangeMove, now: float) -> None:
        """Note that a move has another phase."""
        times = self._times.setdefault(move.number, _Times())
        if times.begun is None and move.phase is not Phase.PLANNED:
            times.begun = now
        if move.phase is Phase.SEALING:
            times.sealed = now

    def opened(self, number: int, now: float) -> None:
        """Note that the target serves the slots of a committed move, as far as it can be reached."""
        self._times.setdefault(number, _Times()).opened = now

    def ended(self, move: RangeMove, now: float) -> None:
        """Note that nothing is left to do of a move."""
        self._ended.append(attrs.evolve(self._listed(move, now), over=True, rate=0.0, stalled=0.0, error=""))
        self._reports.pop(move.number, None)
        self._times.pop(move.number, None)

    def listed(self, moves: Sequence[RangeMove], now: float) -> list[ListedMove]:
        """Those that ended of late, then these."""
        return [*self._ended, *(self._listed(move, now) for move in moves)]

    def _listed(self, move: RangeMove, now: float) -> ListedMove:
        report, times = self._reports.get(move.number), self._times.get(move.number, _Times())
        sealed = None if times.sealed is None or times.opened is None else times.opened - times.sealed
        listed = ListedMove(
            move.number,
            move.source,
            move.target,
            [(slot_to_hash(start), slot_to_hash(end)) for start, end in move.ranges],
            move.phase,
            paused=move.paused,
            attempt=move.attempt,
            why=move.why,
            seconds=0.0 if times.begun is None else now - times.begun,
            pause=sealed,
        )
        if report is None:
            return listed
        return attrs.evolve(
            listed,
            copies=report.copies,
            refetched=report.refetched,
            documents=report.documents,
            size=report.size,
            expected=report.expected,
            rate=report.rate,
            bytes_behind=report.bytes_behind,
            seconds_behind=report.seconds_behind if report.complete else None,
            stalled=report.stalled,
            error=report.error,
        )
