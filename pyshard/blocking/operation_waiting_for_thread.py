"""An operation of the blocking client: its thread does it, or waits while another thread does it along with its own.

Rules:

- A wait is a `Turn`, which is claimed once: by the thread that takes the operation along, by the thread that hands its
  own connection on, or by the operation's own thread, which then does it itself or gives up. A claim is one step of a
  list, so that it can be made without a lock.
- Each attempt has a turn of its own. What is left of an earlier one in a queue can't be claimed: else an operation that
  is tried again could be done twice.
- The thread that waits is woken by a lock of the turn's own, which costs a fraction of an Event.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from pyshard.client_core.operation import Operation
from pyshard.client_core.retry_decision import Attempt
from pyshard.errors import PyshardError

if TYPE_CHECKING:
    from pyshard.blocking.sent_batch import SentBatch


class Lock(Protocol):
    """What is used of a lock."""

    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool:
        """Take it."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class Turn:
    """One wait of an operation.

    :ivar operation: which.
    :ivar handed: a batch that another thread hands on to the operation's: one in flight, or one that is still to be
        sent, over a connection that was free.
    """

    __slots__ = ("_unclaimed", "_wakes", "handed", "operation")

    def __init__(self, operation: GatheredOperation) -> None:
        self.operation = operation
        self.handed: SentBatch | None = None
        self._unclaimed: list[None] = [None]
        self._wakes: Lock = threading.Lock()
        self._wakes.acquire()

    def claim(self) -> bool:
        """Take it; False: somebody has it."""
        try:
            self._unclaimed.pop()
        except IndexError:
            return False
        return True

    def sleep(self, seconds: float) -> None:
        """Wait until somebody wakes this thread, for some time at most."""
        self._wakes.acquire(True, seconds)

    def wake(self) -> None:
        """Wake its thread."""
        with suppress(RuntimeError):  # it was woken already
            self._wakes.release()


class GatheredOperation(Operation, eq=False, weakref=True):
    """One verb on one key, of one thread.

    :ivar attempt: how the last attempt ended, if it failed; None: it worked.
    :ivar outcome: what the verb gives, or the error by which the attempt ended.
    :ivar sent: whether the last attempt was sent, so that it may have happened.
    :ivar turn: how its thread waits; None: it doesn't.
    :ivar session: the connection's that it is sent over, from before that until its end; else empty. It isn't the
        connection itself, which is gone when nobody is left who uses it.
    :ivar left: its thread has given it up, perhaps while others wait for the batch's answer.
    :ivar may_be_stale: whether it only reads, and may find what is a little old.
    """

    attempt: Attempt | None = None
    outcome: object = None
    sent: bool = False
    turn: Turn | None = None
    session: bytes = b""
    left: bool = False
    may_be_stale: bool = False

    def answered(self, outcome: object, refused: Attempt) -> None:
        """The shard answered it.

        :param refused: how the attempt ended if the outcome is an error.
        """
        if self.done:
            return
        self.done = True
        if isinstance(outcome, PyshardError):
            self.attempt = refused
        self.tell(outcome)

    def tell(self, outcome: object) -> None:
        """See `Operation`."""
        self.outcome = outcome
        if self.turn is not None:
            self.turn.wake()

    def begin(self) -> None:
        """Forget the last attempt, before another one."""
        self.attempt = None
        self.outcome = None
        self.done = self.sent = False
        self.turn = None

    def failed(self, attempt: Attempt, error: Exception) -> None:
        """The attempt came to nothing."""
        if not self.done:
            self.done = True
            self.attempt = attempt
            self.tell(error)
