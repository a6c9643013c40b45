"""A descriptor that a test makes ready to be read."""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.internet.abstract import FileDescriptor
from twisted.internet.epollreactor import EPollReactor
from twisted.python.failure import Failure


class Ready(FileDescriptor):
    """A descriptor that can be read when its pair was written to."""

    def __init__(self, reactor: EPollReactor, then: Callable[[], object]) -> None:
        super().__init__(reactor)
        self.ours, self.theirs = socket.socketpair()
        self.then, self.lost = then, ""
        self.connected = 1
        self.startReading()

    def fileno(self) -> int:
        return self.ours.fileno()

    def doRead(self) -> None:  # Twisted's name
        """Read one byte, then do what was wanted."""
        self.ours.recv(1)
        self.then()

    def connectionLost(self, reason: Failure) -> None:  # Twisted's name
        super().connectionLost(reason)
        self.lost = reason.type.__name__ if reason.type else ""
        self.ours.close()
        self.theirs.close()
