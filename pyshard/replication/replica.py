"""One replica of a shard: takes on groups as the cluster's state gives them, leads or follows, and says what it wants.

Rules:

- a group is taken on when its ballot is higher than every one before, and once the store has saved that. A lower one is
  passed over. Where the store fails then, nothing is taken on, and it is tried again when the group is told anew;
- the primary of a group leads if its store is the one that the group knows. One that began anew asks for a new ballot
  first: it doesn't know who was about to join;
- everybody else follows the primary: a member, or a learner;
- what a member asks, and what it is answered, counts under one ballot only.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.errors import BadRequest, FollowerBehind, NotConfigured, PyshardError, SnapshotEnded, plain
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import ReplicaGroup
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.log_positions import common_point
from pyshard.replication.answer_gate import AnswerGate
from pyshard.replication.group_times import of_lease
from pyshard.replication.interfaces import GroupSource, Primary, ReplicaStore
from pyshard.replication.member_term import MemberTerm
from pyshard.replication.primary_term import Course, PrimaryTerm
from pyshard.replication.pulls import Pull, Pulled
from pyshard.replication.wishes import ReplicaReport, Wish, WishKind

_PAUSE = 0.05  # seconds before a question that failed is asked again

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ReplicaGroup).decode


class Replica:
    """One process's part in a group of replicas.

    :param me: the address of this replica.
    :param store: its store.
    :param source: gives the groups of that store to others.
    :param clock: times leases; its seconds go on while the machine is suspended.
    :param reach: gives the replica at an address.
    :param random: gives so many random bytes.
    :param on_term: called when this replica leads, or does so no more.
    :ivar group: the group; None: it was told of none yet.
    :ivar failed: why it can't go on by itself; empty: it can.
    """

    _log = Logger()

    def __init__(
        self,
        me: str,
        store: ReplicaStore,
        source: GroupSource,
        clock: IReactorTime,
        reach: Callable[[str], Primary],
        random: Callable[[int], bytes],
        on_term: Callable[[], None] = lambda: None,
    ) -> None:
        self._me = me
        self._store = store
        self._source = source
        self._clock = clock
        self._reach = reach
        self._random = random
        self._on_term = on_term
        self._taking_on = DeferredLock()
        self._primary: PrimaryTerm | None = None
        self._gate: AnswerGate | None = None
        self._member: MemberTerm | None = None
        self._following: Deferred[None] | None = None
        self._told = 0  # all groups up to this number are committed, as the primary has said
        self._why = ""  # the primary gives nothing
        self.group: ReplicaGroup | None = None
        self.failed = ""
        if store.promised.ballot:
            self.group = _decode(store.promised.text)
            self._begin_member()

    @property
    def leads(self) -> bool:
        """Whether it is the primary, as far as it knows."""
        return self._primary is not None

    @property
    def takes_changes(self) -> bool:
        """Whether it leads, and takes changes."""
        return self._primary is not None and self._primary.takes_changes

    def start(self) -> None:
        """Go on with the group that the store remembers."""
        self._follow()

    def stop(self) -> None:
        """Ask and answer nobody any more."""
        self._end_term()

    def take_on(self, group: ReplicaGroup) -> Deferred[None]:
        """Take on a group, when those before it have been; an older one is passed over."""
        taken: Deferred[None] = self._taking_on.run(lambda: Deferred.fromCoroutine(self._take_on(group)))
        return taken

    def passed(self, seen: int, changed: bool) -> Deferred[None]:
        """Fires when an answer may be given; see `AnswerGate.passed`.

        :raises NotConfigured: this replica doesn't lead.
        """
        if self._gate is None or self._primary is None:
            raise NotConfigured("this replica doesn't lead its shard; get the newest map")
        if seen > self._primary.committed:
            self._primary.commit(self._store.position.sequence)
        return self._gate.passed(seen, changed)

    async def pulled(self, question: Pull) -> Pulled:
        """Answer a member, or a learner.

        :raises NotConfigured: this replica doesn't lead.
        :raises BadRequest: who asks isn't of the group.
        """
        term, gate = self._primary, self._gate
        if term is None or gate is None or self.failed:
            raise NotConfigured("this replica doesn't lead its shard; ask the bootstrap for the newest group")
        if question.ballot != term.group.ballot:
            return Pulled(term.group.ballot, term.group if question.ballot < term.group.ballot else None)
        course = term.heard(question, self._store.ballots, self._store.position.sequence, self._clock.seconds())
        await self._committed(term, gate)
        if course is Course.NOBODY:
            raise BadRequest(f"replica {question.address}: found a store that isn't of the group")
        groups: list[ChangeGroup] = []
        if course is Course.GROUPS:
            try:
                groups = await self._source.groups(question.address, question.last)
            except FollowerBehind:
                term.falls_behind(question.address)
                course = Course.COPY
        if self._primary is None:  # what its log has now may be another primary's
            raise NotConfigured("this replica leads its shard no more; ask the bootstrap for the newest group")
        if self._primary is not term:
            return Pulled(self._primary.group.ballot, self._primary.group)
        if groups and groups[-1].ballot > term.group.ballot:  # the next term is about to begin
            groups = []
        cut = self._common(question) if course is Course.CUT else None
        beacon = term.beacon(self._clock.seconds())
        return Pulled(term.group.ballot, None, term.committed, beacon, cut, course is Course.COPY, groups)

    def report(self) -> ReplicaReport:
        """What it says of itself to a bootstrap. A member may stand for the primary's place with this."""
        store, ballot = self._store, 0 if self.group is None else self.group.ballot
        durable = not store.ephemeral
        return ReplicaReport(
            store.identity,
            store.incarnation,
            durable,
            ballot,
            store.position,
            not store.incomplete,
            self._wish(),
            self.failed,
        )

    def fail(self, why: str) -> None:
        """Lead no more under this ballot: the store can't go on."""
        self.failed = why
        self._end_term()

    # ------------------------------------------------------------------ inside

    def _wish(self) -> Wish | None:
        now = self._clock.seconds()
        if self._primary is not None:
            self._primary.commit(self._store.position.sequence)
            return self._primary.wish(self._store.position.sequence, now)
        if self._member is None or self.group is None:
            return None
        if self.group.primary == self._me:
            return Wish(WishKind.RENEW, self._me) if self._knows_me(self.group) else None
        return self._member.stand(not self._store.incomplete, now)

    def _knows_me(self, group: ReplicaGroup) -> bool:
        return group.holds(self._me, StoreId(self._store.identity, self._store.incarnation))

    async def _take_on(self, group: ReplicaGroup) -> None:
        if self.group is not None and group.ballot <= self.group.ballot:
            return
        await self._store.promise(group.ballot, _encode(group))
        leads = group.primary == self._me and self._knows_me(group) and not self._store.incomplete
        same = self.group is not None and self.group.primary == group.primary and not leads
        if same and self._member is not None and self._following is not None:
            self.group = group  # and go on with what is under way, such as a copy
            self._begin_member()
            return
        if leads and self._primary is not None and self.group is not None and group.ballot == self.group.ballot + 1:
            await self._lead(group)  # and have what waits for its answer go on waiting
            return
        self._end_term()
        if leads:
            await self._lead(group)
        else:
            await self._store.be_member()
            self.group, self.failed = group, ""
            self._begin_member()
            self._follow()

    async def _lead(self, group: ReplicaGroup) -> None:
        term = PrimaryTerm(group, of_lease(group.lease), self._clock.seconds(), self._random(16))
        term.committed = self._store.committed
        try:
            await self._store.lead(group.ballot)
        except PyshardError:
            self._end_term()
            raise
        self.group, self.failed, self._primary = group, "", term
        if self._gate is None:
            self._gate = AnswerGate(term, self._clock.seconds)
        else:
            self._gate.go_on(term)
        await self._committed(term, self._gate)
        self._on_term()

    def _begin_member(self) -> None:
        assert self.group is not None
        self._told = 0  # of another log, perhaps
        self._member = MemberTerm(self.group, self._me, of_lease(self.group.lease), self._clock.seconds())

    def _end_term(self) -> None:
        led, gate, following = self._primary is not None, self._gate, self._following
        self._primary = self._gate = self._member = self._following = None
        if gate is not None:
            gate.end(NotConfigured("this replica doesn't lead its shard any more"))
        if following is not None:
            following.cancel()
        if led:
            self._on_term()

    async def _committed(self, term: PrimaryTerm, gate: AnswerGate) -> None:
        """Let the store, and those who wait, know how much is committed."""
        before = self._store.committed
        if term.commit(self._store.position.sequence) > before:
            await self._store.commit(term.committed)
        gate.look()

    def _common(self, question: Pull) -> int:
        store = self._store
        return common_point(store.ballots, store.position.sequence, question.history, question.last)

    # ------------------------------------------------------------------ a member

    def _follow(self) -> None:
        if self._member is None or self._member.group.primary == self._me:
            return
        primary = self._member.group.primary
        following = Deferred.fromCoroutine(self._pull(primary, self._reach(primary)))
        self._following = following
        following.addErrback(self._stopped)

    def _stopped(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self.failed = failure.getErrorMessage()
            self._log.failure("this replica stops", failure)

    async def _pull(self, address: str, primary: Primary) -> None:
        """Follow a primary, under one ballot after the other, until it is another one."""
        while (term := self._member) is not None and term.group.primary == address:
            try:
                await self._pull_once(term, primary)
            except PyshardError as error:
                self._note(address, str(error))
                await deferLater(self._clock, _PAUSE)

    def _note(self, address: str, why: str) -> None:
        """Say why the primary gives nothing, once."""
        if why != self._why:
            self._why = why
            self._log.info("the primary at {primary} gives nothing: {why}", primary=address, why=plain(why))

    async def _pull_once(self, term: MemberTerm, primary: Primary) -> None:
        """Ask once, and do as the answer says."""
        store = self._store
        if term.standing:
            await deferLater(self._clock, _PAUSE)
            return
        asked = primary.pull(
            Pull(
                term.group.ballot,
                self._me,
                store.identity,
                store.incarnation,
                store.ballots,
                store.position.sequence,
                not store.incomplete,
                term.beacon,
            )
        )
        await self._commit_told(asked)
        answer = await asked
        if self._member is not term:  # the answer is of an older ballot
            return
        if answer.ballot != term.group.ballot:
            if answer.group is not None and answer.ballot > term.group.ballot:
                await self.take_on(answer.group)  # it cancels this one, if it has another primary
            else:
                await deferLater(self._clock, _PAUSE)
            return
        term.answered(answer.beacon, self._clock.seconds())
        self._why = ""
        if answer.cut is not None:
            await self._cut(answer.cut, primary)
        elif answer.copy:
            await self._copy(primary)
        else:
            self._told = answer.committed
            if answer.groups:
                await store.append(answer.groups)

    async def _commit_told(self, asked: Deferred[Pulled]) -> None:
        """Commit what the last answer has said, while the next one is on its way: others wait for that."""
        committed = min(self._told, self._store.position.sequence)
        if committed > self._store.committed:
            try:
                await self._store.commit(committed)
            except BaseException:
                asked.addErrback(lambda _: None)
                asked.cancel()
                raise

    async def _cut(self, sequence: int, primary: Primary) -> None:
        try:
            await self._store.cut(sequence)
        except FollowerBehind:
            await self._copy(primary)

    async def _copy(self, primary: Primary) -> None:
        """Become a copy of the primary's store."""
        head = await primary.open_copy()
        await self._store.begin_copy(head)
        try:
            while rows := await primary.copied_rows():
                await self._store.load_page(rows)
        except SnapshotEnded:
            return  # it isn't complete, so another copy is begun
        await self._store.end_copy()
