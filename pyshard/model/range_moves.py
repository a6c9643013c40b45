"""Moves of ranges from shard to shard: what the cluster's state says of each, and what comes next. Pure.

The target pulls (`pyshard.shard.range_pull`). When it is nearly even, the source is sealed: it takes no more changes of
these slots, and its last group is final. When the target has that, the move is committed: the map changes.

Rules:

- A move is planned until its shards have no other one: a shard has one at a time (`pyshard.model.move_order`).
- From then on it names both stores, by identity and incarnation. If one of them is another store, or has lost what it
  had, the move is cancelled. With the next primary of a shard it goes on (`pyshard.model.move_stores`).
- Each seal has a number, its attempt. Nobody goes by an older one: neither source, nor target, nor commit.
- A move is committed or cancelled by one change of the state, and never both. What isn't committed can be cancelled.
- Before it is sealed, a copy is compared with the source. A move whose copy differs again and again is cancelled.
- A seal that brings nothing on in time is taken back, and the next one is a new attempt. Only the state says so: a
  source that hears nothing stays sealed.
- The next seal waits for longer each time, and a move has a few of them: else a target that never has all would keep
  the slots closed for ever.
- A committed move only goes forward. It ends when both sides have done what is left to do.
- One whose target can't catch up, or can't complete its copy, is cancelled with the reason, so that each move ends.
  So is one whose source answers, and brings nothing on. A source that can't be reached is waited for.
- One that is paused isn't begun, copies nothing and isn't sealed. It can't be paused between its seal and its end.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import attrs
import msgspec

from pyshard.errors import of_peer
from pyshard.model.slot_ranges import SlotRanges
from pyshard.settings import settings

#: Seconds after which a seal is taken back that has brought nothing on.
SEALED_AT_MOST = 2.0

#: Seconds between the first seal that is taken back and the next one; twice as many before each further one.
SEALED_AGAIN = 5.0

#: A move that was sealed so often, and never committed, is cancelled.
MOST_SEALS = 5

#: A target is nearly even when it lacks no more bytes of changes than these, and no more seconds of them.
BYTES_BEHIND, SECONDS_BEHIND = 1024 * 1024, 0.1

#: The id of a cluster, a store or an incarnation, which pyshard makes: as a state has it, and as a shard may report it.
Id = Annotated[str, msgspec.Meta(max_length=settings.MAX_NAME, pattern=r"\A[ -~]*\Z")]

#: A number of things, and one of seconds or of bytes in a second, as a peer may tell it: code computes with it.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Amount = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]

#: A move whose copy differed so often from what the source has is cancelled.
MOST_DIFFERED = 3


class Phase(Enum):
    """How far a move is; finer steps are its target's own."""

    PLANNED = "planned"
    COPYING = "copying"
    SEALING = "sealing"
    COMMITTED = "committed"
    CANCELLED = "cancelled"


#: Phase → the phases that may follow it.
FOLLOWS: dict[Phase, set[Phase]] = {
    Phase.PLANNED: {Phase.COPYING, Phase.CANCELLED},
    Phase.COPYING: {Phase.SEALING, Phase.CANCELLED},
    Phase.SEALING: {Phase.COPYING, Phase.COMMITTED, Phase.CANCELLED},
    Phase.COMMITTED: set(),
    Phase.CANCELLED: set(),
}


@attrs.frozen
class StoreId:
    """A store, as long as it has all that it ever acknowledged.

    :param identity: see `pyshard.storage.interface.IStore`.
    :param incarnation: see `pyshard.storage.following_interface.IFollowedStore`.
    """

    identity: Id
    incarnation: Id


