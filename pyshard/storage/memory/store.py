"""The store in memory: one dict of records for each index, gone with the process.

Rules, beside those of every store (`pyshard.storage.interface`):

- every Deferred has fired when it is returned, but that of a follower that waits for changes;
- each batch or other call that changes something gets the next number (`sequence`). What it changed is kept only while
  there is a follower (`IStore.follow`), within a bound;
- versions begin with the time in microseconds, so that they rise over a restart as well;
- a snapshot copies nothing when it is taken: what changes afterwards is kept for it
  (`pyshard.storage.memory.index_at_moment`);
- before the documents of a snapshot are counted, what had expired is swept.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import TypeAlias

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from pyshard.clocks import steady_seconds
from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.protocol.batch_answers import VERSION, Answer, Result
from pyshard.protocol.change_groups import Change, ChangeGroup, SlotRanges
from pyshard.protocol.pages import Row
from pyshard.storage.batch_executor import BatchExecutor, no_such_index
from pyshard.storage.follower_places import DEFAULT_BOUND, FollowedBound, FollowerPlaces, behind
from pyshard.storage.following_interface import ICopy, IFollower
from pyshard.storage.interface import ITSELF, Page, PageBounds, Sender, Task
from pyshard.storage.memory.change_ring import ChangeRing, RingFollower
from pyshard.storage.memory.index_at_moment import IndexAtMoment
from pyshard.storage.memory.index_records import MemoryIndex
from pyshard.storage.page_walk import page_of
from pyshard.storage.slot_histogram import histogram, new_bucket_counts
from pyshard.storage.snapshot import Snapshot, StoreCopy

_log = Logger()

_SWEPT = 100  # expired records that are removed together to count a snapshot's documents


class MemoryStore:
    """`IStore` in this process's memory; see `pyshard.storage.interface` for what each method promises.

    :param identity: hex UUID; a new one for each start, since a restart loses the data.
    :param seconds: the time since 1970, for versions and expiry.
    :param grown: called when there are many more lists of keys than before, which will stay. A daemon spares them to
        the garbage collector (`pyshard.storage.memory.slot_index`).
    :param steady: the clock that times how long changes are kept for followers.
    :param bound: how much of them is kept.
    """

    ephemeral = True

    def __init__(
        self,
        identity: str,
        seconds: Callable[[], float],
        grown: Callable[[], object] = lambda: None,
        steady: Callable[[], float] = steady_seconds,
        bound: FollowedBound = DEFAULT_BOUND,
    ) -> None:
        self.identity = identity
        self.grown = grown
        self._seconds = seconds
        self._version = int(seconds() * 1_000_000)
        self._indexes = {DEFAULT_INDEX: MemoryIndex(self, b"", self._now())}
        self._dropped: list[MemoryIndex] = []
        self._remembered: bytes | None = None
        self._names: dict[str, int] = {}
        self._steady = steady
        self._bound = bound
        self._places = FollowerPlaces()
        self._ring: ChangeRing | None = None
        self._followers: dict[str, RingFollower] = {}
        self.sequence = 0
        self.touched = False
        self.used = 0
        self.bucket_counts: array[int] = new_bucket_counts()

    @property
    def documents(self) -> int:
        return sum(len(index.records) for index in self._indexes.values())

    def count(self, index: int) -> int:
        if index not in self._indexes:
            raise no_such_index(index)
        return len(self._indexes[index].records)

    def apply(self, tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        now = int(self._seconds() * 1000)
        executor = BatchExecutor(self._indexes.get, self.used, limit, room, now, self._next_versions)
        answers = list(map(executor.answer, tasks))
        if self.touched:
            if self._ring is None:  # as `_changed` does then, without the call
                self.touched = False
                self.sequence += 1
            else:
                self._changed()
        return succeed(answers)

    def will_give(self, tasks: Sequence[Task]) -> int:
        return 0  # `apply` gives everything at once

    def surely_has_all(self, index: int, keys: Sequence[bytes]) -> bool:
        memory_index = self._indexes.get(index)
        return memory_index is not None and all(map(memory_index.records.__contains__, keys))

    def read_at_hand(self, index: int, keys: Sequence[bytes], room: int) -> list[Result] | None:
        memory_index = self._indexes.get(index)
        return None if memory_index is None else memory_index.read_at_hand(keys, room)

    def page(self, index: int, start: int, after: bytes | None, end: int, bounds: PageBounds) -> Deferred[Page]:
        memory_index = self._indexes.get(index)
        if memory_index is None:
            return fail(no_such_index(index))
        return succeed(page_of(memory_index.walk(start, after, end, self._now()), bounds))

    def set_indexes(self, indexes: Mapping[str, int]) -> Deferred[None]:
        wanted = {DEFAULT_INDEX: b""} | {number: name.encode() for name, number in indexes.items()}
        for number in set(self._indexes) - set(wanted):
            dropped = self._indexes.pop(number)
            dropped.leave_counts()
            self._dropped.append(dropped)
        for number in set(wanted) - set(self._indexes):
            made = self._indexes[number] = MemoryIndex(self, wanted[number], self._now())
            made.take_notes(self._ring is not None)
        if self._names != indexes:
            self._names = dict(indexes)
            self._changed(indexes=self._names)
        return succeed(None)

    def sweep(self, most: int) -> Deferred[bool]:
        now = self._now()
        for index in self._indexes.values():
            most -= index.sweep(now, most)
        if self.touched:
            self._changed()
        self._release()
        while most > 0 and self._dropped:
            if self._dropped[-1].forget_one():
                most -= 1
            else:
                self._dropped.pop()
        return succeed(bool(self._dropped) or any(index.may_be_swept(now) for index in self._indexes.values()))

    def histogram(self, start: int, end: int, bars: int) -> list[int]:
        return histogram(self.bucket_counts, start, end, bars)

    def snapshot(self) -> Snapshot[Row]:
        now, documents = self._now(), self.documents
        moments = [(number, index, index.at_moment(now)) for number, index in self._indexes.items()]
        rows = (
            None if found is None else Row(number, found[0], found[2], found[1][VERSION.size :])
            for number, _, moment in moments
            for found in moment.found()
        )
        expired = self._expired(moments, now)
        return Snapshot(documents, expired, rows, release=_forgetting(moments), pinned=_pinned_by(moments))

    def copy(self, name: str, ranges: SlotRanges | None = None) -> Deferred[ICopy]:
        self._places.follow(name, self.sequence)
        self._keep_changes()
        moments = [(number, index, index.at_moment(0, ranges)) for number, index in self._indexes.items()]
        head = ChangeGroup(self.sequence, 0, self._version, [], self._names, self._remembered)
        rows = (
            None if found is None else _change(number, index, *found)
            for number, index, moment in moments
            for found in moment.found()
        )
        return succeed(StoreCopy(head, rows, release=_forgetting(moments), pinned=_pinned_by(moments)))

    def follow(self, name: str, after: int, ranges: SlotRanges | None = None) -> IFollower:
        self._places.follow(name, after)
        self._keep_changes()
        assert self._ring is not None
        if not self._ring.has_after(after):
            self.forget(name)
            raise behind(name, after)
        if name in self._followers:
            self._followers.pop(name).end(f"{name} follows anew")
        follower = RingFollower(name, after, ranges, self._places, lambda: self._ring)
        self._followers[name] = follower
        return follower

    def forget(self, name: str) -> None:
        self._places.forget(name)
        if name in self._followers:
            self._followers.pop(name).end(f"{name} follows no more")
        self._release()

    def absorb(self, group: ChangeGroup) -> Deferred[None]:
        if group.indexes is not None:
            self.set_indexes(group.indexes)
        if group.text is not None:
            self.remember(group.text)
        self._version = max(self._version, group.version)
        for change in group.changes:
            index = self._indexes.get(change.index)
            if index is not None:
                index.absorb(change)
        if self.touched:
            self._changed()
        return succeed(None)

    def remember(self, text: bytes) -> Deferred[None]:
        self._remembered = text
        self._changed(text=text)
        return succeed(None)

    def recall(self) -> bytes | None:
        return self._remembered

    def refuse_waiting(self) -> None:
        """See `IStore`: here nothing ever waits."""

    def close(self) -> Deferred[None]:
        for follower in self._followers.values():
            follower.end("the store was closed")
        self._followers = {}
        self._indexes = {}
        self._dropped = []
        self.used = 0
        return succeed(None)

    def _expired(self, moments: Sequence[_Moment], now: int) -> Iterator[int]:
        """Remove what had expired by a moment, until each of these knows how much that was.

        :param now: the moment, in milliseconds since 1970.
        :return: for each record that is looked at, how many more were found to have expired.
        """
        known = 0
        for _, index, _ in moments:
            while looked_at := index.forget_some(_SWEPT) if index.dropped else index.sweep(now, _SWEPT):
                if self.touched:
                    self._changed()
                count = sum(moment.expired for _, _, moment in moments)
                yield count - known
                known = count
                yield from repeat(0, looked_at - 1)
        yield sum(moment.expired for _, _, moment in moments) - known

    def _changed(self, indexes: dict[str, int] | None = None, text: bytes | None = None) -> None:
        """Give what has changed a number, and keep it for followers."""
        self.touched = False
        self.sequence += 1
        if self._ring is not None:
            changes = [change for number, index in self._indexes.items() for change in index.changes(number)]
            self._ring.add(ChangeGroup(self.sequence, 0, self._version, changes, indexes, text))
            self._release()
            for follower in list(self._followers.values()):
                follower.wake()

    def _keep_changes(self) -> None:
        """Keep changes from now on, if they aren't kept yet."""
        if self._ring is None:
            self._ring = ChangeRing(self._bound, self._steady, self.sequence)
            for index in self._indexes.values():
                index.take_notes(True)

    def _release(self) -> None:
        """Keep no more than followers need, within the bound; nothing if there are none."""
        if self._ring is None:
            return
        needed = self._places.needed()
        if needed is not None:
            for name in self._places.leave_behind(self._ring.release(needed)):
                _log.warn("{follower} follows too slowly: it has to start from a copy", follower=name)
        if not self._places.any:
            self._ring = None
            for index in self._indexes.values():
                index.take_notes(False)

    def _now(self) -> int:
        return int(self._seconds() * 1000)

    def _next_versions(self, count: int) -> range:
        self._version += count
        return range(self._version - count + 1, self._version + 1)


#: The id of an index, the index, and what it was.
_Moment: TypeAlias = tuple[int, MemoryIndex, IndexAtMoment]


def _forgetting(moments: Sequence[_Moment]) -> Callable[[], None]:
    """What has the indexes keep nothing more for some moments."""

    def forget() -> None:
        for _, index, moment in moments:
            index.forget_moment(moment)

    return forget


def _pinned_by(moments: Sequence[_Moment]) -> Callable[[], int]:
    """What gives how many bytes are kept for some moments."""
    return lambda: sum(moment.pinned for _, _, moment in moments)


def _change(number: int, index: MemoryIndex, key: bytes, value: bytes, expires: int) -> Change:
    """A record as followers are given it."""
    version = VERSION.unpack_from(value)[0]
    return Change(number, index.slot_of(key), key, version, expires, value[VERSION.size :])
