"""A bulk verb that only reads, at a member of a shard that doesn't lead.

Rule: whatever the member doesn't answer is left over for the primary: what it refuses, and all that isn't answered when
it is silent, or can't be reached. Only what an answer has no room for is asked for again here.
"""

from __future__ import annotations

from collections.abc import Callable

from pyshard.blocking.bulk_work import ShardWork
from pyshard.blocking.replica_pools import ReplicaPool
from pyshard.blocking.shard_pool import ShardPool
from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.client_core.conversation import Broken
from pyshard.client_core.nearest_replica import give_up_at
from pyshard.client_core.operation_queue import Entry
from pyshard.client_core.retry_decision import Attempt, Verdict
from pyshard.errors import AnswerFull, PyshardError


class ReplicaWork(ShardWork):
    """A bulk verb's work at one member, for one window of keys.

    :param lost: called when the member refuses, or gives no answer.
    """

    def __init__(
        self,
        pool: ReplicaPool,
        seconds: float,
        missing: Callable[[str, float], bool],
        refused: Callable[[int], None],
        lost: Callable[[ShardPool], None],
    ) -> None:
        super().__init__(pool, seconds, missing, refused)
        self._lost = lambda: lost(pool)

    def _until(self, entry: Entry) -> float:
        return give_up_at(entry.expires, self._network.now())

    def _verdict(self, part: BulkOperation, attempt: Attempt, error: Exception) -> Verdict:
        if isinstance(error, AnswerFull) and attempt is Attempt.REFUSED:
            return Verdict.RETRY
        return Verdict.REFRESH  # at another one

    def _refuse_whole(self, part: BulkOperation, error: Exception) -> None:
        self.left.append(part)
        raise Broken(str(error))

    def _fail(self, part: BulkOperation, attempt: Attempt, error: Exception) -> None:
        self.left.append(part)

    def _lose(self, why: str) -> None:
        super()._lose(why)
        self._give_up()

    def _expire(self, why: str) -> None:
        self._give_up()

    def _fail_waiting(self, error: PyshardError) -> None:
        self._give_up()

    def _give_up(self) -> None:
        """Leave all that isn't done to the primary."""
        self._lost()
        self._stalled = True
        self.left += [entry for entry in self._queue.take_waiting() if isinstance(entry, BulkOperation)]
