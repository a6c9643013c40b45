"""How often the groups of shards may change by what their replicas say of themselves. Pure.

Each such change is saved, and told to every shard. A replica that is broken or hostile may want another one each time
that it is asked.

Rules:

- a group may have many changes at once, as when its replicas start or fail over; then one in some seconds;
- one by which there is a member less, also since another one leads in its place, counts, and doesn't wait: all changes
  of documents may wait for it. Each member that is lost had to join, and that waits;
- a change that can't be saved doesn't count: it is tried again at once;
- the stores that a replica comes to hold count apart from all else. So one that has another store each time keeps the
  others of its group neither from leading nor from having other stores themselves.
"""

from __future__ import annotations

import attrs

#: Changes that may be made at once when there were none for a while: of one replica's store, or all else of one group.
AT_ONCE = 20

#: Seconds after which it may have one more.
EVERY = 6.0


@attrs.define
class ChangePace:
    """The pace of one kind of changes."""

    _left: float = AT_ONCE
    _at: float = 0.0

    def admits(self, now: float) -> bool:
        """Whether one more change may be made.

        :param now: seconds of a steady clock.
        """
        self._left = min(AT_ONCE, self._left + max(0.0, now - self._at) / EVERY)
        self._at = now
        return self._left >= 1

    def count(self) -> None:
        """Count one that was made."""
        self._left -= 1


class GroupPace:
    """The paces of one group.

    :ivar others: of all changes but those of stores.
    """

    def __init__(self) -> None:
        self.others = ChangePace()
        self._stores: dict[str, ChangePace] = {}

    def of_stores(self, address: str) -> ChangePace:
        """The pace of changes of the store at an address."""
        return self._stores.setdefault(address, ChangePace())
