"""A batch of operations of several threads, on its way to a shard over one connection."""

from __future__ import annotations

import msgspec

from pyshard.blocking.operation_waiting_for_thread import GatheredOperation
from pyshard.blocking.pooled_connection import PooledConnection
from pyshard.client_core.retry_decision import Attempt
from pyshard.protocol.batch_operations import Run

#: A time that never comes.
EVER = float("inf")


class SentBatch(msgspec.Struct, eq=False):  # as its `__init__` is in C
    """Operations of one or more threads, on their way over a connection.

    :param connection: which.
    :param operations: the operations.
    :ivar leader: whose thread leads it; nobody else touches the connection.
    :ivar tag: of the question; empty: it was not sent yet.
    :ivar due: the time from which the connection counts as dead when it has given no answer.
    :ivar session: the connection's when it was sent.
    """

    connection: PooledConnection
    operations: list[GatheredOperation]
    leader: GatheredOperation | None = None
    runs: list[Run] = []
    tag: bytes = b""
    session: bytes = b""
    due: float = EVER

    def failed(self, attempt: Attempt, error: Exception) -> None:
        """All of it came to nothing."""
        for operation in self.operations:
            operation.failed(attempt, error)
