"""Has a shard do what the moves of the cluster's state want of it, and tells how far it is.

Rules:

- What is to be done says `pyshard.shard.move_duties`; what failed is tried again when the bootstrap asks the next time.
  What comes while something is done is done behind it, also if nobody asks any more.
- Only moves that go on are reported, and those whose turn it is to begin. There may be hundreds behind them.
- It is done when the shard remembers the state that wants it: a source that was killed once it was sealed knows why.
- A target dials the source of each of its moves, and pulls over that connection; over a new one when it is lost
  (`pyshard.shard.move_pull`).
- One of several replicas does all that while it leads. The others take what it does with its log. The next primary goes
  on from there: from the position of a copy that is complete, else with a new copy.
- A target with fewer members than changes need isn't ready: what it would own is promised to be on more machines.
"""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.metrics.line_pace import LinePace
from pyshard.model.move_order import next_in_line
from pyshard.model.range_moves import RangeMove, StoreId
from pyshard.net.client_endpoints import Dial
from pyshard.net.disconnect_reason import reason_of
from pyshard.protocol.move_reports import MoveReports
from pyshard.protocol.store_ranges import Origin
from pyshard.settings import settings
from pyshard.shard.copy_verdict import CopyVerdict, judged_report
from pyshard.shard.move_carriers import MoveCarriers, going_of
from pyshard.shard.move_duties import (
    Duty,
    ToForget,
    ToSeal,
    ToUnseal,
    duties,
    is_held,
    not_ready,
    pulls,
    source_report,
    target_report,
)
from pyshard.shard.move_pull import MovePull
from pyshard.shard.pull_progress import PullProgress
from pyshard.shard.pulled_rows import row_check
from pyshard.shard.range_pull import RangePull
from pyshard.shard.served_followers import ServedFollowers
from pyshard.shard.shard import Shard

_log = Logger()

_COUNTED = 500  # records that are counted together before a range is given up


