"""A member, or a learner, that follows the primary's log: it asks for more, and has its store take what comes.

Rules:

- it says that it has what is safe in its store, and nothing else;
- what goes wrong it tells a few times in a minute, however often it tries, and whatever the primary says;
- it goes on under one ballot after the other, as long as the primary is the same. Of groups it hears from a bootstrap
  alone: a ballot that a hostile primary made up would have this side pass over all that bootstraps tell it later;
- what its network can't do is tried again soon, and what its store can't do a little later. It never stops by itself;
- what it then shows, and how old that is, it notes for reads (`pyshard.replication.stale_reads`);
- it takes only so much of which the primary hasn't said that it is committed (`pyshard.replication.pending_groups`);
- a primary that keeps it busy without bringing it on is asked a little later (`pyshard.replication.pull_rests`);
- a member never becomes a copy of the primary's store: for that it would first have to forget what may be nowhere else.
  It waits until it is removed from the members.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.errors import BadRequest, FollowerBehind, PyshardError, SnapshotEnded
from pyshard.message_texts import shortened
from pyshard.metrics.line_pace import LinePace
from pyshard.protocol.log_groups import ReplicatedGroup
from pyshard.protocol.log_positions import ballot_at, cut_off
from pyshard.replication.group_times import of_lease
from pyshard.replication.interfaces import Primary, ReplicaStore
from pyshard.replication.member_term import MemberTerm
from pyshard.replication.pending_groups import PendingGroups
from pyshard.replication.pull_rests import PullRests
from pyshard.replication.pulls import Pull, Pulled
from pyshard.replication.stale_reads import ShownState
from pyshard.replication.store_turns import StoreTurns

_PAUSE = 0.05  # seconds before a question that failed is asked again
_LONG_PAUSE = 1.0  # seconds before a store that couldn't do something is asked again
_LINES = 0.2  # a second in the log, of all that goes wrong
_LOGGED = 500  # characters of a reason that stand there
_BALLOTS = 200  # that a question names: how far back two logs may part

_T = TypeVar("_T")


class _StoreTrouble(Exception):
    """This replica's own store couldn't do something."""


class FollowerOwner(Protocol):
    """Whose log it is.

    :ivar shown: what its store shows, for reads.
    :ivar pending: what its store has that isn't known to be committed.
    :ivar copies: how often a copy was begun since it was a member.
    """

    shown: ShownState
    pending: PendingGroups
    copies: int

    @property
    def member_term(self) -> MemberTerm | None:
        """What this side knows under its ballot, unless it leads."""
        ...

    def store_can(self, why_not: str) -> None:
        """Whether the store can go on; empty: it can."""
        ...


class MemberPulls:
    """Follows one primary, until it is cancelled or the primary is another one.

    :param address: the primary's.
    :param primary: reaches it.
    :param me: this replica's address.
    :param store: this replica's.
    :param turns: at that store.
    :param clock: times pauses, and what is promised.
    :param owner: the replica.
    """

    _log = Logger()

    def __init__(
        self,
        address: str,
        primary: Primary,
        me: str,
        store: ReplicaStore,
        turns: StoreTurns,
        clock: IReactorTime,
        owner: FollowerOwner,
    ) -> None:
        self._address = address
        self._primary = primary
        self._me = me
        self._store = store
        self._turns = turns
        self._clock = clock
        self._owner = owner
        self._pace = LinePace(_LINES)
        self._rests = PullRests()
        self._told = 0  # all groups up to this number are committed, and the log has them
        self._settled: float | None = None  # when it was asked, if these were all that were committed then

    def start(self) -> Deferred[None]:
        """Follow; the Deferred is to be cancelled to end that."""
        return Deferred.fromCoroutine(self._follow()).addErrback(_cancelled)

    async def _follow(self) -> None:
        await deferLater(self._clock, 0)  # who starts it has it in hand then
        while (term := self._owner.member_term) is not None and term.group.primary == self._address:
            try:
                pause = await self._ask(term)
            except CancelledError:
                raise
            except (PyshardError, OSError) as error:
                if (more := self._pace.ending(self._clock.seconds())) is not None:
                    why = shortened(str(error), _LOGGED)
                    self._log.debug("{primary}: {why}{more}", primary=self._address, why=why, more=more)
                pause = _PAUSE
            except _StoreTrouble as error:
                if (more := self._pace.ending(self._clock.seconds())) is not None:
                    self._log.warn("this replica's store can't go on: {why}{more}", why=error, more=more)
                self._owner.store_can(str(error))
                pause = _LONG_PAUSE
            except Exception:  # noqa: BLE001  # whatever it is, a replica that stops for good helps nobody
                if (more := self._pace.ending(self._clock.seconds())) is not None:
                    self._log.failure("this replica couldn't follow its primary; it tries again{more}", more=more)
                pause = _LONG_PAUSE
            if pause:
                await deferLater(self._clock, pause)

    async def _ask(self, term: MemberTerm) -> float:
        """Ask once, and do as the answer says.

        :return: seconds to wait before the next question.
        """
        if term.standing:
            return _PAUSE
        if term.is_member and not self._store.incomplete:
            self._owner.copies = 0
        question, began = self._question(term), self._clock.seconds()
        asked = self._primary.pull(question)
        await self._commit_told(asked)
        answer = await asked
        if self._owner.member_term is not term:
            return 0.0  # the answer is of an older ballot
        if answer.ballot != term.group.ballot:
            return _PAUSE
        now = self._clock.seconds()
        term.answered(answer.beacon, now)
        rest = self._rests.behind_answer(len(answer.groups), now - began, of_lease(term.group.lease).wait)
        if answer.copy:
            return await self._copy(term)
        if answer.cut is not None:
            cut = answer.cut
            try:
                await self._cut(cut)
            except (BadRequest, FollowerBehind):
                return await self._copy(term)
            return rest
        try:
            return max(rest, await self._take(question, answer, began))
        except FollowerBehind:  # what would have to go can't be undone
            return await self._copy(term)

    def _question(self, term: MemberTerm) -> Pull:
        store = self._store
        last = min(store.safe, store.position.sequence)
        return Pull(
            term.group.ballot,
            self._me,
            store.identity,
            store.incarnation,
            cut_off(store.ballots, last)[-_BALLOTS:],
            last,
            not store.incomplete,
            term.beacon,
            self._owner.shown.age,
            store.log_format,
        )

    async def _take(self, question: Pull, answer: Pulled, began: float) -> float:
        """Take groups, if there is room, and note what is committed of them and of those before.

        :param began: when the question was sent.
        :return: seconds to wait before the next question.
        """
        store, groups, pending = self._store, answer.groups, self._owner.pending
        told = max(store.committed, min(answer.committed, question.last))  # which is committed with the next question
        has_room = pending.has_room(store.position.sequence, told)
        if not has_room and groups:
            groups = ()
            if (more := self._pace.ending(self._clock.seconds())) is not None:
                self._log.warn(
                    "{primary} doesn't say that its changes are committed; no more are taken{more}",
                    primary=self._address,
                    more=more,
                )
        if groups:
            parted = next((group.sequence for group in groups if self._has_another(group)), None)
            if parted is not None:  # behind what is safe, such as what a disk that failed never got
                await self._cut(parted - 1)
            had = store.position.sequence
            await self._do(lambda: store.append(groups))
            pending.take([group for group in groups if group.sequence > had])
        last = groups[-1].sequence if groups else question.last
        self._told = min(answer.committed, last)
        self._settled = began if answer.settled and answer.committed <= last else None
        return 0.0 if has_room else _LONG_PAUSE

    async def _cut(self, sequence: int) -> None:
        await self._do(partial(self._store.cut, sequence))
        self._owner.pending.cut(sequence)

    async def _commit_told(self, asked: Deferred[Pulled]) -> None:
        """Commit what the last answer has said, while the next question is on its way: others wait for that."""
        store, told = self._store, self._told
        if told > store.committed:
            try:
                await self._do(lambda: store.commit(told))
            except BaseException:
                asked.addErrback(lambda _: None)
                asked.cancel()
                raise
            self._owner.pending.committed(told)
        if self._settled is not None:
            self._owner.shown.shows(told, self._settled)
            self._settled = None

    def _has_another(self, group: ReplicatedGroup) -> bool:
        """Whether the log has another group at the same place."""
        store = self._store
        if group.sequence > store.position.sequence:
            return False
        return ballot_at(store.ballots, group.sequence) != group.ballot

    async def _copy(self, term: MemberTerm) -> float:
        """Become a copy of the primary's store."""
        store, self._told, self._settled = self._store, 0, None
        if term.is_member and not store.incomplete:
            return _PAUSE
        if rest := self._rests.before_copy(self._clock.seconds()):
            return rest
        self._owner.shown.forget()
        self._owner.copies += 1
        head = await self._primary.open_copy()
        await self._do(lambda: store.begin_copy(head))
        self._owner.pending.cut(0)
        try:
            while rows := await self._primary.copied_rows():
                await self._do(partial(store.load_page, rows))
            await self._do(store.end_copy)
        except SnapshotEnded:
            return _PAUSE  # it isn't complete, so another copy is begun
        finally:
            self._rests.copied(self._owner.copies, self._clock.seconds())
        return 0.0

    async def _do(self, work: Callable[[], Deferred[_T]]) -> _T:
        """Have the store do something.

        :raises BadRequest: that can't be done with what it has.
        """
        try:
            done = await self._turns.run(work)
        except (BadRequest, FollowerBehind, CancelledError):
            raise
        except Exception as error:
            raise _StoreTrouble(f"{type(error).__name__}: {error}") from error
        self._owner.store_can("")
        return done


def _cancelled(failure: Failure) -> None:
    failure.trap(CancelledError)