@attrs.frozen
class RangeMove:
    """One move, as the cluster's state has it.

    :param number: no other move of the cluster ever has it.
    :param source: the name of the shard that gives.
    :param target: the name of the shard that takes.
    :param ranges: the slots.
    :param source_store: the source's store, that of its primary; None: the move is planned, or was given up before.
    :param target_store: the target's.
    :param phase: how far it is.
    :param attempt: the number of the last seal; 0: there was none.
    :param why: why it was cancelled, or the last seal taken back; empty: neither.
    :param paused: whether an operator has it wait.
    :param origin: the source's store when the copy began; None: it is the same now.
    """

    number: int
    source: str
    target: str
    ranges: SlotRanges
    source_store: StoreId | None = None
    target_store: StoreId | None = None
    phase: Phase = Phase.PLANNED
    attempt: int = 0
    why: str = ""
    paused: bool = False
    origin: StoreId | None = None

    @property
    def copied_from(self) -> StoreId | None:
        """By which store what is copied is known: all primaries of the source have had the same since."""
        return self.origin or self.source_store

    @property
    def name(self) -> str:
        """What the target's staging, the source's seal and its follower are called."""
        return f"move {self.number}"

    @property
    def has_ended(self) -> bool:
        """Whether it is decided: committed or cancelled."""
        return not FOLLOWS[self.phase]

    def begun(self, source: StoreId, target: StoreId) -> RangeMove:
        """The move between these stores."""
        return attrs.evolve(self._in(Phase.COPYING, ""), source_store=source, target_store=target)

    def sealing(self) -> RangeMove:
        """The move with a new attempt."""
        return attrs.evolve(self._in(Phase.SEALING, ""), attempt=self.attempt + 1)

    def unsealed(self, why: str) -> RangeMove:
        """The move with the last seal taken back."""
        return self._in(Phase.COPYING, why)

    def committed(self) -> RangeMove:
        """The move when the map has changed."""
        return self._in(Phase.COMMITTED, "")

    def cancelled(self, why: str) -> RangeMove:
        """The move given up."""
        return attrs.evolve(self._in(Phase.CANCELLED, why), paused=False)

    def with_store(self, name: str, store: StoreId) -> RangeMove:
        """The move when another store has what one of its shards had.

        :param name: the shard's.
        """
        if name == self.target:
            return attrs.evolve(self, target_store=store)
        return attrs.evolve(self, source_store=store, origin=self.copied_from)

    def handed_over(self, name: str, store: StoreId) -> RangeMove:
        """The move when another replica leads one of its shards: a seal counts no more.

        :param name: the shard's.
        :param store: the replica's.
        """
        sealing = self.phase is Phase.SEALING
        move = self.unsealed(f"another replica of shard {name!r} leads now") if sealing else self
        return move.with_store(name, store)

    def waiting(self, paused: bool) -> RangeMove:
        """The move, paused or going on."""
        return attrs.evolve(self, paused=paused)

    def _in(self, phase: Phase, why: str) -> RangeMove:
        if phase not in FOLLOWS[self.phase]:
            raise ValueError(f"{self.name} is {self.phase.value}, and can't become {phase.value}")
        return attrs.evolve(self, phase=phase, why=of_peer(why))  # a state has room for that


@attrs.frozen
class SourceReport:
    """What a move's source says of itself.

    :param store: its store now.
    :param clean: whether it has nothing left of the move: no seal, no follower, no records that moved away.
    """

    store: StoreId
    clean: bool = False


@attrs.frozen
class TargetReport:
    """What a move's target says of itself.

    :param store: its store now.
    :param complete: whether its copy is complete and equal to what the source had, so that it only has to follow.
    :param bytes_behind: bytes of changes that it lacks, as far as it knows.
    :param seconds_behind: seconds since it was even with the source last.
    :param sealed: the last attempt whose seal it has reached: it has all that the source had.
    :param clean: whether it has nothing left of the move: no staging.
    :param copies: how often it has begun a copy.
    :param documents: documents that the copy has.
    :param size: bytes of all that it was given for the copy.
    :param expected: bytes that the copy will have, more or less; 0: it isn't known yet.
    :param rate: bytes of the copy that it took in a second of late.
    :param differed: how often its copy, when it was complete, wasn't equal to what the source had.
    :param refetched: how many buckets of rows it has fetched again for that.
    :param ended: how many comparisons, or such fetches, one behind the other, ended before they were done.
    :param error: why it doesn't go on just now, in one line; empty: it does.
    :param failed: whether its present copy has failed so; else the reason is of one before, or of no copy.
    :param full: whether that is for want of room.
    :param chasing: seconds for which it has followed over one connection without being even; 0: it doesn't follow now.
    :param stalled: seconds for which it has come no further, though the source answers.
    """

    store: StoreId
    complete: bool = False
    bytes_behind: Count = 0
    seconds_behind: Amount = 0.0
    sealed: Count = 0
    clean: bool = False
    copies: Count = 0
    documents: Count = 0
    size: Count = 0
    expected: Count = 0
    rate: Amount = 0.0
    differed: Count = 0
    refetched: Count = 0
    ended: Count = 0
    error: str = ""
    failed: bool = False
    full: bool = False
    chasing: Amount = 0.0
    stalled: Amount = 0.0


