"""Changes that their callers have left, while another thread still waits for the answer to the box that they are in.

A caller's deadline may come, or an exception may interrupt it, before those of the others that its change travels with.
Then it goes on, and its change may happen behind its back. So what is called later on the key waits for a moment, until
the box is answered; or else the session counts as in doubt, and is fenced (`pyshard.blocking.sessions_in_doubt`).

Rules:

- A change that was left before it was sent isn't sent any more.
- There is no lock: a change is marked as left before it is put down here, and a box is known to it before it is sent.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TypeAlias

from pyshard.blocking.calling_thread_tasks import Interest, Network, Steps
from pyshard.blocking.operation_waiting_for_thread import GatheredOperation
from pyshard.blocking.sessions_in_doubt import SessionsInDoubt

#: An index and a key of it.
Place: TypeAlias = tuple[str, bytes]

_MOMENT = 0.5  # seconds at most that a later call waits for the answer, and half of its deadline at most
_LOOK = 0.005  # seconds between two looks whether it has come


class ChangesLeft:
    """Those of one shard.

    :param network: gives the time.
    :param in_doubt: the shard's sessions in doubt.
    """

    def __init__(self, network: Network, in_doubt: SessionsInDoubt) -> None:
        self._network = network
        self._in_doubt = in_doubt
        self._operations: set[GatheredOperation] = set()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._operations)

    def leave(self, operation: GatheredOperation) -> None:
        """An operation's caller waits for it no longer."""
        operation.left = True
        if operation.changes:
            self._operations.add(operation)
            if not operation.session:  # it isn't sent, or it is over by now
                self._operations.discard(operation)

    def over(self, operations: Iterable[GatheredOperation]) -> None:
        """The box of some operations is answered, or its connection is given up."""
        for operation in operations:
            operation.session = b""
            self._operations.discard(operation)

    def settle(self, places: Container[Place], until: float) -> Steps[None]:
        """Wait for those of some keys. When it has run, they are over, or their sessions are in doubt.

        :param until: when the call that is to come after them must have ended.
        """
        now = self._network.now()
        end = now + min(_MOMENT, (until - now) / 2)
        while (found := self._of(places)) and (now := self._network.now()) < end:
            yield from Interest((), min(end, now + _LOOK))
        for operation in found:
            if operation.session:
                self._in_doubt.cut_short(operation.session)
            self._operations.discard(operation)

    def _of(self, places: Container[Place]) -> list[GatheredOperation]:
        return [one for one in self._operations.copy() if (one.index, one.key) in places]
