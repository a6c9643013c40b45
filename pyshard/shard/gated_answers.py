"""Has what a primary is asked wait: before it reads, for leases, and then until its answer may be given.

Rules:

- what only reads is begun when leases allow an answer, and they are looked at again when the value is taken. So while
  they don't, as when a member is frozen, nothing is kept of what was found;
- an answer waits until all members have what it saw (`pyshard.replication.answer_gate`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.errors import OutcomeUnknown
from pyshard.protocol.batch_operations import Run
from pyshard.replication.answer_gate import AnswerGate
from pyshard.shard.waiting_answers import WaitingAnswers, answer_size
from pyshard.storage import IStore, Sender

_T = TypeVar("_T")


class GatedAnswers:
    """The answers of one shard with replicas.

    :param store: what they are read from.
    :param seconds: the clock, in seconds.
    """

    def __init__(self, store: IStore, seconds: Callable[[], float]) -> None:
        self._store = store
        self._seconds = seconds
        self._waiting = WaitingAnswers()

    def answer(
        self, gate: AnswerGate, begin: Callable[[], Deferred[_T]], changes: bool, sender: Sender, read: Sequence[Run]
    ) -> Deferred[_T]:
        """Do something, and have its answer wait.

        :param gate: of the primary's place by now: what is begun is of no later one.
        :param begin, changes, sender, read: see `ShardReplica.answer`.
        """
        if changes or gate.seems_leased:
            return begin().addCallback(self._waited, gate, changes, sender, read)
        leased = self._waiting.wait(sender, gate.passed(0, changed=False), None, 0, keeps_place=False)
        return leased.addCallback(self._begin_late, gate, begin, sender, read)

    def forget(self, sender: Sender) -> None:
        """Keep nothing of who has gone."""
        self._waiting.forget(sender)

    def _begin_late(
        self, _: None, gate: AnswerGate, begin: Callable[[], Deferred[_T]], sender: Sender, read: Sequence[Run]
    ) -> Deferred[_T]:
        """Begin what had to wait. What it takes is none of the time in which its sender's boxes are served."""
        began = self._seconds()
        try:
            return begin().addCallback(self._waited, gate, False, sender, read)
        finally:
            sender.count(max(0.0, self._seconds() - began), 1)

    def _waited(
        self, answer: _T, gate: AnswerGate, changes: bool, sender: Sender, read: Sequence[Run]
    ) -> Deferred[_T] | _T:
        """Give an answer when it may be given."""
        seen = self._seen(read)
        passed = gate.passed(seen, changed=changes)
        if changes:  # what changed nothing may have read something
            passed.addCallback(lambda _: gate.passed(seen, changed=False)).addErrback(_in_doubt)
        if passed.called and not passed.paused and passed.result is None:
            return answer
        return self._waiting.wait(sender, passed, answer, answer_size(answer), keeps_place=changes)

    def _seen(self, read: Sequence[Run]) -> int:
        """The number of the last group that an answer may have seen; 0: nothing but what is committed."""
        store = self._store
        position = store.position.sequence
        if not read or position <= store.committed or any(store.may_be_undone(run.index, run.keys) for run in read):
            return position
        return 0


def _in_doubt(failure: Failure) -> Failure:
    """What a change fails with: some of it may have changed something."""
    if failure.check(OutcomeUnknown) is not None:
        return failure
    return Failure(OutcomeUnknown(f"the primary has changed: {failure.getErrorMessage()}"))
