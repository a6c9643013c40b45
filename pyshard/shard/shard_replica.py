"""A shard's part in its group of replicas: what its store, its network and the decisions of replication have to do with
one another.

Rules:

- a shard without replicas has nothing of this: `leads` and `takes_changes` are true, and no answer waits;
- which replica this is, the group says by the identity of the store;
- one that follows another owns nothing by itself: ranges, indexes and what is remembered come with the primary's log.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from random import Random
from typing import TypeVar

import msgspec
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from pyshard.errors import BadRequest, NotConfigured, ShardBehind
from pyshard.message_texts import shown_value
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import ReplicaGroup
from pyshard.net.client_endpoints import Dial
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Run, changes
from pyshard.replication.group_times import of_lease
from pyshard.replication.interfaces import Primary
from pyshard.replication.pulls import Pull
from pyshard.replication.remembered_group import decode_remembered
from pyshard.replication.replica import Replica
from pyshard.replication.wishes import ReplicaReport
from pyshard.shard.gated_answers import GatedAnswers
from pyshard.shard.large_changes import LargeChanges
from pyshard.shard.late_followers import Chaser
from pyshard.shard.parted_answer import unheld
from pyshard.shard.primary_connection import PrimaryConnection
from pyshard.shard.pull_precedence import PullPrecedence
from pyshard.shard.served_replicas import ServedReplicas
from pyshard.shard.small_changes import SMALL
from pyshard.shard.waiting_questions import WaitingQuestions
from pyshard.storage import ITSELF, IStore, Sender, Task
from pyshard.storage.durable.update_size import update_size

_T = TypeVar("_T")


class ShardReplica:
    """One shard's part.

    :param store: the shard's.
    :param clock: times leases and connections.
    :param dial: leads to the other replicas.
    :param random: jitter, and what makes beacons known.
    :ivar served: what other replicas are given.
    :ivar large: where large changes wait until the members have those before.
    """

    def __init__(self, store: IStore, clock: IReactorTime, dial: Dial, random: Random) -> None:
        self._store = store
        self._clock = clock
        self._dial = dial
        self._random = random
        self._replica: Replica | None = None
        self._connection: tuple[str, PrimaryConnection] | None = None
        self.served = ServedReplicas(store, clock)
        self.large = LargeChanges(clock, store.uncommitted)
        self._answers = GatedAnswers(store, clock.seconds)
        self._questions = WaitingQuestions()
        self._first = PullPrecedence()
        promised = store.promised
        if promised.ballot:
            self._begin(decode_remembered(promised.text)[0])

    @property
    def is_one_of_several(self) -> bool:
        """Whether the shard has replicas."""
        return self._replica is not None

    @property
    def leads(self) -> bool:
        """Whether this one answers clients."""
        return self._replica is None or self._replica.leads

    @property
    def takes_changes(self) -> bool:
        """Whether it leads, and its shard has members enough for changes."""
        return self._replica is None or self._replica.takes_changes

    def start(self) -> None:
        """Go on with the group that the store remembers."""
        if self._replica is not None:
            self._replica.start()

    def close(self) -> None:
        """Ask and answer nobody any more."""
        if self._replica is not None:
            self._replica.stop()
        self._hang_up()
        self.served.close()

    async def take_on(self, group: ReplicaGroup) -> None:
        """Take on a group that a bootstrap gives; an older one is passed over.

        :raises NotConfigured: this store isn't one of the group's.
        """
        if self._replica is None and not self._begin(group):
            raise NotConfigured("the group of replicas doesn't have this store; the bootstrap will see it soon")
        assert self._replica is not None
        self.served.wait = of_lease(group.lease).wait
        await self._replica.take_on(group)
        if self._replica.leads:
            self.served.keep_for(frozenset(replica.address for replica in group.replicas))

    def check_changes(self) -> None:
        """Refuse changes that this replica can't take now.

        :raises ShardBehind: too few members are there, or another one is about to lead.
        """
        if self._replica is not None and not self._replica.takes_changes:
            raise ShardBehind(
                "this shard takes no changes now: it has too few replicas with all documents, or another one of them "
                "is about to lead; see pyshard stat"
            )

    def check_leads(self) -> None:
        """Refuse clients where another replica leads.

        :raises NotConfigured: this one doesn't.
        """
        if not self.leads:
            raise NotConfigured("this replica doesn't lead its shard; get the newest map")

    def check_copy(self, address: str) -> None:
        """Refuse a copy of everything to whoever isn't another replica of the shard: changes would be kept for it.

        :param address: of the replica that wants it.
        :raises NotConfigured: this one doesn't lead, or has no replicas.
        :raises BadRequest: there is no other replica at this address.
        """
        group = None if self._replica is None else self._replica.group
        if group is None:
            raise NotConfigured("this shard has no replicas, as far as it was told")
        self.check_leads()
        if address == group.primary or group.at(address) is None:
            raise BadRequest(
                f"replica: found {shown_value(address)}, expected the address of another replica of this shard"
            )

    def apply(
        self, begin: Callable[[], Deferred[list[Answer]]], runs: Sequence[Run], copied: int, sender: Sender
    ) -> Deferred[list[Answer]]:
        """Apply a batch, and have its answer wait; see `answer`. A large change may wait before it is begun.

        :param copied: bytes of records that it writes beside those that it brings.
        :param sender: whose it is.
        :raises NotConfigured, ShardBehind: this one takes no such batch now.
        :raises Overloaded: (in the Deferred) too much isn't committed already; nothing was applied.
        """
        self.check_leads()
        if not any(map(changes, runs)):
            if (refused := self._questions.refusal(sender)) is not None:
                return fail(refused)
            self.large.ask(sender)
            return self._counted(sender, self._gated(begin, False, sender, runs), True)
        self.check_changes()
        if (refused := self._questions.refusal(sender)) is not None:
            return fail(refused)
        weight = update_size([Task(run, 0, ()) for run in runs])[0] + copied
        changed = self.large.serve(sender, weight, partial(self._begin_change, begin, sender))
        return self._counted(sender, changed, weight <= SMALL)

    def answer(
        self,
        begin: Callable[[], Deferred[_T]],
        changes: bool,
        sender: Sender = ITSELF,
        read: Sequence[Run] = (),
    ) -> Deferred[_T]:
        """Do something, and have its answer wait until all members have what it saw, and nobody else can lead.

        :param begin: does it.
        :param changes: whether it is something that may change anything.
        :param sender: who waits for it.
        :param read: what it is, if that reads some keys alone. It doesn't wait then for what others have changed.
        :raises OutcomeUnknown: (in the Deferred) another replica leads by now, and may have what was changed, or not.
        :raises NotConfigured: this replica doesn't lead, also in the Deferred; nothing was changed.
        :raises Overloaded: (in the Deferred) too many questions wait already; nothing was done.
        """
        if self._replica is None:
            return begin()
        if (refused := self._questions.refusal(sender)) is not None:
            return fail(refused)
        return self._counted(sender, self._gated(begin, changes, sender, read), False)

    def check_read(self) -> None:
        """Refuse a read that may be a little old, at a replica that doesn't lead; see `Replica.check_read`.

        :raises NotConfigured: what this one shows can't be given.
        """
        assert self._replica is not None, "one that has no replicas leads"
        self._replica.check_read(self._store.sequence)

    def answer_stale(self, begin: Callable[[], Deferred[_T]]) -> Deferred[_T]:
        """Read something at a replica that doesn't lead, for a caller that takes what is a little old.

        :param begin: reads it.
        :raises NotConfigured: (in the Deferred) this replica can't answer it.
        """

        def check(answer: _T) -> _T:  # when the value is taken, as time has passed meanwhile
            self.check_read()
            return answer

        return begin().addCallback(check)

    async def pulled(
        self, owner: Hashable, pull: bytes, offset: int, hold: Callable[[int], object] = unheld
    ) -> tuple[bytes, bytes, bool]:
        """Answer another replica; see `ServedReplicas.answer`.

        :raises NotConfigured: this one doesn't lead.
        """
        if self._replica is None:
            raise NotConfigured("this shard has no replicas, as far as it was told")
        return await self.served.answer(owner, self._replica, pull, offset, hold)

    def learners(self) -> Iterable[Chaser]:
        """The replicas that are given groups, and aren't members yet."""
        group = None if self._replica is None else self._replica.group
        return () if group is None or not self.leads else self.served.chasers(group.learners)

    def goes_first(self, owner: Hashable, pull: bytes) -> bool:
        """Note a question; whether the connection that it has come over is served before everybody by it.

        :param owner: the connection.
        :param pull: the question, as MessagePack: of another replica of the group, as far as this one knows it, or not.
        """
        group = None if self._replica is None else self._replica.group
        if group is None or not self.leads:
            return False
        try:
            question = msgspec.msgpack.decode(pull, type=Pull)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            return False  # as whoever answers it will say
        if not group.holds(question.address, StoreId(question.identity, question.incarnation)):
            return False
        made, now = self._store.position.sequence, self._clock.seconds()
        given = self.served.given(question.address)
        return self._first.has(question.address, owner, question.last, given, made, now, 2 * self.served.wait)

    def lost(self, owner: Hashable) -> None:
        """A connection is gone."""
        self.served.lost(owner)
        self._first.lost(owner)

    def forget(self, sender: Sender) -> None:
        """Begin nothing, and keep no answer, for who has gone."""
        self.large.forget(sender)
        self._answers.forget(sender)

    async def answer_bootstrap(self) -> ReplicaReport:
        """What it says of itself to a bootstrap; see `Replica.answer_bootstrap`."""
        return self.report() if self._replica is None else await self._replica.answer_bootstrap()

    def report(self) -> ReplicaReport:
        """What it says of itself to anybody."""
        if self._replica is not None:
            return self._replica.report()
        store = self._store
        return ReplicaReport(store.identity, store.incarnation, not store.ephemeral, 0, store.position)

    def switch(self, address: str) -> None:
        """Have another member lead; see `Replica.switch`.

        :raises NotConfigured, BadRequest: it can't be.
        """
        if self._replica is None:
            raise NotConfigured("this shard has no replicas, as far as it was told")
        self._replica.switch(address or None)

    def stat(self) -> dict[str, object]:
        """How it fares, as docs/protocol.md lists it ("Stat"); nothing, for a shard without replicas."""
        figures = None if self._replica is None else self._replica.figures()
        return {} if figures is None else {"replica": figures.described()}

    # ------------------------------------------------------------------ inside

    def _gated(
        self, begin: Callable[[], Deferred[_T]], changes: bool, sender: Sender, read: Sequence[Run] = ()
    ) -> Deferred[_T]:
        """As `answer`, of what is counted elsewhere."""
        assert self._replica is not None, "it leads a group"
        gate = self._replica.gate  # of this term: what is begun now is of no later one
        return self._answers.answer(gate, begin, changes, sender, read)

    def _begin_change(self, begin: Callable[[], Deferred[_T]], sender: Sender) -> Deferred[_T]:
        self.check_leads()
        self.check_changes()
        return self._gated(begin, True, sender)

    def _counted(self, sender: Sender, answer: Deferred[_T], is_small: bool) -> Deferred[_T]:
        """Count a question until it is answered; of something small, also for how long it waits."""
        if answer.called and not answer.paused:
            return answer
        self._questions.begin(sender)
        return answer.addBoth(self._answered, sender, self._clock.seconds() if is_small else None)

    def _answered(self, outcome: _T, sender: Sender, began: float | None) -> _T:
        self._questions.end(sender)
        if began is not None:
            sender.waited(self._clock.seconds() - began)
        return outcome

    def _begin(self, group: ReplicaGroup) -> bool:
        """Be one of a group's replicas, if it has this store."""
        identity = self._store.identity
        me = next((each.address for each in group.replicas if each.store and each.store.identity == identity), None)
        if me is None:
            return False
        self._replica = Replica(
            me,
            self._store,
            self.served,
            self._clock,
            lambda address: self._reach(me, address),
            self._random.randbytes,
        )
        return True

    def _reach(self, me: str, address: str) -> Primary:
        if self._connection is not None and self._connection[0] == address:
            return self._connection[1]
        self._hang_up()
        replica = self._replica
        group = None if replica is None else replica.group
        place = None if group is None else group.at(address)
        assert group is not None, "who reaches for another one is one of a group"
        assert place is not None, "it is one of the group's"
        endpoint = self._dial(place.host, place.port)
        made = PrimaryConnection(me, address, self._clock, endpoint, self._random, group.lease)
        self._connection = address, made
        return made

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection[1].close()
            self._connection = None
