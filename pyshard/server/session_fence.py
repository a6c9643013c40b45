"""A session fence: what a caller sent over an older connection never takes effect after what it sends over a newer one.

Bytes can wait long in a connection that its caller has given up: in the network, or in the daemon's own buffers. So a
caller names its *session* when it says Hello, the same one over all its connections to a daemon.

Rules:

- The daemon ends the session's older connection, and waits for its changes, before it answers Hello on the newer one.
- A session's id is a secret of the two, since whoever knows it can end the connections. It is in no log and no answer.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred, succeed


class Fenceable(Protocol):
    """A connection of a session."""

    def fence(self) -> Deferred[None]:
        """End it; fires when nothing that came over it can take effect any more."""
        ...


class SessionFence:
    """The newest connection of each session."""

    def __init__(self) -> None:
        self._newest: dict[bytes, Fenceable] = {}

    def __len__(self) -> int:
        return len(self._newest)

    def take_over(self, session: bytes, connection: Fenceable) -> Deferred[None]:
        """Make a connection the newest of a session.

        :return: a Deferred that fires when nothing of the older one, if there is one, can take effect any more.
        """
        older = self._newest.get(session)
        self._newest[session] = connection
        return succeed(None) if older is None or older is connection else older.fence()

    def forget(self, session: bytes, connection: Fenceable) -> None:
        """A connection is finished; a newer one stays."""
        if self._newest.get(session) is connection:
            del self._newest[session]
