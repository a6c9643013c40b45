"""Who follows a store, and from where on: what keeps the store's groups of changes. Any thread may use it.

Rules:

- a follower has a name, and a *place*: the number of the last group that it needs no more;
- a follower whose next group is gone is *behind*: its place is given up, and it must begin anew, with a copy;
- how much of the bound is used says how long that may still take.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import attrs

from pyshard.errors import FollowerBehind
from pyshard.settings import settings


@attrs.frozen
class FollowedBound:
    """How much a store keeps for followers alone.

    :param size: bytes: of full segments of the log, or of memory.
    :param seconds: how long.
    """

    size: int = settings.FOLLOWED_LOG_BYTES
    seconds: float = settings.FOLLOWED_LOG_SECONDS

    def used(self, size: int, seconds: float) -> float:
        """Which part of it is used, 1 for all: of bytes or of seconds, whichever is more."""
        return max(size / max(1, self.size), seconds / max(1e-9, self.seconds))


#: What it is unless operators set it.
DEFAULT_BOUND = FollowedBound()


class FollowerPlaces:
    """The places of followers: a collection of their names.

    :param places: name → place.
    :ivar any: whether there are followers.
    :ivar filled: which part of the bound is used for them, as it was when groups were last looked at: 1 for all.
    :ivar kept: bytes that are kept for them, as it was then.
    :ivar room: how many may be.
    :ivar written: bytes of groups that were ever added, for whomever.
    """

    def __init__(self, places: Mapping[str, int] | None = None) -> None:
        self._places = dict(places or {})
        self._lock = threading.Lock()
        self.any = bool(self._places)
        self.filled = 0.0
        self.kept = self.written = 0
        self.room = DEFAULT_BOUND.size

    def __contains__(self, name: object) -> bool:
        """Whether somebody of this name follows, and isn't behind."""
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self.by_name)

    def __len__(self) -> int:
        """How many follow."""
        return len(self._places)

    @property
    def by_name(self) -> dict[str, int]:
        """Name → place of each follower."""
        with self._lock:
            return dict(self._places)

    def of(self, name: str) -> int | None:
        """The place of a follower; None: it is behind, or nobody of this name follows."""
        return self._places.get(name)

    def follow(self, name: str, place: int) -> None:
        """Keep groups above a place for a follower, new or not."""
        with self._lock:
            self._places[name] = place
            self.any = True

    def confirm(self, name: str, place: int) -> None:
        """Raise the place of a follower that isn't behind."""
        with self._lock:
            if name in self._places:
                self._places[name] = max(place, self._places[name])

    def forget(self, name: str) -> None:
        """Keep nothing for a follower any more."""
        with self._lock:
            self._places.pop(name, None)
            self.any = bool(self._places)

    def needed(self) -> int | None:
        """Followers need groups above this number; None: there are no followers."""
        if not self.any:
            return None
        with self._lock:
            return min(self._places.values(), default=None)

    def leave_behind(self, until: int) -> list[str]:
        """Have no place below a number any more, since groups up to it are gone.

        :return: the names of the followers that are behind now.
        """
        with self._lock:
            behind = [name for name, place in self._places.items() if place < until]
            for name in behind:
                del self._places[name]
            self.any = bool(self._places)
        return behind


def behind(name: str, place: int) -> FollowerBehind:
    """The error for a follower whose next group is gone."""
    return FollowerBehind(f"{name}: the changes behind number {place:,} are no longer kept; begin anew, with a copy")
