"""Sessions: what a caller sent over an older connection never takes effect behind what it sends over a newer one.

Bytes can wait long in a connection that its caller has given up: in the network, or in the daemon's own buffers. So
a caller names its *session* when it says Hello, the same one over all its connections to a daemon, and the daemon
finishes the older connection before it answers. A session's id is a secret of the two: whoever knows it can end the
connections, so it is in no log and no answer.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred, succeed

#: How many bytes the id of a session may have, and those of pyshard's own clients.
SHORTEST, LONGEST, OWN = 16, 64, 16


class Finishable(Protocol):
    """A connection of a session."""

    def finish(self) -> Deferred[None]:
        """End it; fires when nothing that came over it can take effect any more."""
        ...


class Sessions:
    """The newest connection of each session."""

    def __init__(self) -> None:
        self._newest: dict[bytes, Finishable] = {}

    def __len__(self) -> int:
        return len(self._newest)

    def take_over(self, session: bytes, connection: Finishable) -> Deferred[None]:
        """Make a connection the newest of a session.

        :return: a Deferred that fires when the older one, if there is one, is finished.
        """
        older = self._newest.get(session)
        self._newest[session] = connection
        return succeed(None) if older is None or older is connection else older.finish()

    def forget(self, session: bytes, connection: Finishable) -> None:
        """A connection is finished; a newer one stays."""
        if self._newest.get(session) is connection:
            del self._newest[session]
