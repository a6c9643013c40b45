"""The link to a member of a shard that doesn't lead, over which a client reads what may be a little old.

Rules:

- Only reads go over it, in batches, as over the link to the primary (`pyshard.client.shard_link`).
- Whatever the member doesn't answer goes to the primary: what it refuses, what it has not answered in time, and what
  was under way when the connection was lost. So its caller is told nothing that the primary doesn't say.
- Nothing waits for a connection: it is made beside, and until then nothing is submitted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from operator import attrgetter
from random import Random
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from pyshard.client.deadline_timer import DeadlineTimer
from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.client_core.nearest_replica import PATIENCE
from pyshard.client_core.operation import Operation
from pyshard.client_core.operation_queue import Batch, Entry, OperationQueue
from pyshard.client_core.retry_decision import Attempt, refusal_of
from pyshard.client_core.shard_identity_check import check_greeting
from pyshard.errors import AnswerFull, Overloaded, PyshardError
from pyshard.model.address_mapping import AddressMapping
from pyshard.model.cluster_state import ClusterState
from pyshard.model.shard_map import MapShard
from pyshard.net.client_endpoints import Dial
from pyshard.net.dialed_connection import GAVE_WAY, DialedConnection
from pyshard.net.reconnecting_dialer import Dialer
from pyshard.protocol import commands
from pyshard.protocol.apply_boxes import answers_in, apply_box
from pyshard.protocol.batch_answers import Answer, decode_answers
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.greeting import Greeting

#: Seconds for which a connection is dialed again that nobody reads over.
_LINGER = 60.0

_EXPIRES = attrgetter("expires")


class ReadsOwner(Protocol):
    """Who has the map, and the way to primaries."""

    state: ClusterState
    addresses: AddressMapping
    closed: bool

    def submit(self, operation: Operation) -> None:
        """Send an operation to the primary that owns its key."""
        ...

    def submit_bulk(self, bulk_operation: BulkOperation) -> None:
        """Send a bulk operation to the primaries that own its keys."""
        ...


class ReplicaLink:
    """The link to one member.

    :param owner: takes what the member doesn't answer.
    :param place: the shard, at the member's address and with its store.
    :param clock: times everything.
    :param dial: leads to it.
    :param random: jitter.
    :param connected: called with each connection that is made.
    :param refused: called when the member refuses reads, or is silent.
    :param took: told how many seconds reads of single keys took.
    """

    def __init__(
        self,
        owner: ReadsOwner,
        place: MapShard,
        clock: IReactorTime,
        dial: Dial,
        random: Random,
        connected: Callable[[DialedConnection], None],
        refused: Callable[[], None],
        took: Callable[[float], None],
    ) -> None:
        self._owner = owner
        self._clock = clock
        self._connected = connected
        self._refused = refused
        self._took = took
        self._queue = OperationQueue()
        self._flush: IDelayedCall | None = None
        self._sweep = DeadlineTimer(clock, self._sweep_now)
        self._wanted_at = clock.seconds()
        self._closed = False
        self.place = place
        self.dialer = Dialer(clock, dial(*owner.addresses.dialed(place.host, place.port)), self, random)

    @property
    def ready(self) -> bool:
        """Whether there is a connection; else it is made, or looked at, beside."""
        self._wanted_at = self._clock.seconds()
        return self.dialer.acquire() is not None

    def submit(self, entry: Entry) -> None:
        """Have an operation that only reads done, or a bulk operation."""
        if self._closed or not self._added(entry):
            self._to_primary(entry)
            return
        if isinstance(entry, BulkOperation):
            self._pump()  # there is nothing to be gathered
        elif self._flush is None:
            self._flush = self._clock.callLater(0, self._flush_now)

    def close(self) -> Deferred[None]:
        """End everything; what is under way goes to the primary.

        :return: a Deferred that fires when the connection is closed.
        """
        self._closed = True
        self._sweep.cancel()
        if self._flush is not None and self._flush.active():
            self._flush.cancel()
        closed = self.dialer.close()
        for batch in list(self._queue.in_flight):
            self._give_back(batch)
        self._give_back_waiting()
        return closed

    # ------------------------------------------------------------------ connection

    def wants_connection(self) -> bool:
        """See `DialerOwner`."""
        return not self._closed and self._clock.seconds() - self._wanted_at < _LINGER

    def approve(self, connection: DialedConnection, greeting: Greeting) -> None:
        """See `DialerOwner`."""
        check_greeting(greeting, self.place, self._owner.state.cluster, self._owner.addresses)

    def connected(self, connection: DialedConnection) -> None:
        """See `DialerOwner`."""
        self._connected(connection)
        self._pump()

    def disconnected(self, reason: str) -> None:
        """See `DialerOwner`."""
        if reason == GAVE_WAY:  # it isn't dialed again before somebody reads
            self._wanted_at = -inf
        self._give_back_waiting()

    def refused(self, error: PyshardError) -> None:
        """See `DialerOwner`."""

    # ------------------------------------------------------------------ sending

    def _added(self, entry: Entry) -> bool:
        """Have an operation wait; False: too much waits already."""
        try:
            self._queue.add(entry)
        except Overloaded:
            return False
        return True

    def _flush_now(self) -> None:
        self._flush = None
        self._pump()

    def _pump(self) -> None:
        """Send as many batches as may go now."""
        if self._closed or not self._queue.waiting:
            return
        connection = self.dialer.acquire()
        if connection is None:
            self._give_back_waiting()
            return
        if connection.small:
            connection.expect_large()
        while self._queue.waiting and (batch := self._queue.next_batch(self._clock.seconds())) is not None:
            apply = apply_box(self._owner.state.epoch, encode_runs(batch.runs), stale=True)
            connection.ask(commands.Apply.commandName, apply, partial(self._back, batch))
            self._sweep.set_by(min(_half_time(batch), batch.sent + PATIENCE))

    def _back(self, batch: Batch, answer: dict[bytes, bytes] | Failure) -> None:
        if not self._queue.finished(batch):
            return
        try:
            if isinstance(answer, Failure):
                answer.raiseException()
            self._answered(answers_in(answer), batch)
        except PyshardError:
            self._refused()
            self._give_back(batch)
        except Exception:  # noqa: BLE001  # a lost connection, or an answer without sense: the primary is asked
            self.dialer.drop()
            self._give_back(batch)
        self._pump()

    def _answered(self, data: bytes, batch: Batch) -> None:
        bulk_operation = batch.bulk_operation
        if bulk_operation is not None:
            self._bulk_part_answered(bulk_operation.answer_in(data), bulk_operation)
            return
        self._took(self._clock.seconds() - batch.sent)
        answers = decode_answers(data, batch.runs)
        outcomes = batch.outcomes(answers)
        full = _full(answers)
        pairs = list(zip(batch.operations, outcomes, strict=True))
        self._queue.put_back([operation for operation, outcome in pairs if isinstance(outcome, full)])
        for operation, outcome in pairs:
            if not isinstance(outcome, PyshardError):
                operation.finish(outcome)
            elif not isinstance(outcome, full):
                self._to_primary(operation)

    def _bulk_part_answered(self, answer: Answer, bulk_operation: BulkOperation) -> None:
        refusals, full = answer.refusals(), _full([answer])
        again = [place for place, error in sorted(refusals.items()) if isinstance(error, full)]
        elsewhere = sorted(refusals.keys() - set(again))
        if again:
            self._queue.put_back([bulk_operation.part(again)])
        if elsewhere:
            self._to_primary(bulk_operation.part(elsewhere))
        bulk_operation.finish(answer.results, {}, sorted(refusals))

    # ------------------------------------------------------------------ what the primary is to do

    def _sweep_now(self) -> None:
        """Leave a member that is silent for too long, and what takes it too long."""
        now, connection = self._clock.seconds(), self.dialer.connection
        heard = 0.0 if connection is None else connection.heard
        in_flight = list(self._queue.in_flight)
        if any(max(batch.sent, heard) + PATIENCE <= now for batch in in_flight):
            self._refused()
            self.dialer.drop()
            for batch in in_flight:
                self._give_back(batch)
            self._give_back_waiting()
            return
        for batch in in_flight:
            if _half_time(batch) <= now:
                self._give_back(batch)
            else:
                self._sweep.set_by(min(_half_time(batch), max(batch.sent, heard) + PATIENCE))
        self._pump()

    def _give_back(self, batch: Batch) -> None:
        self._queue.finished(batch)
        for entry in batch.entries:
            self._to_primary(entry)

    def _give_back_waiting(self) -> None:
        for entry in self._queue.take_waiting():
            self._to_primary(entry)

    def _to_primary(self, entry: Entry) -> None:
        if entry.done or entry.withdrawn:
            return
        if isinstance(entry, BulkOperation):
            self._owner.submit_bulk(entry)
        else:
            self._owner.submit(entry)


def _half_time(batch: Batch) -> float:
    """When half of the time is over that a batch had when it was sent: the other half is the primary's."""
    expires: float = min(map(_EXPIRES, batch.entries))
    return (batch.sent + expires) / 2


def _full(answers: Sequence[Answer]) -> tuple[type[AnswerFull], ...]:
    """By which a member puts off what is to be asked for again, in another batch; nothing, if it put off all."""
    return (AnswerFull,) if refusal_of(answers) is Attempt.REFUSED else ()
