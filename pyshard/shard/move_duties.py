"""What a shard has to do for the moves of the cluster's state, and what it tells the bootstrap of them. Pure.

Rules:

- a source is sealed while the state says so, by the attempt of the state. Nothing else seals it, and nothing else opens
  it again: no clock, no connection that is lost, no older state that it remembers. After a commit the seal goes with
  the slots;
- a target that has said that it has all up to a seal keeps that, whatever happens, until the state has decided about
  this attempt. Meanwhile it asks the source nothing (`is_held`);
- a target pulls from when the state names the stores until it is decided. Then it owns what it has, which ends the
  staging, or gives it up. It never begins anew after a commit: the source may have nothing any more;
- a seal, or a staging, of a move that the state doesn't have (any more) is taken back: that move has ended;
- a shard is done with a move when it remembers the state in which it has ended. Without that move no later state would
  explain to it why its ranges are other ones.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

import attrs

from pyshard.model.range_moves import Phase, RangeMove, SourceReport, StoreId, TargetReport
from pyshard.model.slot_ranges import SlotRanges, common
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.shard.pull_progress import PullProgress


@attrs.frozen
class ToSeal:
    """Take no more changes of some ranges."""

    name: str
    ranges: SlotRanges
    attempt: int


@attrs.frozen
class ToUnseal:
    """Take them again, or have nothing left to take."""

    name: str


@attrs.frozen
class ToUnstage:
    """Give up what was copied."""

    name: str


@attrs.frozen
class ToForget:
    """Keep nothing for a target any more."""

    name: str


#: One thing to do.
Duty: TypeAlias = ToSeal | ToUnseal | ToUnstage | ToForget


def duties(shard: str, moves: Collection[RangeMove], ranges: StoreRanges, followers: Collection[str]) -> list[Duty]:
    """What a shard has to do so that its store is as the state's moves say.

    :param shard: its name.
    :param ranges: its store's.
    :param followers: the names for which it keeps something.
    """
    found: list[Duty] = []
    given = {move.name: move for move in moves if move.source == shard}
    taken = {move.name for move in moves if move.target == shard and move.phase is not Phase.CANCELLED}
    for name, move in given.items():
        known = ranges.sealed.get(name)
        if move.phase is Phase.SEALING and (known is None or known.attempt < move.attempt):
            found.append(ToSeal(name, move.ranges, move.attempt))
    found += [ToUnseal(name) for name, seal in ranges.sealed.items() if _is_taken_back(given.get(name), seal.attempt)]
    found += [ToUnstage(name) for name in ranges.staged if name not in taken]
    found += [ToForget(name) for name in followers if name not in given or given[name].has_ended]
    return found


def _is_taken_back(move: RangeMove | None, sealed: int) -> bool:
    """Whether a seal doesn't hold any more. A state that doesn't know of it is older than it is, and says nothing.

    :param move: as the source knows it; None: it has ended.
    :param sealed: the seal's attempt.
    """
    if move is None or move.phase is Phase.CANCELLED:
        return True
    return move.phase is Phase.COPYING and move.attempt >= sealed


def is_held(move: RangeMove | None, sealed: int) -> bool:
    """Whether a target must leave what it has as it is: it may be committed already.

    :param move: as the target knows it; None: it knows none.
    :param sealed: the last attempt whose seal it has reached; 0: none.
    """
    if sealed == 0:
        return False
    if move is None or move.has_ended:
        return True
    return move.attempt < sealed or (move.attempt == sealed and move.phase is Phase.SEALING)


def pulls(shard: str, moves: Collection[RangeMove], owned: SlotRanges) -> list[RangeMove]:
    """The moves for which a shard is to pull now.

    :param owned: what its store owns. What it has of a move's ranges was committed, though the shard ended before it
        remembered that, and will be told again.
    """
    under_way = (move for move in moves if move.target == shard and move.phase in (Phase.COPYING, Phase.SEALING))
    return [move for move in under_way if not move.paused and not common(move.ranges, owned)]


def source_report(
    move: RangeMove, store: StoreId, ranges: StoreRanges, followers: Collection[str], remembered: bool
) -> SourceReport:
    """What a move's source says of itself.

    :param store: its store.
    :param ranges: of that.
    :param followers: the names for which it keeps something.
    :param remembered: whether the shard has this state of the move after a restart, too.
    """
    busy = move.name in ranges.sealed or move.name in followers or bool(common(move.ranges, ranges.left))
    return SourceReport(store, clean=remembered and move.has_ended and not busy)


def target_report(
    move: RangeMove,
    store: StoreId,
    ranges: StoreRanges,
    progress: PullProgress,
    error: str,
    now: float,
    remembered: bool,
) -> TargetReport:
    """What a move's target says of itself.

    :param store: its store.
    :param ranges: of that.
    :param progress: of its pull, by the clock of `now`.
    :param error: why that doesn't go on; empty: it does.
    :param remembered: see `source_report`.
    """
    staging, even = ranges.staged.get(move.name), progress.even
    return TargetReport(
        store,
        complete=staging is not None and staging.origin.sequence > 0,
        bytes_behind=progress.behind,
        seconds_behind=1e9 if even is None else max(0.0, now - even),
        sealed=0 if staging is None else staging.sealed,
        clean=remembered and move.has_ended and staging is None and not common(move.ranges, ranges.left),
        copies=progress.copies,
        documents=progress.rows,
        size=progress.size,
        expected=progress.expected,
        rate=round(progress.rate(now), 1),
        error=error,
        chasing=0.0 if progress.chasing is None else max(0.0, now - progress.chasing),
    )


def not_ready(report: TargetReport) -> TargetReport:
    """What a target says of itself while its shard has fewer replicas than changes need: nothing is to be committed."""
    why = "the shard takes no changes now: it has too few replicas with all documents, or another one is about to lead"
    return attrs.evolve(report, complete=False, sealed=0, error=report.error or why)
