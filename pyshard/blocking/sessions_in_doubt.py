"""The sessions of a pool over which a change was sent, and whether it is known what became of it.

Rules:

- A session is *in doubt* when its call was cut short: it closed the connection, or the connection is simply gone, as
  when an interrupt came between two steps of the call.
- Nothing here is a finalizer. Python swallows what a signal's handler raises in one.
- Other threads and finalizers change this at any moment, so it is gone through by copies.
"""

from __future__ import annotations

from collections.abc import Callable


class SessionsInDoubt:
    """Those of one daemon."""

    def __init__(self) -> None:
        self._sent: dict[bytes, Callable[[], object]] = {}
        self._cut_short: set[bytes] = set()

    def __bool__(self) -> bool:
        """Whether any session is in doubt."""
        if self._cut_short:
            return True
        return bool(self._sent) and any(sender() is None for sender in self._sent.copy().values())

    def sent(self, sender: Callable[[], object], session: bytes) -> None:
        """A change is about to be sent.

        :param sender: a weak reference to the connection.
        """
        self._sent[session] = sender

    def answered(self, session: bytes) -> None:
        """All changes of this session have their answers."""
        self._sent.pop(session, None)
        self._cut_short.discard(session)

    def cut_short(self, session: bytes) -> None:
        """Nobody will hear any more what became of this session's changes."""
        self._cut_short.add(session)
        self._sent.pop(session, None)

    def sessions(self) -> list[bytes]:
        """The ids of those in doubt."""
        gone = [session for session, sender in self._sent.copy().items() if sender() is None]
        return [*self._cut_short, *gone]

    def fenced(self, session: bytes) -> None:
        """Nothing of this session can take effect any more."""
        self._cut_short.discard(session)
        self._sent.pop(session, None)
