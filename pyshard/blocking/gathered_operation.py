"""An operation of the blocking client: its thread does it, or waits while another thread does it along with its own.

Rules:

- An operation that waits is *claimed* once: by the thread that takes it along, by the thread that hands its own
  connection on, or by its own thread, which then does it itself or gives up. A claim is one step of a list, so that it
  can be made without a lock.
- The thread that waits is woken by a lock of the operation's own, which costs a fraction of an Event.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import msgspec

from pyshard.client_core.operation import Operation
from pyshard.client_core.retry_decision import Attempt
from pyshard.errors import PyshardError

if TYPE_CHECKING:
    from pyshard.blocking.shard_pool import SentBatch


class Lock(Protocol):
    """What is used of a lock."""

    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool:
        """Take it."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class GatheredOperation(Operation, eq=False, weakref=True):
    """One verb on one key, of one thread.

    :ivar attempt: how the last attempt ended, if it failed; None: it worked.
    :ivar outcome: what the verb gives, or the error by which the attempt ended.
    :ivar sent: whether the last attempt was sent, so that it may have happened.
    :ivar handed: a batch in flight that another thread hands on to this operation's; or one that is still empty, with
        a connection on which this operation can go.
    """

    attempt: Attempt | None = None
    outcome: object = None
    sent: bool = False
    handed: SentBatch | None = None
    _claim: list[None] = msgspec.field(default_factory=lambda: [None])
    _wakes: Lock | None = None

    def tell(self, outcome: object) -> None:
        """See `Operation`: the shard answered it."""
        self.outcome = outcome
        if self.attempt is None and isinstance(outcome, PyshardError):
            self.attempt = Attempt.REFUSED
        self.wake()

    def begin(self) -> None:
        """Forget the last attempt, before another one."""
        self.attempt = None
        self.outcome = None
        self.done = self.sent = False
        self.handed = None
        self._claim = [None]
        self._wakes = None

    def sleep_until_woken(self, seconds: float) -> bool:
        """Wait; whether somebody woke this thread."""
        if self._wakes is None:
            self.prepare_to_wait()
        assert self._wakes is not None
        return self._wakes.acquire(True, seconds)

    def prepare_to_wait(self) -> None:
        """Have what wakes this thread ready, before another one may see the operation."""
        wakes = threading.Lock()
        wakes.acquire()
        self._wakes = wakes

    def wake(self) -> None:
        """Wake its thread, if it waits."""
        if self._wakes is not None:
            with suppress(RuntimeError):  # it was woken already
                self._wakes.release()

    def claim(self) -> bool:
        """Take it; False: somebody has it."""
        try:
            self._claim.pop()
        except IndexError:
            return False
        return True

    def failed(self, attempt: Attempt, error: Exception) -> None:
        """The attempt came to nothing."""
        if not self.done:
            self.done = True
            self.attempt = attempt
            self.tell(error)
