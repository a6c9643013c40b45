"""Brings moves of ranges on: asks their shards how far they are, and changes the cluster's state by what they say.

Rules:

- What comes next is decided by `pyshard.model.range_moves` alone, and takes effect when the state is saved and told.
- Whoever bootstraps next goes on from the state: the driver itself remembers nothing but how long a seal has lasted,
  and which shards have said that they have nothing left of a cancelled move.
- Other bootstraps may bring the same moves on. A step is for the move as it was when its shards were asked, and for
  their replicas: when either is another one by now, or that was long ago, nothing is done, and they are asked again.
- A shard that doesn't answer in time has nothing to say; its moves wait for it, and no other move does.
- A move's target is asked last, and its answer counts at once: one in memory may have been lost a little later.
- A move whose commit can't be is cancelled, with the reason: else its slots would stay sealed.
- While there are no moves, nobody is asked. Of many moves some are asked about at a time, those first that are sealed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeAlias

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.change_turns import Asker
from pyshard.bootstrap.move_progress import MoveProgress
from pyshard.bootstrap.repeated_questions import Question, RepeatedQuestions
from pyshard.bootstrap.state_changes import Change
from pyshard.errors import BadRequest, ConfigError, OutcomeUnknown, Unavailable
from pyshard.metrics.line_pace import LinePace
from pyshard.model.cluster_state import ClusterState
from pyshard.model.move_order import next_in_line
from pyshard.model.move_requests import changed_move
from pyshard.model.range_moves import (
    Phase,
    RangeMove,
    SourceReport,
    TargetReport,
    done_sides,
    is_over,
    next_step,
)
from pyshard.protocol.listed_moves import ListedMove
from pyshard.protocol.move_reports import MoveReports
from pyshard.settings import settings

#: Identity and ballot of each shard of a move: what its primary said then counts under no other ones.
Led: TypeAlias = list[tuple[str, int]]

_EVERY = 0.05  # seconds between two questions
_AT_ONCE = 10  # moves that are sealed about which is asked in one turn, and as many others
_FRESH = 1.0  # seconds within which a step must be made; after that the shards are asked again


class AskedShard(Protocol):
    """What asks and tells one shard. Its Deferreds don't fail."""

    def ask_moves(self) -> Deferred[MoveReports | None]:
        """What it says of its moves. None: it can't be asked now, or didn't answer in time."""
        ...

    def settle(self) -> Deferred[None]:
        """Fires when it has the present state, or can't be told."""
        ...