def next_step(
    move: RangeMove, source: SourceReport | None, target: TargetReport | None, seconds: float
) -> RangeMove | None:
    """What a move becomes now; None: it stays as it is. One that has ended stays, too (`is_over`).

    One that is planned is to be asked about when it is its turn (`pyshard.model.move_order`).

    :param source: None: it can't be asked now.
    :param target: as the source.
    :param seconds: since the move is in its phase, by the clock of who decides.
    """
    if move.has_ended:
        return None
    if move.phase is Phase.PLANNED:
        return None if source is None or target is None or move.paused else move.begun(source.store, target.store)
    for name, report, began in ((move.source, source, move.source_store), (move.target, target, move.target_store)):
        if report is not None and report.store != began:
            return move.cancelled(other_store(name))
    if target is not None and target.differed >= MOST_DIFFERED:
        return move.cancelled(
            f"the copy was compared {target.differed} times with what shard {move.source!r} has, and never equal; the "
            f"log of shard {move.target!r} says where"
        )
    if move.phase is Phase.COPYING:
        if target is not None and not move.paused and (why := _cannot_end(target)):
            return move.cancelled(why)
        ready = not move.paused and source is not None and target is not None and target.complete
        return _sealed_anew(move, seconds) if ready and _is_nearly_even(target) else None
    if target is not None and target.sealed == move.attempt:
        return move.committed()
    if seconds >= SEALED_AT_MOST:
        return move.unsealed(f"the target hadn't all within {SEALED_AT_MOST:g} s of the seal")
    return None


def other_store(name: str) -> str:
    """Why a move is cancelled when a shard's store is another one.

    :param name: the shard's.
    """
    return f"the store of shard {name!r} isn't the one with which the move began"


def is_over(move: RangeMove, source: SourceReport | None, target: TargetReport | None) -> bool:
    """Whether a move can be forgotten: it has ended, and neither side has anything left of it."""
    return move.has_ended and len(done_sides(move, source, target)) == 2


def done_sides(move: RangeMove, source: SourceReport | None, target: TargetReport | None) -> set[str]:
    """The names of the shards that say that they have nothing left of a move that has ended.

    A store that isn't the one with which it began has nothing of it, either. A shard with replicas is asked at the
    primary that leads by then.
    """
    sides = ((move.source, source, move.source_store), (move.target, target, move.target_store))
    return {name for name, report, began in sides if report is not None and (report.clean or report.store != began)}


def _sealed_anew(move: RangeMove, seconds: float) -> RangeMove | None:
    """What a move becomes whose target is nearly even; see `next_step`."""
    if move.attempt >= MOST_SEALS:
        return move.cancelled(
            f"these slots were closed {move.attempt} times, and each time opened again, the last time since "
            f"{move.why}; see why shard {move.target!r} is slow, or move less at a time"
        )
    if move.attempt and seconds < SEALED_AGAIN * 2 ** (move.attempt - 1):
        return None
    return move.sealing()


def _is_nearly_even(target: TargetReport | None) -> bool:
    return target is not None and target.bytes_behind <= BYTES_BEHIND and target.seconds_behind <= SECONDS_BEHIND


def _cannot_end(target: TargetReport) -> str:
    """Why the target will never be even, if so: nothing suggests that it would be by waiting longer."""
    if target.full:
        return f"the target has no room: {target.error}"
    if target.chasing > settings.MOVE_CATCHES_UP:
        return (
            f"the target hasn't caught up with the changes of these slots for {target.chasing:.0f} s, though their "
            "writers were slowed down; move less at a time, or when less is written"
        )
    if target.stalled > settings.MOVE_STALLS:
        return (
            f"the move has come no further for {target.stalled:.0f} s, though the source answers; see the logs of both "
            f"shards{f': {target.error}' if target.error else ''}"
        )
    if target.ended >= settings.MOVE_COPIES:
        return (
            f"the copy was compared with the source {target.ended} times, and each time one of the two shards ended "
            "that before it was done. Move less at a time, or when less is written"
        )
    if not target.complete and target.copies >= settings.MOVE_COPIES and target.failed:
        return f"the copy was begun {target.copies} times, and never came to its end: {target.error}"
    if not target.complete and target.copies > settings.MOVE_COPIES:
        return (
            f"the copy was begun {settings.MOVE_COPIES} times, and never came to its end; have the source keep more "
            "changes (--followed-log-size), or move less at a time"
        )
    return ""
