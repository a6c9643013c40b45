"""The link to one shard: gathers operations into batches, sends them, and hands out the answers.

Rules:

- Operations that are issued in one turn of the reactor travel together.
- Only a bounded number of batches is in flight, in an order that `pyshard.client_core.operation_queue` keeps.
- The shard is dialed when there is something to send.
- What becomes of an operation after an error is decided in `pyshard.client_core.retry_decision`; the link does it.
- Every operation ends by its deadline. A connection that leaves a batch unanswered for too long is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from functools import partial
from operator import attrgetter
from random import Random
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from pyshard.client.deadline_timer import DeadlineTimer
from pyshard.client.rpc_channel import RpcChannel
from pyshard.client.silent_primary import SilentPrimaryAlarm
from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.client_core.operation import Operation
from pyshard.client_core.operation_errors import in_doubt, refused_by, too_late
from pyshard.client_core.operation_queue import Batch, Entry, OperationQueue
from pyshard.client_core.retry_decision import Attempt, Verdict, decide, index_is_missing, refusal_of
from pyshard.client_core.shard_identity_check import check_greeting
from pyshard.errors import ClientClosed, IndexNotFound, OutcomeUnknown, Overloaded, PyshardError
from pyshard.model.address_mapping import AddressMapping
from pyshard.model.cluster_state import ClusterState
from pyshard.model.shard_map import MapShard
from pyshard.net.backoff import Backoff, longest_between_looks
from pyshard.net.client_endpoints import Dial
from pyshard.net.dialed_connection import DialedConnection
from pyshard.net.disconnect_reason import reason_of
from pyshard.net.reconnecting_dialer import Dialer
from pyshard.protocol import commands
from pyshard.protocol.apply_boxes import answers_in, apply_box
from pyshard.protocol.batch_answers import Answer, decode_answers
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.greeting import Greeting
from pyshard.settings import settings

#: Seconds between two sweeps for each operation that waits, so that a long queue doesn't cost all the processor's time.
_SWEEP_COST = 1e-6

_ERRORS = attrgetter("errors")


class LinkOwner(Protocol):
    """What a link needs of the router that has it."""

    state: ClusterState
    #: Where shards are dialed in place of where the map says.
    addresses: AddressMapping
    #: When the fetch began that last brought a map, in the clock's seconds.
    fetched: float

    def refresh(self) -> Deferred[None]:
        """Fetch the newest map; fires when that was tried."""
        ...

    def link_idle(self) -> None:
        """A link has nothing in flight any more."""
        ...


class ShardLink:
    """The link to one shard.

    :param owner: has the map, and the way to a newer one.
    :param own: the shard's place in the map.
    :param clock: times everything.
    :param dial: leads to the shard.
    :param random: jitter.
    :param session: the id of the client's session with the shard.
    :ivar quiesced: nothing more is sent, since the shard has lost slots and owes answers (`pyshard.client.router`).
    """

    def __init__(
        self, owner: LinkOwner, own: MapShard, clock: IReactorTime, dial: Dial, random: Random, session: bytes
    ) -> None:
        self._owner = owner
        self._clock = clock
        self._dial, self._random, self._session = dial, random, session
        self._queue = OperationQueue()
        self._flush: IDelayedCall | None = None
        self._hold: IDelayedCall | None = None
        self._backoff = Backoff(random, longest=longest_between_looks(own.lease))  # after refusals
        self._sweep = DeadlineTimer(clock, self._sweep_now)
        self._silence = SilentPrimaryAlarm(clock, self, owner.refresh)
        self._closed = self.quiesced = False
        self.own = own
        self.rpc = RpcChannel(clock, self, settings.DEADLINE)
        self.dialer = self._new_dialer()

    @property
    def busy(self) -> bool:
        """Whether batches are in flight."""
        return bool(self._queue.in_flight)

    def submit(self, entry: Entry) -> None:
        """Have an operation done, whose Deferred says how it went; or a bulk operation, whose receiver is told."""
        try:
            self._queue.add(entry)
        except Overloaded as error:
            entry.fail(error)
            return
        if entry.expires < self._sweep.at:
            self._sweep.set_by(entry.expires)
        if isinstance(entry, BulkOperation):
            self._pump()  # there is nothing to be gathered
        elif self._flush is None:
            self._flush = self._clock.callLater(0, self._flush_now)

    def take_waiting(self) -> list[Entry]:
        """What waits, to be submitted elsewhere."""
        return self._queue.take_waiting()

    def update(self, own: MapShard) -> None:
        """Take up the shard's new place in the map; dial anew if its address or store is another one."""
        old, self.own = self.own, own
        if (old.host, old.port) != (own.host, own.port):
            self.dialer.close()
            self.disconnected("the shard has another address now")
            self.dialer = self._new_dialer()
        elif old.identity != own.identity:
            self.dialer.drop()
        self.quiesced = False
        self._pump()

    def close(self) -> Deferred[None]:
        """End everything; what waits fails.

        :return: a Deferred that fires when the connection is closed.
        """
        if self._closed:
            return succeed(None)
        self._closed = True
        self._sweep.cancel()
        self._silence.stop()
        for call in (self._flush, self._hold):
            if call is not None and call.active():
                call.cancel()
        connection_closed = self.dialer.close()
        closed = ClientClosed("the client was closed before the answer came")
        for entry in self._queue.take_waiting():
            entry.fail(closed)
        for batch in list(self._queue.in_flight):
            self._queue.finished(batch)
            for entry in batch.entries:
                entry.fail(self._unknown(entry, str(closed)) if entry.changes else closed)
        self.rpc.close()
        return connection_closed

    # ------------------------------------------------------------------ connection

    def peer_name(self) -> str:
        """See `RpcOwner`."""
        return f"shard {self.own.name!r} at {self._owner.addresses.shown(self.own.host, self.own.port)}"

    def wants_connection(self) -> bool:
        """See `DialerOwner`."""
        return not self._closed and (not self._queue.idle or self.rpc.pending)

    def approve(self, connection: DialedConnection, greeting: Greeting) -> None:
        """See `DialerOwner`."""
        check_greeting(greeting, self.own, self._owner.state.cluster, self._owner.addresses)

    def connected(self, connection: DialedConnection) -> None:
        """See `DialerOwner`."""
        self.rpc.connected(connection)
        self._pump()

    def disconnected(self, reason: str) -> None:
        """See `DialerOwner`."""
        self.rpc.disconnected(reason)
        if self.wants_connection():
            self._owner.refresh()

    def refused(self, error: PyshardError) -> None:
        """See `DialerOwner`."""
        self.rpc.refused(error)
        for entry in self._queue.take_waiting():
            entry.fail(type(error)(f"{self.peer_name()}: {error}"))

    def _new_dialer(self) -> Dialer:
        endpoint = self._dial(*self._owner.addresses.dialed(self.own.host, self.own.port))
        return Dialer(self._clock, endpoint, self, self._random, self._session, longest_between_looks(self.own.lease))

    # ------------------------------------------------------------------ sending

    def _flush_now(self) -> None:
        self._flush = None
        self._pump()

    def _pump(self) -> None:
        """Send as many batches as may go now."""
        if self._closed or self.quiesced or self._hold is not None or not self._queue.waiting:
            return
        self._silence.begin()
        connection = self.dialer.acquire()
        if connection is None:
            return
        if connection.small:
            connection.expect_large()
        while self._queue.waiting and (batch := self._queue.next_batch(self._clock.seconds())) is not None:
            apply = apply_box(self._owner.state.epoch, encode_runs(batch.runs))
            connection.ask(commands.Apply.commandName, apply, partial(self._back, batch))
            self._sweep.set_by(batch.sent + settings.DEADLINE)

    def _back(self, batch: Batch, answer: dict[bytes, bytes] | Failure) -> None:
        try:
            if isinstance(answer, Failure):
                self._failed(answer, batch)
            else:
                self._answered(answer, batch)
        except Exception:  # noqa: BLE001  # whatever it is, callers must hear of it
            self._garbled(Failure(), batch)

    def _answered(self, answer: dict[bytes, bytes], batch: Batch) -> None:
        data, bulk_operation = answers_in(answer), batch.bulk_operation
        answers = [bulk_operation.answer_in(data)] if bulk_operation is not None else decode_answers(data, batch.runs)
        refused = refusal_of(answers)
        if refused is Attempt.REFUSED:
            self._backoff.reset()
        if bulk_operation is not None:
            self._bulk_part_answered(answers[0], batch, bulk_operation, refused)
        else:
            self._operations_answered(answers, batch, refused)
        self._pump()

    def _operations_answered(self, answers: list[Answer], batch: Batch, refused: Attempt) -> None:
        outcomes = batch.outcomes(answers)
        again: set[Operation] = set()
        if any(map(_ERRORS, answers)):
            verdicts, peer = set(), self.peer_name()
            outcomes = [refused_by(peer, one) if isinstance(one, PyshardError) else one for one in outcomes]
            for operation, outcome in zip(batch.operations, outcomes, strict=True):
                if isinstance(outcome, PyshardError) and (verdict := self._verdict(operation, outcome, refused)).again:
                    again.add(operation)
                    verdicts.add(verdict)
            self._prepare(verdicts)
        self._settle(batch, [operation for operation in batch.operations if operation in again] if again else ())
        for operation, outcome in zip(batch.operations, outcomes, strict=True):
            if operation not in again:
                operation.finish(outcome)

    def _bulk_part_answered(self, answer: Answer, batch: Batch, bulk_operation: BulkOperation, how: Attempt) -> None:
        failed: dict[int, PyshardError] = {}
        again: list[int] = []
        verdicts: dict[str, Verdict] = {}  # by error code: the same for all keys of a part
        for place, error in sorted(answer.refusals().items()):
            if error.code not in verdicts:
                verdicts[error.code] = self._verdict(bulk_operation, error, how)
            if verdicts[error.code].again:
                again.append(place)
            else:
                failed[place] = refused_by(self.peer_name(), error)
        self._prepare(set(verdicts.values()))
        self._settle(batch, [bulk_operation.part(again)] if again and not bulk_operation.done else [])
        bulk_operation.finish(answer.results, failed, again)

    def _verdict(self, entry: Entry, error: PyshardError, refused: Attempt) -> Verdict:
        """What becomes of an operation that the shard refused."""
        missing = False
        if isinstance(error, IndexNotFound):
            if entry.refused is None:
                entry.refused = self._clock.seconds()
            owner = self._owner
            missing = index_is_missing(entry.index, owner.state.indexes, owner.fetched, entry.refused)
        return decide(refused, error, entry.changes, missing)

    def _failed(self, failure: Failure, batch: Batch) -> None:
        """The whole batch came to nothing."""
        error = failure.value
        verdicts = [decide(Attempt.FAILED, error, entry.changes) for entry in batch.entries]
        again = [entry for entry, verdict in zip(batch.entries, verdicts, strict=True) if verdict.again]
        self._prepare(set(verdicts))
        self._settle(batch, again)
        if again and isinstance(error, PyshardError):
            self.rpc.why = str(error)
        self._fail(batch, verdicts, failure)
        self._pump()

    def _garbled(self, failure: Failure, batch: Batch) -> None:
        """The answer made no sense: the connection is not to be trusted any more."""
        verdicts = [decide(Attempt.GARBLED, failure.value, entry.changes) for entry in batch.entries]
        self._settle(batch, [])
        self.dialer.drop()
        self._fail(batch, verdicts, failure)

    def _fail(self, batch: Batch, verdicts: Sequence[Verdict], failure: Failure) -> None:
        """Fail those entries of a batch that are not sent again."""
        error = failure.value
        for entry, verdict in zip(batch.entries, verdicts, strict=True):
            if verdict is Verdict.IN_DOUBT:
                entry.fail(self._unknown(entry, reason_of(failure)))
            elif verdict is Verdict.FAIL:
                entry.fail(refused_by(self.peer_name(), error))

    def _prepare(self, verdicts: Set[Verdict]) -> None:
        """Do what must come before operations are sent again."""
        if Verdict.WAIT in verdicts or Verdict.REFRESH in verdicts:
            self._back_off()
        if Verdict.REFRESH in verdicts:
            self._owner.refresh()

    def _settle(self, batch: Batch, again: Sequence[Entry]) -> None:
        if self._queue.finished(batch):
            if again:
                self._queue.put_back(again)
            if not self._queue.in_flight:
                self._owner.link_idle()

    def _unknown(self, entry: Entry, why: str) -> OutcomeUnknown:
        return in_doubt(entry, self.peer_name(), why)

    def _back_off(self) -> None:
        """Send nothing for a little; longer each time, until a batch is brought on."""
        if self._hold is None and not self._closed:
            self._backoff.failed()
            self._hold = self._clock.callLater(self._backoff.pause(), self._go_on)

    def _go_on(self) -> None:
        self._hold = None
        self._pump()

    # ------------------------------------------------------------------ deadlines

    def _sweep_now(self) -> None:
        """End what is past its deadline; drop a connection that leaves a batch without answer for too long."""
        now = self._clock.seconds()
        waiting, in_flight = self._queue.expired(now)
        if self._queue.unanswered(now):
            self.dialer.drop()
            self.rpc.why = f"no answer for {settings.DEADLINE:g} s"
        for entry in waiting:
            entry.fail(too_late(entry, self.peer_name(), self.rpc.why))
        for entry in in_flight:
            why = "no answer came before the deadline"
            entry.fail(self._unknown(entry, why) if entry.changes else too_late(entry, self.peer_name(), why))
        upcoming = self._queue.next_deadline(now)
        if upcoming is not None and not self._closed:
            self._sweep.set_by(max(upcoming, now + len(self._queue) * _SWEEP_COST))
