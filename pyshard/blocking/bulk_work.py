"""The blocking client's bulk verb at one shard: sends the shard's keys, a few boxes at a time, and takes the answers.

Rules:

- Documents are encoded when their box is about to be sent, so that the shards work while the next ones are encoded.
- Operations on one key stay in their order (`pyshard.client_core.operation_queue`).
- A change whose answer was lost is in doubt, key by key; a read is sent again.
- What the shard doesn't own any more is left over, for whoever has a newer map.
- A shard that let a deadline pass is sent nothing more of this bulk verb. A read for which there is no room isn't sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import attrs

from pyshard.blocking import primary_silence
from pyshard.blocking.address_race import TooLate
from pyshard.blocking.calling_thread_tasks import Interest, Steps
from pyshard.blocking.connection_pool import REFUSALS, NotSent
from pyshard.blocking.pooled_connection import PooledConnection
from pyshard.blocking.shard_pool import ShardPool
from pyshard.client_core.bulk_input import BulkSlice, encoded
from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.client_core.bulk_outcomes import SliceInFlight
from pyshard.client_core.conversation import Broken, Reply
from pyshard.client_core.operation_errors import in_doubt, not_sent, refused_by, too_late
from pyshard.client_core.operation_queue import Batch, Entry, OperationQueue
from pyshard.client_core.retry_decision import SENSELESS, Attempt, Verdict, decide
from pyshard.errors import ClientClosed, IndexNotFound, OutcomeUnknown, PyshardError
from pyshard.protocol.apply_boxes import answers_in
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.columns import picker
from pyshard.settings import settings


@attrs.define
class UnsentKeys:
    """Keys of a slice for one shard that were not sent yet.

    :param slots: of all keys of the slice's run.
    :param numbers: which keys of the run they are.
    """

    bulk_slice: BulkSlice
    outcomes: SliceInFlight
    slots: Sequence[int]
    numbers: Sequence[int]

    def next_part(self, expires: float, refused: Callable[[int], None]) -> BulkOperation | None:
        """As many of them as a box takes, as one operation; they aren't unsent any more. None: none can be sent.

        :param refused: called with the number of documents that can't be stored.
        """
        bulk_slice = self.bulk_slice
        if bulk_slice.documents is None:
            whole = BulkOperation(bulk_slice.run, self.slots, bulk_slice.places, expires, self.outcomes)
            numbers, self.numbers = self.numbers, ()
            return whole if len(numbers) == len(whole) else whole.part(numbers)
        write = encoded(bulk_slice, self.numbers)
        self.numbers = self.numbers[len(write) :]
        self.outcomes.write(write)
        if write.refused:
            refused(len(write.refused))
        if not write.numbers:
            return None
        places = self.outcomes.places(write.numbers)
        return BulkOperation(write.run, picker(write.numbers)(self.slots), places, expires, self.outcomes)


class ShardWork:
    """A bulk verb's work at one shard, for one window of keys.

    :param pool: the shard's connections.
    :param seconds: the deadline of each operation, from the moment it is issued.
    :param missing: given an index and when it was first refused, tells whether it is known to be missing.
    :param refused: called with the number of documents that can't be stored.
    :ivar unsent: what is to be done, in order.
    :ivar again: parts that were sent before and go out again, before what is unsent.
    :ivar left: parts that another shard may own by now; what is unsent at the end is left, too.
    :ivar away: whether the shard let a deadline pass.
    """

    def __init__(
        self,
        pool: ShardPool,
        seconds: float,
        missing: Callable[[str, float], bool],
        refused: Callable[[int], None],
    ) -> None:
        self._pool = pool
        self._network = pool.network
        self._seconds = seconds
        self._missing = missing
        self._refused = refused
        self._queue = OperationQueue()
        self._stalled = False
        self._paused = False  # until the shard has rested, for it put off a whole box
        self._waited = 0.0  # seconds before the first parts were issued, which count for their deadlines
        self._in_flight: dict[bytes, Batch] = {}
        self.unsent: deque[UnsentKeys] = deque()
        self.again: deque[BulkOperation] = deque()
        self.left: list[BulkOperation] = []
        self.away = False

    @property
    def rested(self) -> float:
        """The time until which the shard is left alone."""
        return self._pool.rested()

    def run(self) -> Steps[None]:
        """Do all of it. Every key has its outcome then, or is left over.

        When the shard can't be reached, it ends early: a newer map may say where the shard is by now.
        """
        connection = self._pool.take() or self._pool.new()
        try:
            if self._pool.left:
                runs = [keys.bulk_slice.run for keys in self.unsent]
                places = {(run.index, key) for run in runs for key in run.keys}
                began = self._network.now()
                yield from self._pool.left.settle(places, began + self._seconds)
                self._waited = self._network.now() - began
            while not self._stalled and (self.unsent or self.again or not self._queue.idle):
                yield from self._turn(connection)
                self._waited = 0.0
        except BaseException:
            connection.close()
            raise
        self._pool.put_back(connection)

    # ------------------------------------------------------------------ inside

    def _turn(self, connection: PooledConnection) -> Steps[None]:
        """Send what may go, and take what has come."""
        self._fill()
        if self._paused:
            yield from Interest((), min(self._pool.rested(), self._next_deadline()))
            self._paused = self._network.now() < self._pool.rested()
            self._expire("it put them off again and again")
        if self._queue.idle or (self._paused and not self._in_flight):
            return
        try:
            yield from self._send(connection)
            if not self._in_flight:  # what waited was a read for which there is no room any more
                return
            until = min(self._until(batch.entries[0]) for batch in self._in_flight.values())
            due = min(batch.sent for batch in self._in_flight.values()) + settings.DEADLINE
            yield from primary_silence.any_answer(self._pool, connection, min(until, due))
            for tag in list(connection.conversation.answers):
                batch = self._in_flight.pop(tag, None)
                reply = connection.conversation.answers.pop(tag)
                if batch is not None:
                    if not self._in_flight:
                        connection.end_change()
                    self._take(batch, reply)
        except NotSent as error:
            self._expire(str(error))
            yield from Interest((), min(self._pool.rested(), self._next_deadline()))
            self.left += [one for one in self._queue.take_waiting() if isinstance(one, BulkOperation)]
            self._stalled = not self.away
        except (*REFUSALS, ClientClosed) as error:
            connection.close()
            self._lose(str(error))
            self._fail_waiting(error)
        except TooLate:
            connection.close()
            self._lose("no answer came before the deadline")
            self._expire("no answer came before the deadline")
        except Broken as error:
            connection.close()
            self._pool.rest()
            self._pool.why = str(error)
            self._lose(str(error))
            self._expire(str(error))
            yield from Interest((), min(self._pool.rested(), self._next_deadline()))

    def _fill(self) -> None:
        """Have something wait to be sent."""
        while not self._queue.waiting and (self.again or self.unsent):
            if len(self._queue.in_flight) >= settings.BOXES_IN_FLIGHT:
                return
            if self.again:
                part: BulkOperation | None = self.again.popleft()
            else:
                part = self.unsent[0].next_part(self._network.now() + self._seconds - self._waited, self._refused)
                if not self.unsent[0].numbers:
                    self.unsent.popleft()
            if part is None:
                continue
            if self.away:
                name = self._pool.own.name
                part.fail(not_sent(name))
            else:
                self._queue.add(part)

    def _send(self, connection: PooledConnection) -> Steps[None]:
        """Send as many boxes as may be in flight."""
        first = True
        while self._queue.waiting:
            entry = self._queue.waiting[0]
            if not self._in_flight and first:
                yield from self._pool.ready(connection, primary_silence.within(self._pool, self._until(entry)))
                first = False
            batch = self._queue.next_batch(self._network.now())
            if batch is None:
                return
            if entry.changes:
                connection.begin_change()
            tag = connection.conversation.apply(self._pool.epoch, encode_runs(batch.runs), self._pool.stale)
            self._in_flight[tag] = batch
            connection.send_some()
            self._fill()

    def _take(self, batch: Batch, reply: Reply) -> None:
        """Hand out what a box's answer says."""
        part = batch.bulk_operation
        assert part is not None
        self._queue.finished(batch)
        if isinstance(reply, Exception):
            self._refuse_whole(part, reply)
            return
        try:
            answer = part.answer_in(answers_in(reply))
        except (PyshardError, *SENSELESS) as error:
            self._fail(part, Attempt.GARBLED, error)
            raise Broken("its answer makes no sense") from None
        self._hand_out(part, answer)

    def _hand_out(self, part: BulkOperation, answer: Answer) -> None:
        failed: dict[int, PyshardError] = {}
        again: list[int] = []
        elsewhere: list[int] = []
        refusals = answer.refusals()
        attempt = self._pool.answered((answer,))
        for place, error in sorted(refusals.items()):
            verdict = self._verdict(part, attempt, error)
            if verdict in (Verdict.RETRY, Verdict.WAIT):
                self._paused = self._paused or verdict is Verdict.WAIT
                again.append(place)
            elif verdict.again:
                elsewhere.append(place)
            else:
                failed[place] = refused_by(self._pool.peer_name(), error)
        if again:
            self._queue.put_back([part.part(again)])
        if elsewhere:
            self.left.append(part.part(elsewhere))
        part.finish(answer.results, failed, sorted([*again, *elsewhere]))

    def _refuse_whole(self, part: BulkOperation, error: Exception) -> None:
        """The shard refused a box as a whole."""
        verdict = self._verdict(part, Attempt.FAILED, error)
        if verdict.again:
            self._pool.rest()
            self.left.append(part)
        else:
            self._fail(part, Attempt.FAILED, error)

    def _verdict(self, part: BulkOperation, attempt: Attempt, error: Exception) -> Verdict:
        missing = False
        if isinstance(error, IndexNotFound):
            if part.refused is None:
                part.refused = self._network.now()
            missing = self._missing(part.index, part.refused)
        return decide(attempt, error, part.changes, missing)

    def _fail(self, part: BulkOperation, attempt: Attempt, error: Exception) -> None:
        if decide(attempt, error, part.changes) is Verdict.IN_DOUBT:
            part.fail(self._unknown(part, str(error)))
        else:
            part.fail(refused_by(self._pool.peer_name(), error))

    def _lose(self, why: str) -> None:
        """The connection ended: changes in flight are in doubt, and reads go out again."""
        lost = list(self._in_flight.values())
        self._in_flight.clear()
        again: list[BulkOperation] = []
        for batch in lost:
            self._queue.finished(batch)
            part = batch.bulk_operation
            assert part is not None
            if part.changes:
                part.fail(self._unknown(part, why))
                self.away = self.away or self._network.now() >= part.expires
            else:
                again.append(part)
        self._queue.put_back(again)

    def _until(self, entry: Entry) -> float:
        """Until when a connection, or an answer, is waited for."""
        return entry.expires

    def _expire(self, why: str) -> None:
        """Fail what is past its deadline."""
        waiting, _ = self._queue.expired(self._network.now())
        for entry in waiting:
            self.away = True
            entry.fail(too_late(entry, self._pool.peer_name(), why))

    def _fail_waiting(self, error: PyshardError) -> None:
        """Nothing more can be sent."""
        for entry in self._queue.take_waiting():
            entry.fail(type(error)(str(error)))
        while self.unsent or self.again:
            self._fill()
            for entry in self._queue.take_waiting():
                entry.fail(type(error)(str(error)))

    def _next_deadline(self) -> float:
        found = self._queue.next_deadline(self._network.now())
        return self._network.now() if found is None else found

    def _unknown(self, part: BulkOperation, why: str) -> OutcomeUnknown:
        return in_doubt(part, self._pool.peer_name(), why)
