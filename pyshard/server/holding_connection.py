"""A connection for which a daemon holds something: boxes that were begun, answers that weren't read, and what waits.

Rules:

- what is held counts for the connection, and for all together (`pyshard.server.held_bytes_limit`);
- one that holds too much is ended, and from then on nothing of it counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from pyshard.net.twisted_internals import discard_unwritten
from pyshard.protocol.boxes import BoxParser
from pyshard.server.accepted_connection import AcceptedConnection

if TYPE_CHECKING:
    from pyshard.server.factory import ServerFactory

_T = TypeVar("_T")


class HoldingConnection(AcceptedConnection):
    """A connection that counts what the daemon holds for it."""

    def __init__(self, factory: ServerFactory, clock: IReactorTime) -> None:
        super().__init__(factory, clock)
        self._box_bytes = self._answer_bytes = 0  # of a box that was begun, of answers that weren't read
        self._waiting_bytes = 0  # of what waits until it may be answered
        self._released = False

    def box_bytes_held(self, size: int) -> None:
        self._box_bytes = size
        self._update_held()

    def answer_bytes_held(self, size: int) -> None:
        self._answer_bytes = size
        self._update_held()

    def hold(self, size: int) -> None:
        """Count bytes, more or fewer, of answers that wait until they may be given.

        They count as under way, too: for a peer that has many nothing more is begun.
        """
        self.under_way += size
        self.hold_rest(size)

    def hold_rest(self, size: int) -> None:
        """Count bytes, more or fewer, of what else waits: what was asked, and parts that weren't fetched yet."""
        self._waiting_bytes += size
        self._update_held()

    def held_until(self, answer: Deferred[_T], size: int) -> Deferred[_T]:
        """Count the bytes of what was asked, until it is answered.

        :return: the same Deferred.
        """
        self.hold_rest(size)
        return answer.addBoth(self._held_no_more, size)

    def release_held(self) -> None:
        """End the connection for the bytes that the daemon holds for it."""
        self._cut_off(
            "this daemon holds too much for all peers together, of begun boxes and of answers that weren't read or "
            "wait, and most of it for this peer's address"
        )
        self._released = True
        self._broken = self.paused = True
        self._parser = BoxParser(self._parser.limits)
        transport: object = self.transport
        if isinstance(transport, FileDescriptor):  # now, since thousands more may ask before the reactor's next turn
            discard_unwritten(transport)

    # ------------------------------------------------------------------ inside

    def _held_no_more(self, outcome: _T, size: int) -> _T:
        self.hold_rest(-size)
        return outcome

    def _update_held(self) -> None:
        if not self._released and not self.ended:
            self.factory.update_held(self, self._box_bytes + self._answer_bytes + self._waiting_bytes)

    def _cut_off(self, why: str) -> None:
        self._tell(f"cut off, {why}")
        self.abort()
