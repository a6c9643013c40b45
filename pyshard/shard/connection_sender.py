"""The sender of what comes over a connection: its time and its bytes are the connection's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import attrs

from pyshard.server.address_time_shares import COMMIT
from pyshard.server.connection import ServerConnection
from pyshard.storage import Sender


@attrs.frozen(eq=False)
class ConnectionSender(Sender):
    """The sender of one connection. See `Sender` for what it is told."""

    served: ServerConnection = attrs.field(repr=False)

    @classmethod
    def of(cls, served: ServerConnection) -> Self:
        """The one of a connection, which keeps the connection alive."""
        return cls(served.origin, served.id, served)

    @property
    def account(self) -> str:
        return self.served.account or self.served.origin

    def count(self, seconds: float, batches: float) -> None:
        any_takes = COMMIT if batches <= 1 else 0.0  # of one change; a flood has many in a group, and bears all of it
        self.served.factory.turns.count_elsewhere(self.served, seconds, batches, any_takes)

    def waited(self, seconds: float) -> None:
        self.served.factory.turns.count_waiting(self.served, seconds)

    def hold(self, size: int) -> None:
        self.served.hold(size)

    def gone(self) -> bool:
        return self.served.ended

    def rests(self, when_over: Callable[[], object]) -> bool:
        return self.served.factory.turns.rests(self.served, when_over)
