"""One replica of a shard: takes on groups as the cluster's state gives them, leads or follows, and says what it wants.

Rules:

- a group is taken on when its ballot is higher than every one before, and once the store has saved that. A lower one is
  passed over;
- the primary of a group leads if its store is the one that the group knows. One that began anew asks for a new ballot
  first: it doesn't know who was about to join;
- a primary that leads under the next ballot, too, goes on with the answers that wait;
- everybody else follows the primary: a member, or a learner;
- what a member asks, and what it is answered, counts under one ballot only;
- a member stands for the primary's place only when a bootstrap asks: that one can then settle it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.errors import NotConfigured, PyshardError, StorageFailed
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.answer_gate import AnswerGate
from pyshard.replication.group_times import of_lease
from pyshard.replication.interfaces import GroupSource, Primary, ReplicaStore
from pyshard.replication.lone_waits import LoneWaits
from pyshard.replication.member_pulls import MemberPulls
from pyshard.replication.member_term import MemberTerm
from pyshard.replication.pending_groups import PendingGroups
from pyshard.replication.primary_term import PrimaryTerm
from pyshard.replication.pull_answers import PullAnswers
from pyshard.replication.pulls import Pull, Pulled
from pyshard.replication.remembered_group import decode_remembered, encode_remembered
from pyshard.replication.replica_figures import ReplicaFigures, member_figures, primary_figures, why_slow
from pyshard.replication.stale_reads import ShownState, why_no_read
from pyshard.replication.store_turns import StoreTurns
from pyshard.replication.wishes import ReplicaReport, Wish, WishKind


class Replica:
    """One process's part in a group of replicas.

    :param me: the address of this replica.
    :param store: its store.
    :param source: gives the groups of that store to others.
    :param clock: times leases; its seconds go on while the machine is suspended.
    :param reach: gives the replica at an address.
    :param random: gives so many random bytes.
    :ivar group: the group; None: it was told of none yet.
    :ivar leads_since: the first ballot since which this process leads without a break; 0: it doesn't lead.
    :ivar failed: why it can't go on by itself; empty: it can.
    :ivar shown: what its store shows while it follows, for reads.
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
    ) -> None:
        self._me = me
        self._store = store
        self._clock = clock
        self._reach = reach
        self._random = random
        self._answers = PullAnswers(store, source, clock.seconds, self.look)
        self._taking_on = DeferredLock()
        self._turns, self._waits = StoreTurns(), LoneWaits()
        self._primary: PrimaryTerm | None = None
        self._gate: AnswerGate | None = None
        self._member: MemberTerm | None = None
        self._following: Deferred[None] | None = None
        self._bound_until = -inf  # when what was promised under former ballots has run out
        self._closed = False
        self.shown = ShownState(clock.seconds)
        self.pending = PendingGroups()
        self.leads_since = 0
        self.group: ReplicaGroup | None = None
        self.failed, self.copies = "", 0
        if store.promised.ballot:
            self.group, standing = decode_remembered(store.promised.text)
            self._begin_member(standing)

    @property
    def leads(self) -> bool:
        """Whether it is the primary, as far as it knows."""
        return self._primary is not None

    @property
    def takes_changes(self) -> bool:
        """Whether it leads, and takes changes."""
        return self._primary is not None and self._primary.takes_changes(self._clock.seconds())

    @property
    def gate(self) -> AnswerGate:
        """Where answers wait to what is done from now on. Take it before something is done, and ask it afterwards.

        :raises NotConfigured: this replica doesn't lead.
        """
        if self._gate is None or self._primary is None:
            raise NotConfigured("this replica doesn't lead its shard; get the newest map")
        return self._gate

    def check_read(self, last: int) -> None:
        """Refuse a read that may be a little old, at a replica that doesn't lead; see `why_no_read`.

        :param last: the number of the last group that its store shows.
        :raises NotConfigured: it can't be answered.
        """
        why = why_no_read(self.shown, self.group, self._me, self._store.incomplete, last)
        if why:
            raise NotConfigured(f"{why}; ask the primary")

    @property
    def member_term(self) -> MemberTerm | None:
        """See `FollowerOwner`."""
        return self._member

    def start(self) -> None:
        """Go on with the group that the store remembers."""
        self._follow()

    def stop(self) -> None:
        """Ask and answer nobody any more."""
        self._closed = True
        self._end_term()

    def take_on(self, group: ReplicaGroup) -> Deferred[None]:
        """Take on a group, when those before it have been; an older one is passed over.

        What fails is told in the report, and is tried again with the next group, or with this one.
        """
        taking: Deferred[None] = self._taking_on.run(lambda: Deferred.fromCoroutine(self._take_on(group)))
        return taking.addErrback(self._not_taken_on)

    def store_can(self, why_not: str) -> None:
        """See `FollowerOwner`."""
        self.failed = why_not

    def look(self) -> None:
        """Let answers pass: more is safe in the store."""
        if self._primary is not None and self._gate is not None:
            self._advance()
            self._gate.look()

    def switch(self, address: str | None) -> None:
        """Let a member lead in this one's place, if that is soon possible; None: go on as before.

        :raises NotConfigured: this replica doesn't lead.
        :raises BadRequest: it is no other member.
        """
        if self._primary is None:
            raise NotConfigured("this replica doesn't lead its shard; get the newest map")
        self._primary.switch(address, self._clock.seconds())

    async def pulled(self, question: Pull) -> Pulled:
        """Answer a member, or a learner; see `PullAnswers`.

        :raises NotConfigured: this replica doesn't lead.
        :raises BadRequest: who asks isn't of the group.
        :raises StorageFailed: its log can't be read. It leads no more then, if another one can.
        """
        term = self._primary
        if term is None:
            raise NotConfigured("this replica doesn't lead its shard; ask the bootstrap for the newest group")
        try:
            return await self._answers.answer(question, term, lambda: self._primary is term)
        except (StorageFailed, OSError) as error:
            if self._primary is term and term.group.others:
                self.fail(f"it can't read its log: {error}")  # the others would be removed one by one
            raise

    async def answer_bootstrap(self) -> ReplicaReport:
        """What it says of itself to a bootstrap. A member may stand for the primary's place with this."""
        term = self._member
        if term is not None and self._may_stand(term) and not term.saved:
            await self._taking_on.run(lambda: Deferred.fromCoroutine(self._stand(term)))
        return self.report()

    def report(self) -> ReplicaReport:
        """What it says of itself to anybody."""
        store, ballot = self._store, self.group.ballot if self.group else 0
        durable, wish = not store.ephemeral, self._wish()
        identity, incarnation = store.identity, store.incarnation
        slow = "" if self._primary is None else why_slow(*self._primary.slow(self._clock.seconds()))
        said = (store.position, not store.incomplete, wish, self.failed, self.copies, slow)
        return ReplicaReport(identity, incarnation, durable, ballot, *said)

    def figures(self) -> ReplicaFigures | None:
        """What it tells operators of itself; None: it was told of no group yet."""
        if self.group is None:
            return None
        term, member, last, now = self._primary, self._member, self._store.position.sequence, self._clock.seconds()
        if term is not None:
            return primary_figures(term, last, now, self.failed)
        heard = now if member is None else member.heard
        return member_figures(self.group, self._me, heard, now, self.failed, self.shown.age)

    def fail(self, why: str) -> None:
        """Lead no more under this ballot: the store can't go on. One that follows goes on trying."""
        if self._member is None:
            self._end_term()
        self.failed = why

    # ------------------------------------------------------------------ inside

    def _wish(self) -> Wish | None:
        if self._primary is not None:
            self.look()
            return self._primary.wish(self._store.position.sequence, self._clock.seconds())
        if self.group is None or self._closed:
            return None
        if self.group.primary == self._me:
            begun_anew = self._member is not None or self.failed
            can_lead = begun_anew and self._knows_me(self.group) and not self._store.incomplete
            return Wish(WishKind.RENEW, self._me) if can_lead else None
        return None if self._member is None else self._member.wish()

    def _knows_me(self, group: ReplicaGroup) -> bool:
        return group.holds(self._me, StoreId(self._store.identity, self._store.incarnation))

    def _may_stand(self, term: MemberTerm) -> bool:
        if term.group.primary == self._me or not self._knows_me(term.group):
            return False
        return term.may_stand(not self._store.incomplete, self._clock.seconds())

    async def _stand(self, term: MemberTerm) -> None:
        """Stand for the primary's place, and save that."""
        if self._member is not term or term.saved or not self._may_stand(term):
            return
        term.standing = True  # it asks for nothing more, whether the disk has it yet or not
        text = encode_remembered(term.group, standing=True)
        try:
            await self._turns.run(lambda: self._store.promise(term.group.ballot, text))
        except (PyshardError, OSError) as error:
            self._log.warn("this replica can't save that it stands for the primary's place: {why}", why=error)
        else:
            term.saved, self.failed = True, ""  # so the disk works, whatever was before

    async def _take_on(self, group: ReplicaGroup) -> None:
        before = self.group
        if self._closed or (before is not None and group.ballot <= before.ballot):
            return
        await self._turns.run(lambda: self._store.promise(group.ballot, encode_remembered(group)))
        if self._is_over():
            return
        leads = group.primary == self._me and self._knows_me(group) and not self._store.incomplete
        same = before is not None and before.primary == group.primary and group.at(self._me) is not None
        if same and not leads and self._following is not None:
            self.group = group  # and go on with what is under way, such as a copy
            self._begin_member()
            return
        goes_on = leads and self._primary is not None and before is not None and group.ballot == before.ballot + 1
        gate = self._gate if goes_on else None
        self._end_term(gate)
        self.group, self.failed = group, ""
        if leads:
            await self._lead(group, gate)
            return
        self._begin_member()
        try:
            await self._turns.run(self._store.be_member)
        finally:
            if not self._is_over():
                self._follow()

    async def _lead(self, group: ReplicaGroup, gate: AnswerGate | None) -> None:
        self.shown.forget()
        await self._turns.run(lambda: self._store.lead(group.ballot))
        if self._is_over() or self.failed:
            return
        times, now = of_lease(group.lease), self._clock.seconds()
        term = PrimaryTerm(group, times, now, self._random(16), self._bound_until, self._waits)
        term.committed = self._store.committed
        self._primary = term
        if gate is None:  # one at which nobody waits goes on, too: something may be on its way to it
            later = partial(self._clock.callLater, 0)
            self.leads_since, gate = group.ballot, AnswerGate(term, self._clock.seconds, self._advance, later)
        self._gate = gate
        gate.go_on(term)
        self.look()

    def _begin_member(self, standing: bool = False) -> None:
        assert self.group is not None
        self._note_bound()
        self._member = MemberTerm(self.group, self._me, of_lease(self.group.lease), self._clock.seconds(), standing)

    def _note_bound(self) -> None:
        if self._member is not None:
            self._bound_until = max(self._bound_until, self._member.promised_until)

    def _end_term(self, kept: AnswerGate | None = None) -> None:
        """Lead and follow no more.

        :param kept: goes on under the next ballot.
        """
        gate, following = self._gate, self._following
        self._note_bound()
        self._primary = self._member = self._following = None
        self._gate = kept
        if kept is None:
            self.leads_since = 0
        if gate is not None and gate is not kept:
            gate.end(NotConfigured("this replica doesn't lead its shard any more"))
        if following is not None:
            following.cancel()

    def _is_over(self) -> bool:
        return self._closed

    def _not_taken_on(self, failure: Failure) -> None:
        self._fails("it can't take on a group", failure)

    def _advance(self) -> None:
        """Let the store know how much is committed."""
        term, store = self._primary, self._store
        if term is not None and term.commit(store.safe) > store.committed:
            committed = term.committed
            store.commit(committed).addErrback(self._not_committed)

    def _not_committed(self, failure: Failure) -> None:
        self._fails("its store can't commit", failure)

    def _fails(self, what: str, failure: Failure) -> None:
        if failure.check(PyshardError, OSError) is None:
            self._log.failure("this replica can't go on: {what}", failure, what=what)
        self.fail(f"{what}: {failure.getErrorMessage()}")

    def _follow(self) -> None:
        group = self.group
        if self._member is None or group is None or group.primary == self._me or group.at(self._me) is None:
            return
        primary = self._reach(group.primary)
        follower = MemberPulls(group.primary, primary, self._me, self._store, self._turns, self._clock, self)
        self._following = follower.start()
