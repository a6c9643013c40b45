"""The pool of one shard: calls of many threads travel together, without a thread that does nothing else.

Rules:

- The thread that takes the pool's connection *leads*: it sends its own operation and those that wait, in one batch, and
  hands out the answers. Then the next thread that waits leads.
- A thread waits for another one's lead for a moment (`_PATIENCE`). After that it goes by a connection of its own, so
  that no slow call holds up the others; unless there are too many connections already.
- A call made within a call of the same thread, by a signal's handler or a finalizer, waits for no other one's lead.
- A leader whose deadline has come, or that is interrupted while it waits, hands the connection, with the answers that
  are still to come, on to one of the others.
- Operations of different threads are concurrent: there is no order among them to be kept.
- A call may give up a change that was sent already. Then a later call on the same key waits until that change is
  answered, or can't take effect any more (`pyshard.blocking.abandoned_changes`).
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from random import Random

from pyshard.blocking import primary_silence
from pyshard.blocking.abandoned_changes import ChangesLeft
from pyshard.blocking.address_race import TooLate
from pyshard.blocking.calling_thread_tasks import Network, Steps, run
from pyshard.blocking.connection_pool import ConnectionPool, NotSent
from pyshard.blocking.connection_target import ConnectionTarget
from pyshard.blocking.operation_waiting_for_thread import GatheredOperation, Turn
from pyshard.blocking.pooled_connection import PooledConnection
from pyshard.blocking.sent_batch import EVER, SentBatch
from pyshard.blocking.sessions_in_doubt import SessionsInDoubt
from pyshard.client_core.conversation import Broken, Reply
from pyshard.client_core.map_fetching import MapRank
from pyshard.client_core.retry_decision import SENSELESS, Attempt, refusal_of
from pyshard.client_core.runs_of_operations import outcome_in, outcomes_of_runs, runs_of
from pyshard.client_core.shard_identity_check import check_greeting
from pyshard.errors import PyshardError
from pyshard.model.address_mapping import AS_ANNOUNCED, AddressMapping
from pyshard.model.shard_map import MapShard
from pyshard.net.backoff import Backoff, longest_between_looks
from pyshard.protocol.apply_boxes import answers_in
from pyshard.protocol.batch_answers import Answer, decode_answers
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.greeting import Greeting
from pyshard.settings import settings

_PATIENCE = 0.05  # seconds for which an operation waits for another thread's lead
_MOST = 32  # connections to a shard that threads may open for want of patience, so that a silent shard costs few


class ShardPool(ConnectionPool):
    """The pool of one shard.

    :param own: the shard's place in the map.
    :param cluster: the id of the cluster that it must belong to.
    :param in_doubt: its sessions in doubt, also those of a pool that this shard had before.
    :param addresses: where shards are dialed in place of where the map says.
    :ivar range: the shard's place in the map.
    :ivar epoch: of the map.
    :ivar looking: given a time, gives the steps that fetch a newer map until then.
    :ivar left: changes that were given up while their boxes go on.
    """

    def __init__(
        self,
        network: Network,
        random: Random,
        target: ConnectionTarget,
        own: MapShard,
        cluster: str,
        in_doubt: SessionsInDoubt,
        addresses: AddressMapping = AS_ANNOUNCED,
    ) -> None:
        super().__init__(network, random, target, in_doubt)
        self.own = own
        self.looking: Callable[[float], Steps[None]] = lambda _: looking_nowhere()
        self.epoch = 0
        self._rank: MapRank | None = None
        self._cluster = cluster
        self._addresses = addresses
        self._waiting: deque[Turn] = deque()
        self.left = ChangesLeft(network, self.in_doubt)
        self._put_off = Backoff(random)  # apart from other failures: an answer to another question doesn't end it
        self._main: weakref.ref[PooledConnection] | None = None

    def peer_name(self) -> str:
        """See `ConnectionPool`."""
        return f"shard {self.own.name!r} at {self._addresses.shown(self.own.host, self.own.port)}"

    def check(self, greeting: Greeting) -> None:
        """See `ConnectionPool`."""
        check_greeting(greeting, self.own, self._cluster, self._addresses)

    def update(self, own: MapShard, rank: MapRank, target: ConnectionTarget) -> None:
        """Take up the shard's place in a newer map; a connection to another address or store isn't used any more."""
        if self._rank is not None and rank < self._rank:
            return
        if target != self.target or own.identity != self.own.identity:
            self.target = target
            self._rests_until = 0.0  # what failed was somewhere else
        self._backoff.longest = self._put_off.longest = longest_between_looks(own.lease)
        self.own, self._rank, self.epoch = own, rank, rank.epoch

    def apply(self, operation: GatheredOperation, nested: bool) -> None:
        """Do an operation once: afterwards its `attempt` and `outcome` say how that went.

        :param nested: whether this thread is in the middle of another call.
        """
        if self.left:
            run(self.network, self.left.settle(((operation.index, operation.key),), operation.expires))
        connection = self.take()
        if connection is None and nested:
            connection = self.new()
        elif connection is None and (self._main is None or self._main() is None):
            connection = self.new()
            self._main = weakref.ref(connection)
        if connection is None:
            self._wait(operation)
        else:
            self._lead(SentBatch(connection, [operation]), operation)

    def answered(self, answers: Sequence[Answer]) -> Attempt:
        """Take note of the answers to a batch: a shard that puts batches off is left alone, longer each time.

        :return: how the attempt ended for what was refused.
        """
        refused = refusal_of(answers)
        if refused is Attempt.REFUSED:
            self._brought_on()
        else:
            self._put_off.failed()
            self._rests_until = self.network.now() + self._put_off.pause()
        return refused

    def _brought_on(self) -> None:
        """Take note of an answer that wasn't put off."""
        self.worked()
        if self._put_off.failures:
            self._put_off.reset()

    # ------------------------------------------------------------------ waiting

    def _wait(self, operation: GatheredOperation) -> None:
        """Wait until another thread has done the operation, or until this one may."""
        turn = operation.turn = Turn(operation)
        self._waiting.append(turn)
        try:
            connection = self.take()  # one may have been put back meanwhile
            if connection is not None:
                if turn.claim():
                    self._lead(SentBatch(connection, [operation]), operation)
                    return
                self.put_back(connection)
                self._promote()
            self._wait_for(turn)
        except BaseException:
            if not turn.claim():
                self._leave(turn)
            raise

    def _wait_for(self, turn: Turn) -> None:
        operation = turn.operation
        now = self.network.now()
        patience = now + _PATIENCE
        while not operation.done:
            turn.sleep(max(0.0, min(operation.expires, patience) - now))
            batch, turn.handed = turn.handed, None
            if batch is not None:
                self._lead(batch, operation)
                return
            now = self.network.now()
            if now >= operation.expires:
                if turn.claim():
                    operation.failed(Attempt.NOT_SENT, TooLate())
                else:
                    operation.failed(Attempt.FAILED, TooLate())
                    self._leave(turn)
            elif now >= patience:
                if self.size >= _MOST:
                    patience = now + _PATIENCE
                elif turn.claim():
                    self._lead(SentBatch(self.new(), [operation]), operation)
                    return
                else:
                    patience = EVER  # it is on its way; only its deadline counts now

    def _leave(self, turn: Turn) -> None:
        """This thread waits no longer; what was handed to it goes to another one."""
        turn.operation.done = True
        self.left.leave(turn.operation)
        batch, turn.handed = turn.handed, None
        if batch is not None and not self._hand_on(batch, turn.operation):
            self._drop(batch, TooLate())

    # ------------------------------------------------------------------ leading

    def _lead(self, batch: SentBatch, own: GatheredOperation) -> None:
        """Send a batch, unless it is sent, and hand out its answers."""
        connection = batch.connection
        batch.leader = own
        try:
            try:
                if not batch.tag:
                    self._send(batch, own)
                reply = primary_silence.answer(self, connection, batch.tag, min(own.expires, batch.due))
                if connection.changing:
                    connection.end_change()
                self._hand_out(batch, reply)
            except TooLate as error:
                if self.network.now() < batch.due and self._hand_on(batch, own):
                    own.failed(Attempt.FAILED, error)
                    self.left.leave(own)
                    return
                self._drop(batch, error)
            except (NotSent, PyshardError) as error:
                self._drop(batch, error)
            except Broken as error:
                self.rest()
                self._drop(batch, error)
        except BaseException:  # also one that came while the batch was given up for another reason
            if batch.leader is own and not (batch.tag and connection.at_rest and self._hand_on(batch, own)):
                self._drop(batch, Broken("the thread that waited for its answer was interrupted"))
                self.put_back(connection)
                self._promote()
            elif not own.left:
                own.done = True
                self.left.leave(own)
            raise
        self.put_back(connection)
        if self._waiting:
            self._promote()

    def _send(self, batch: SentBatch, own: GatheredOperation) -> None:
        connection = batch.connection
        changes = own.changes
        now = self.network.now()
        if not connection.is_fresh(self.target, now) or self.in_doubt:
            run(self.network, self.ready(connection, primary_silence.within(self, own.expires)))
            now = self.network.now()
        if self._waiting:
            changes = self._gather(batch, changes)
        batch.session = connection.session
        operations = batch.operations
        left = False
        for operation in operations:
            operation.session = batch.session
            left = left or operation.left
        if left:
            operations = batch.operations = [operation for operation in operations if not operation.left]
        batch.runs = runs = runs_of(operations)
        encoded = encode_runs(runs)
        batch.due = now + settings.DEADLINE
        if changes:
            connection.begin_change()
        for operation in operations:
            operation.sent = True
        batch.tag = connection.conversation.apply(self.epoch, encoded, self.stale)

    def _gather(self, batch: SentBatch, changes: bool) -> bool:
        """Take along what waits, as much as a box takes.

        :return: whether any of the batch's operations may change something.
        """
        operations = batch.operations
        weight = operations[0].weight
        while self._waiting and len(operations) < settings.BOX_OPERATIONS and weight < settings.BOX_BYTES:
            try:
                turn = self._waiting.popleft()
            except IndexError:  # another thread has it
                break
            operation = turn.operation
            if self.in_doubt:  # it waits until the session is fenced
                self._waiting.appendleft(turn)
                break
            if turn.claim():
                operations.append(operation)
                weight += operation.weight
                changes = changes or operation.changes
        return changes

    def _hand_out(self, batch: SentBatch, reply: Reply) -> None:
        """Tell each operation what became of it."""
        self.left.over(batch.operations)
        if isinstance(reply, Exception):
            batch.failed(Attempt.FAILED, reply)
            return
        refused, answers = Attempt.REFUSED, None
        try:
            data = answers_in(reply)
            outcomes = outcome_in(data, batch.runs, batch.operations)
            if outcomes is None:
                answers = decode_answers(data, batch.runs)
                outcomes = outcomes_of_runs(batch.runs, batch.operations, answers)
        except (PyshardError, *SENSELESS) as error:
            batch.connection.close()
            batch.failed(Attempt.GARBLED, error)
            return
        if answers is None:
            self._brought_on()
        else:
            refused = self.answered(answers)
        for operation, outcome in zip(batch.operations, outcomes, strict=True):
            operation.answered(outcome, refused)

    def _hand_on(self, batch: SentBatch, own: GatheredOperation) -> bool:
        """Have the thread of another operation lead the batch; False: there is none that could."""
        now = self.network.now()
        for operation in batch.operations:
            turn = operation.turn
            if operation is not own and turn is not None and not operation.done and operation.expires > now:
                batch.leader = operation
                turn.handed = batch
                turn.wake()
                return True
        return False

    def _drop(self, batch: SentBatch, error: Exception) -> None:
        """Close the connection: nobody waits for the answer any more, or it can't come."""
        batch.connection.close()
        self.left.over(batch.operations)
        batch.failed(Attempt.FAILED if batch.tag else Attempt.NOT_SENT, error)

    def _promote(self) -> None:
        """Have the first operation that waits go over a free connection, if there are both."""
        while self._waiting:
            connection = self.take()
            if connection is None:
                return
            try:
                turn = self._waiting.popleft()
            except IndexError:
                self.put_back(connection)
                continue
            turn.handed = SentBatch(connection, [turn.operation])
            if turn.claim():
                turn.wake()
                return
            turn.handed = None
            self.put_back(connection)


def looking_nowhere() -> Steps[None]:
    """No steps, of a pool that wasn't told where to look, or whose client is gone."""
    yield from ()
