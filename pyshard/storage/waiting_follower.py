"""Who follows a store, and waits for the next groups: what followers of all stores do alike.

Rules:

- one call at a time waits, and is answered as soon as there is more, or the follower has ended;
- a follower that has ended gives nothing any more, also if there is something;
- all is for the reactor's thread; `wake` says there that there may be more.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

from pyshard.errors import FollowerBehind, StorageFailed
from pyshard.storage.follower_places import FollowerPlaces
from pyshard.storage.following_interface import FollowerEnded

_G = TypeVar("_G")


class WaitingFollower(Generic[_G]):
    """`IFollower`, but for the reading.

    :param name: its name.
    :param places: the places of all followers.
    """

    def __init__(self, name: str, places: FollowerPlaces) -> None:
        self._name = name
        self._places = places
        self._waiting: tuple[Deferred[list[_G]], int] | None = None
        self._ended = ""

    def read(self, most_bytes: int) -> list[_G]:
        """The next groups that there are; none: whoever waits goes on to wait, and `wake` is called later.

        :param most_bytes: see `IFollower.groups`.
        :raises FollowerBehind: the next group isn't kept any more.
        :raises StorageFailed: the disk failed.
        """
        raise NotImplementedError

    def groups(self, most_bytes: int) -> Deferred[list[_G]]:
        """See `IFollower`."""
        assert self._waiting is None, "one call at a time"
        waiting: Deferred[list[_G]] = Deferred(self._cancel)
        self._waiting = waiting, most_bytes
        self.wake()
        return waiting

    def confirm(self, sequence: int) -> None:
        """See `IFollower`."""
        self._places.confirm(self._name, sequence)

    def close(self) -> None:
        """See `IFollower`."""
        self.end(f"{self._name} was closed")

    def end(self, why: str) -> None:
        """Give no more groups.

        :param why: what whoever waits is told.
        """
        self._ended = self._ended or why
        self.wake()

    def wake(self) -> None:
        """Answer whoever waits, if there is more."""
        if self._waiting is None:
            return
        waiting, most_bytes = self._waiting
        try:
            if self._ended:
                raise FollowerEnded(self._ended)
            found = self.read(most_bytes)
        except (FollowerBehind, StorageFailed) as error:
            self._waiting = None
            waiting.errback(error)
        else:
            if found:
                self._waiting = None
                waiting.callback(found)

    def _cancel(self, _: object) -> None:
        self._waiting = None
