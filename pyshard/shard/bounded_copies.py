"""Copies of a store that end when they cost too much, or come to nothing.

Rules:

- they are looked at when they are read, and those that peers read four times a second besides: one that nobody reads
  costs as much;
- a durable store's file grows while a copy of it is open and documents are replaced, and never shrinks. So what is kept
  for one copy has the bound that a snapshot of role `admin` has: others may write as fast as they can meanwhile;
- a copy for a follower is of no use once the changes behind it aren't kept any more. It ends then, and not when all
  of it was read;
- the changes behind it are kept for a while. A copy that would take longer than that at its pace so far is *late*.
"""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.errors import SnapshotEnded
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.settings import settings
from pyshard.storage import ICopy, IStore

#: For a whole copy, which a replica needs to be a member, the shard keeps twice as much as for another one.
WHOLE_COPY_PINS = (settings.SNAPSHOT_PINS, 2 * settings.ADMIN_SNAPSHOT_PINS)

_LOOK_EVERY = 0.25  # seconds
_NOTHING_YET = 0.05  # of what may be kept: before, no copy is late
_AHEAD = 1.5  # times as far as what is kept: behind the copy the changes are to be read, too


@attrs.define(eq=False)
class BoundedCopy:
    """An `ICopy` with these bounds.

    :param copy: what is bounded.
    :param store: of which it is.
    :param follower: for whom changes behind it are kept; None: for nobody.
    :param pins: bytes that the store may keep for it, and times of what it has in use; see `settings.SNAPSHOT_PINS`.
        None: any number.
    :param expected: about how many bytes it has.
    :ivar head: see `ICopy`.
    :ivar given: how many bytes of it were given.
    :ivar is_open: whether it was neither closed, nor has ended.
    """

    copy: ICopy
    store: IStore
    follower: str | None = None
    pins: tuple[int, int] | None = (settings.SNAPSHOT_PINS, settings.ADMIN_SNAPSHOT_PINS)
    expected: int = 0
    head: ChangeGroup = attrs.field(init=False)
    given: int = 0
    is_open: bool = attrs.field(default=True, init=False)
    _ended: str = attrs.field(default="", init=False)  # why it has; empty: it hasn't

    def __attrs_post_init__(self) -> None:
        """Take over the head."""
        self.head = self.copy.head

    @property
    def pinned(self) -> int:
        """See `ICopy`."""
        return self.copy.pinned

    @property
    def is_late(self) -> bool:
        """Whether the changes behind it will be gone before it was read to its end, if it goes on like this."""
        filled = self.store.followers.filled if self.follower is not None else 0.0
        return filled > _NOTHING_YET and filled * _AHEAD * self.expected > self.given

    def page(self, most_bytes: int, most_steps: int = settings.SNAPSHOT_STEPS) -> list[Change] | None:
        """See `ICopy`.

        :raises SnapshotEnded: it has crossed a bound, now or before.
        """
        self.look()
        if self._ended:
            raise SnapshotEnded(f"the copy has ended: {self._ended}; begin anew, when less is written")
        page = self.copy.page(most_bytes, most_steps)
        self.given += sum([change.size for change in page or ()])
        return page

    def close(self) -> None:
        """See `ICopy`."""
        self.is_open = False
        self.copy.close()

    def look(self) -> None:
        """End it, if it has crossed a bound."""
        if self.is_open and (why := self._why_it_ends()):
            self._ended = why
            self.close()

    def _why_it_ends(self) -> str:
        if self.follower is not None and self.follower not in self.store.followers:
            return "the changes behind it are no longer kept"
        if self.pins is None:
            return ""
        most = max(self.pins[0], self.store.used) * self.pins[1]
        if self.copy.pinned > most:
            return f"the shard would have had to keep more than {most:,} bytes of old documents for it"
        return ""


class WatchedCopies:
    """The open copies that peers read, or don't.

    :param clock: times looks.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._open: dict[BoundedCopy, None] = {}
        self._look: IDelayedCall | None = None

    def watch(self, copy: BoundedCopy) -> BoundedCopy:
        """End a copy when it crosses a bound, also while nobody reads it."""
        self._open[copy] = None
        if self._look is None:
            self._look = self._clock.callLater(_LOOK_EVERY, self._look_at_all)
        return copy

    def close(self) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._open.clear()

    def _look_at_all(self) -> None:
        self._look = None
        for copy in list(self._open):
            copy.look()
            if not copy.is_open:
                del self._open[copy]
        if self._open:
            self._look = self._clock.callLater(_LOOK_EVERY, self._look_at_all)