class ShardMoves:
    """The moves of one shard.

    :param shard: the shard.
    :param followers: those that follow it.
    :param clock: times connections and copies.
    :param dial: leads to other shards; None: nothing is pulled.
    :param random: jitter.
    :ivar carriers: the connections over which they are brought on.
    """

    def __init__(
        self, shard: Shard, followers: ServedFollowers, clock: IReactorTime, dial: Dial | None, random: Random
    ) -> None:
        self._shard = shard
        self._followers = followers
        self._clock = clock
        self._dial = dial
        self._random = random
        self._pulling: dict[str, MovePull] = {}
        self._busy = self._again = False  # whether duties are being done, and whether to look for more then
        self._closed = self._counting = False
        self._pace = LinePace(settings.SHARD_LINES)
        self.carriers = MoveCarriers(lambda: going_of(shard.assignment, shard.store.ranges), clock.seconds)
        shard.on_assignment = followers.on_names = self.update
        followers.is_of_a_move = self.carriers.goes_on

    def update(self) -> None:
        """The shard has another assignment, or what failed is to be tried again."""
        self.carriers.update()
        assignment, replica = self._shard.assignment, self._shard.replica
        if assignment is None or self._closed:
            return
        if replica is not None and not replica.leads:
            self._rest()
            return
        owned = self._shard.store.ranges.owned
        wanted = {move.name: move for move in pulls(assignment.name, assignment.state.moves, owned)}
        for name in self._pulling.keys() - wanted.keys():
            self._pulling.pop(name).stop()
        if self._dial is not None:
            for move in wanted.values():
                self._pull(move, self._dial)
        if self._busy:
            self._again = True
        elif self._shard.remembers and self._duties():
            self._busy = True
            Deferred.fromCoroutine(self._do_all()).addErrback(self._failed).addBoth(self._done)

    def reports(self) -> MoveReports:
        """What the shard says of its moves."""
        self.update()
        assignment, store = self._shard.configured(), self._shard.store
        identity, now = StoreId(store.identity, store.incarnation), self._clock.seconds()
        remembered, replica = self._shard.remembers, self._shard.replica
        has_enough = replica is None or replica.takes_changes
        going = next_in_line(assignment.state.moves, lambda *_: False)  # the bootstrap knows what others have left
        given = {
            move.number: source_report(move, identity, store.ranges, self._followers.names, remembered)
            for move in going
            if move.source == assignment.name
        }
        taken = {}
        for move in going:
            if move.target == assignment.name:
                pulling = self._pulling.get(move.name)
                progress = PullProgress() if pulling is None else pulling.pull.progress
                error = "" if pulling is None else pulling.error
                report = target_report(move, identity, store.ranges, progress, error, now, remembered)
                judged = judged_report(report, CopyVerdict() if pulling is None else pulling.pull.verdict)
                if pulling is not None:
                    judged = pulling.completed(judged)
                taken[move.number] = judged if has_enough else not_ready(judged)
        return MoveReports(given, taken)

    def close(self) -> None:
        """Stop all pulls, and begin nothing any more; what they have stays."""
        self._closed = True
        self._stop_pulls()

    # ------------------------------------------------------------------ inside

    def _stop_pulls(self) -> None:
        for pulling in self._pulling.values():
            pulling.stop()
        self._pulling = {}

    def _rest(self) -> None:
        """Another replica leads: pull nothing, and keep nothing for moves that have ended."""
        self._stop_pulls()
        for duty in self._duties():
            if isinstance(duty, ToForget):
                self._followers.forget(duty.name)
        if self._is_to_count() and not self._counting:
            self._counting = True
            Deferred.fromCoroutine(self._count_ahead()).addErrback(self._failed).addBoth(self._counted)

    def _is_to_count(self) -> bool:
        """Whether something is to be given up soon, when the primary's log says so."""
        replica = self._shard.replica
        follows = replica is not None and not replica.leads and not self._closed
        return follows and bool(self._shard.store.ranges.given_up(self._shard.configured().ranges))

    async def _count_ahead(self) -> None:
        """Count that meanwhile, so that nobody waits for it then; see `IRangedStore.count_ahead`."""
        while self._is_to_count():
            if not await self._shard.store.count_ahead(self._shard.configured().ranges, _COUNTED):
                return
            await self._shard.pause()

    def _counted(self, _: object) -> None:
        self._counting = False

    def _pull(self, move: RangeMove, dial: Dial) -> None:
        source = self._shard.configured().state.map.named(move.source)
        assert source is not None
        if move.name not in self._pulling:
            self._pulling[move.name] = MovePull(move, self._pull_of(move), self._clock, self._random)
        self._pulling[move.name].pull_from(dial, move, source.host, source.port)

    def _pull_of(self, move: RangeMove) -> RangePull:
        copied_from = move.copied_from
        assert copied_from is not None
        origin = Origin(copied_from.identity, copied_from.incarnation)

        return RangePull(
            self._shard.store,
            move.name,
            move.ranges,
            origin,
            self._limit,
            self._clock,
            lambda sealed: is_held(self._known(move.number), sealed),
            self._operations,
            settled=lambda: self._shard.gated(lambda: succeed(None)),
            check=row_check(lambda: self._shard.configured().state),
        )

    def _known(self, number: int) -> RangeMove | None:
        moves = self._shard.configured().state.moves
        return next((move for move in moves if move.number == number), None)

    def _limit(self) -> int:
        return self._shard.configured().own.limit

    def _operations(self) -> int:
        return self._shard.operations

    def _duties(self) -> list[Duty]:
        assignment = self._shard.configured()
        return duties(assignment.name, assignment.state.moves, self._shard.store.ranges, self._followers.names)

    async def _do_all(self) -> None:
        for duty in self._duties():
            if isinstance(duty, ToSeal):
                await self._shard.seal(duty.name, duty.ranges, duty.attempt)
            elif isinstance(duty, ToUnseal):
                await self._shard.unseal(duty.name)
            elif isinstance(duty, ToForget):
                self._followers.forget(duty.name)
            else:
                await self._shard.store.unstage(duty.name)

    def _failed(self, failure: Failure) -> None:
        more = self._pace.ending(self._clock.seconds())  # it is tried again soon
        if more is not None:
            _log.warn("a move waits: {why}{more}", why=reason_of(failure), more=more)

    def _done(self, _: object) -> None:
        self._busy = False
        self.carriers.update()
        if self._again:
            self._again = False
            self.update()