class MoveDriver(Service):
    """Brings the moves of one cluster on, while it runs.

    :param bootstrap: has the state.
    :param clock: times seals, and questions.
    :param find: gives what asks a shard, by its name; None: it isn't there any more.
    """

    _log = Logger()

    def __init__(self, bootstrap: Bootstrap, clock: IReactorTime, find: Callable[[str], AskedShard | None]) -> None:
        self._bootstrap = bootstrap
        self._clock = clock
        self._find = find
        self._progress = MoveProgress()
        self._moves: dict[int, RangeMove] = {}  # those of the last state that was seen
        self._since: dict[int, float] = {}  # move → since when it has its phase and attempt
        self._done: dict[int, tuple[Led, set[str]]] = {}  # move that has ended → whose shards have nothing left of it
        self._pace = LinePace(settings.SHARD_LINES)
        self._questions = RepeatedQuestions(clock, _EVERY, self._due, self._failed, _AT_ONCE, self._is_sealed)
        bootstrap.on_change(self._state_changed)
        self._note_moves()

    def startService(self) -> None:
        """Begin, if there are moves."""
        super().startService()
        self._questions.start()

    def stopService(self) -> None:
        """Ask nobody any more."""
        super().stopService()
        self._questions.stop()

    def listed(self) -> list[ListedMove]:
        """All moves that are planned or under way, and those that ended of late, as operators see them."""
        return self._progress.listed(self._bootstrap.state.moves, self._clock.seconds())

    def change_move(self, number: int, change: str, asker: Asker | None = None) -> Deferred[None]:
        """Cancel a move, pause it, or have it go on.

        :param change: see `changed_move`.
        :param asker: as of `Bootstrap.change`.
        :raises BadRequest: (in the Deferred) there is no such move or change, or it is too late for it.
        :raises PyshardError: (in the Deferred) as `Bootstrap.change`.
        """
        return self._bootstrap.change(
            lambda state: state.with_move(changed_move(state.moves, number, change)), asker=asker
        )

    # ------------------------------------------------------------------ inside

    def _state_changed(self) -> None:
        self._note_moves()
        self._questions.wake()

    def _note_moves(self) -> None:
        """Note what has become of moves, by this bootstrap or another one."""
        if not self._bootstrap.has_state:
            return
        now, before = self._clock.seconds(), self._moves
        self._moves = {move.number: move for move in self._bootstrap.state.moves}
        for number, move in before.items():
            if number not in self._moves:
                self._since.pop(number, None)
                self._done.pop(number, None)
                self._progress.ended(move, now)
        for number, move in self._moves.items():
            known = before.get(number)
            if known is None or (known.phase, known.attempt) != (move.phase, move.attempt):
                self._since[number] = now
                if known is not None:
                    self._note_phase(move, now)

    def _note_phase(self, move: RangeMove, now: float) -> None:
        self._progress.changed(move, now)
        target = self._find(move.target) if move.phase is Phase.COMMITTED else None
        if target is not None:
            target.settle().addCallback(lambda _: self._progress.opened(move.number, self._clock.seconds()))

    def _due(self) -> dict[int, Question]:
        """The numbers of moves that may go on, and what brings each on."""
        moves = next_in_line(self._bootstrap.state.moves, self._has_left) if self._bootstrap.has_state else ()
        return {move.number: partial(self._bring_on, move) for move in moves}

    def _is_sealed(self, number: int) -> bool:
        """Whether clients wait for a move."""
        move = self._moves.get(number)
        return move is not None and move.phase is Phase.SEALING

    def _has_left(self, move: RangeMove, name: str) -> bool:
        """Whether a shard may have something left of a move that has ended."""
        led, done = self._done.get(move.number, ([], set[str]()))
        return name not in done or led != _led(self._bootstrap.state, move)

    def _failed(self, failure: Failure) -> None:
        self._warn(f"moves don't go on for now: {failure.getErrorMessage()}")

    async def _bring_on(self, move: RangeMove) -> None:
        asked = _led(self._bootstrap.state, move)
        source = (await self._reports(move.source)).given.get(move.number)
        target = (await self._reports(move.target)).taken.get(move.number)
        if self.running and move in self._bootstrap.state.moves:  # it may have been cancelled meanwhile
            self._progress.report(move, target)
            if move.has_ended:
                led, done = self._done.get(move.number, (asked, set[str]()))
                self._done[move.number] = asked, done_sides(move, source, target) | (done if led == asked else set())
            await self._step(move, asked, source, target)

    async def _reports(self, name: str) -> MoveReports:
        shard = self._find(name)
        return (shard and await shard.ask_moves()) or MoveReports()

    async def _step(
        self, move: RangeMove, asked: Led, source: SourceReport | None, target: TargetReport | None
    ) -> None:
        if is_over(move, source, target):
            await self._change(move, asked, lambda state: state.without_move(move.number), "is done with")
            return
        step = next_step(move, source, target, self._clock.seconds() - self._since[move.number])
        if step is None:
            return
        try:
            self._check_possible(step)
        except (ConfigError, BadRequest) as error:
            step = move.cancelled(str(error))
        what = f"{step.phase.value} ({step.why})" if step.why else step.phase.value
        await self._change(move, asked, lambda state: state.with_move(step), what)

    def _check_possible(self, step: RangeMove) -> None:
        """Refuse a commit that there can't be: without this the move would stay sealed.

        :raises ConfigError: there is no such map: the target would have too many ranges.
        :raises BadRequest: nobody could read such a state: it would be too large.
        """
        if step.phase is Phase.COMMITTED:
            self._bootstrap.changes.check_readable(self._bootstrap.state.with_move(step))

    async def _change(self, move: RangeMove, asked: Led, decide: Change, what: str) -> None:
        """Bring a move on, if it is still as it was when its shards were asked. If that can't be, it is tried again.

        :param asked: by whom the shards were led then.
        A change of which nobody knows whether it is there has no effect here, until it is seen, or a later one is made.
        """
        made = False

        def decide_now(state: ClusterState) -> ClusterState:
            nonlocal made
            made = bool(self.running) and move in state.moves and _led(state, move) == asked
            return decide(state) if made else state

        try:
            await self._bootstrap.change(decide_now, _FRESH)
        except (ConfigError, OutcomeUnknown, BadRequest, Unavailable) as error:
            self._warn(f"{move.name} waits: {error}")
            return
        if made:
            self._log.info(
                "{move} from {source} to {target}: {what}",
                move=move.name,
                source=move.source,
                target=move.target,
                what=what,
            )

    def _warn(self, why: str) -> None:
        """Log a line, unless there were many of late: everything is tried again soon."""
        more = self._pace.ending(self._clock.seconds())
        if more is not None:
            self._log.warn("{why}{more}", why=why, more=more)


def _led(state: ClusterState, move: RangeMove) -> Led:
    """By whom the shards of a move are led."""
    shards = [state.map.named(name) for name in (move.source, move.target)]
    return [(each.identity, each.group.ballot if each.group else 0) for each in shards if each is not None]
