"""What a daemon counts of its connections: how many it has by role, and what it has refused and why."""

from __future__ import annotations

from collections import Counter

from pyshard.security.tokens_and_roles import ROLES, Role

#: What a connection without a role counts as.
STRANGER = "none"

#: Why a connection had no place: it was told that there are too many; it was closed at once; its handshake of TLS
#: failed.
LIMIT, CLOSED, HANDSHAKE = "limit", "closed", "handshake"


class ConnectionCounts:
    """The counts of one daemon.

    :ivar opened: connections that got a place, since the daemon was started.
    :ivar refused: connections that got none, by reason.
    :ivar refusals: commands that were refused, by the error's code.
    """

    def __init__(self) -> None:
        self.opened = 0
        self.refused: Counter[str] = Counter({LIMIT: 0, CLOSED: 0, HANDSHAKE: 0})
        self.refusals: Counter[str] = Counter()
        self._roles: Counter[Role | None] = Counter()

    def add(self, role: Role | None) -> None:
        """Count a connection that has a place now."""
        self.opened += 1
        self._roles[role] += 1

    def change(self, before: Role | None, now: Role | None) -> None:
        """Count that a connection has another role."""
        self._roles[before] -= 1
        self._roles[now] += 1

    def remove(self, role: Role | None) -> None:
        """Count that a connection is gone."""
        self._roles[role] -= 1

    def described(self) -> dict[str, object]:
        """What `stat` has of it, but for `refusals`."""
        roles = {word: self._roles[role] for word, role in ROLES.items()}
        return {
            "connections_by_role": {STRANGER: self._roles[None]} | roles,
            "connections_opened": self.opened,
            "connections_refused": dict(self.refused),
        }
