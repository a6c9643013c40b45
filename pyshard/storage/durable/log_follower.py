"""Followers of a durable store: they read its log, and wait for more of it.

Rules:

- a follower is given groups that are safe alone: the disk has them, and they will never be undone. Only members of a
  group of replicas are given what isn't committed, and could be undone;
- what it reads at a time is bounded; where nothing of it is wanted, it is told how far that went;
- all is for the reactor's thread; `wake` says there that more may be safe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pyshard.errors import StorageFailed
from pyshard.protocol.log_groups import LogGroup
from pyshard.storage.durable.failed_updates import reason_of
from pyshard.storage.durable.log_reader import GroupGone, LogReader
from pyshard.storage.follower_places import FollowerPlaces, behind
from pyshard.storage.waiting_follower import WaitingFollower

_G = TypeVar("_G")


class LogFollower(WaitingFollower[_G]):
    """`IFollower` of a durable store.

    :param name: its name.
    :param reader: stands at its place.
    :param given: makes of groups of the log what it is given; at least one of some.
    :param places: the places of all followers.
    :param readable: gives the number of the last group that it may be given.
    :param wait: called when somebody waits for the next groups; then `wake` is to be called when there are some.
    """

    def __init__(
        self,
        name: str,
        reader: LogReader,
        given: Callable[[list[LogGroup]], list[_G]],
        places: FollowerPlaces,
        readable: Callable[[], int],
        wait: Callable[[], None],
    ) -> None:
        super().__init__(name, places)
        self._reader = reader
        self._given = given
        self._readable = readable
        self._wait = wait

    def end(self, why: str) -> None:
        """See `WaitingFollower`."""
        self._reader.close()
        super().end(why)

    def read(self, most_bytes: int) -> list[_G]:
        """See `WaitingFollower`."""
        self._wait()  # before it is read, so that no group becomes safe of which nobody is told
        if self._places.of(self._name) is None:
            raise behind(self._name, self._reader.sequence)
        try:
            groups = self._reader.read(self._readable(), most_bytes)
        except GroupGone:
            self._places.forget(self._name)
            raise behind(self._name, self._reader.sequence) from None
        except OSError as error:
            raise StorageFailed(f"the shard's log could not be read: {reason_of(error)}") from None
        return self._given(groups)
