"""What a primary answers to the question of a member, or of a learner.

Rules:

- with a question of another ballot nothing counts; who has an older one is given the newer group;
- groups are given when they are safe on this side: so what is confirmed by others isn't lost here;
- the answer is dated when it is sent, as leases count from then. It isn't sent if this side has ceased to lead
  meanwhile: what its log has by then may be another primary's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyshard.errors import BadRequest, FollowerBehind, NotConfigured
from pyshard.protocol.log_groups import ReplicatedGroup
from pyshard.protocol.log_positions import common_point
from pyshard.replication.interfaces import GroupSource, ReplicaStore
from pyshard.replication.primary_term import Course, PrimaryTerm
from pyshard.replication.pulls import Pull, Pulled


class PullAnswers:
    """Answers pulls.

    :param store: the primary's.
    :param source: gives the groups of that store.
    :param now: seconds of the clock that terms go by.
    :param look: lets the store, and who waits, know how much is committed.
    """

    def __init__(
        self, store: ReplicaStore, source: GroupSource, now: Callable[[], float], look: Callable[[], None]
    ) -> None:
        self._store = store
        self._source = source
        self._now = now
        self._look = look

    async def answer(self, question: Pull, term: PrimaryTerm, leads: Callable[[], bool]) -> Pulled:
        """Answer one.

        :param term: what the primary knows.
        :param leads: whether that is still so.
        :raises NotConfigured: this replica leads no more, or gives way.
        :raises BadRequest: who asks isn't of the group.
        """
        if question.ballot != term.group.ballot:
            return Pulled(term.group.ballot)
        store, now = self._store, self._now()
        course = term.heard(question, store.ballots, store.position.sequence, store.safe, now)
        self._look()
        if course is Course.NOBODY:
            raise BadRequest(f"replica {question.address}: found a store that isn't of the group")
        if term.gives_way(question.address, now):
            raise NotConfigured("this replica can't lead its shard without another one; ask the bootstrap")
        groups: Sequence[ReplicatedGroup] = ()
        if course is Course.GROUPS:
            try:
                groups = await self._source.groups(question.address, question.last, question.log_format)
            except FollowerBehind:
                term.falls_behind(question.address)
                course = Course.COPY
        if not leads():
            raise NotConfigured("this replica leads its shard no more; ask the bootstrap for the newest group")
        cut = self._common(question) if course is Course.CUT else None
        beacon, settled = term.beacon(now := self._now()), term.is_settled(store.ballots, now)
        copy = course is Course.COPY
        return Pulled(term.group.ballot, term.committed, beacon, cut, copy, settled, groups=groups)

    def _common(self, question: Pull) -> int:
        store = self._store
        return common_point(store.ballots, store.position.sequence, question.history, question.last)
