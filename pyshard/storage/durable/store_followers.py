"""Who follows a durable store, and copies of it to begin with.

Rules:

- a copy is opened in the writer's thread, at a group's end, after the disk has all groups before;
- the follower that it is for has its place at that very moment, and LMDB has the place before the copy is given;
- whoever waits for groups is told in the reactor's thread, soon after a group is safe.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import ChangeGroup, without_gaps
from pyshard.protocol.log_groups import LogGroup
from pyshard.storage.durable.data_directory import FORMAT
from pyshard.storage.durable.engine import StorageEngine
from pyshard.storage.durable.log_changes import change_group
from pyshard.storage.durable.log_follower import LogFollower
from pyshard.storage.durable.log_reader import GroupGone, LogReader
from pyshard.storage.durable.snapshot_rows import all_records
from pyshard.storage.follower_places import behind
from pyshard.storage.following_interface import IFollowingReplica
from pyshard.storage.snapshot import StoreCopy

_G = TypeVar("_G")


class StoreFollowers:
    """The followers of a store.

    :param engine: the store's engine.
    :param identity: the store's.
    :param call_from_thread: has a function called in the reactor's thread; None: there is no other thread.
    """

    def __init__(self, engine: StorageEngine, identity: str, call_from_thread: Callable[..., Any] | None) -> None:
        self._engine = engine
        self._identity = identity
        self._call_from_thread = call_from_thread
        self._followers: dict[str, LogFollower[Any]] = {}
        self._uncommitted: set[str] = set()  # the names of those that are given what isn't committed

    def open_copy(
        self,
        name: str | None,
        ranges: SlotRanges | None,
        opened: Callable[[StoreCopy], None],
        closed: Callable[[], None],
    ) -> StoreCopy:
        """A copy of the store as it is; in the writer's thread, in a transaction that saves the follower's place.

        :param name: see `IFollowedStore.copy`.
        :param opened: told of it with the engine's lock held.
        :param closed: called once when it is closed.
        """
        engine = self._engine
        use = engine.lmdb.file_use()
        with engine.frozen() as (transaction, counters, memtable):
            head = ChangeGroup(
                engine.sequence,
                counters.ballot,
                counters.version,
                [],
                dict(counters.indexes),
                engine.text,
                counters.next_index,
                counters.hidden.ranges,
            )
            cursor = transaction.cursor(db=engine.databases.records)
            rows = all_records(cursor, memtable, sorted(counters.documents), ranges, engine.databases.values_of)
            memtable_bytes = memtable.bytes_in_memory()

            def release() -> None:
                closed()
                transaction.abort()

            def pinned() -> int:
                return memtable_bytes + engine.lmdb.file_use().kept_since(use)

            copy = StoreCopy(head, rows, engine.lock, release, pinned)
            if name is not None:
                engine.retention.places.follow(name, head.sequence)
            opened(copy)
        return copy

    def follow(self, name: str, after: int, ranges: SlotRanges | None) -> LogFollower[ChangeGroup]:
        """See `IFollowedStore.follow`."""

        def wanted(groups: list[LogGroup]) -> list[ChangeGroup]:
            return without_gaps(change_group(group, ranges) for group in groups)

        return self._follow(name, after, wanted, uncommitted=False)

    def follow_as_replica(self, name: str, after: int, log_format: int) -> IFollowingReplica:
        """See `IFollowedStore.follow_as_replica`."""
        if log_format == FORMAT:
            return self._follow(name, after, lambda groups: groups, uncommitted=True)
        return self._follow(
            name, after, lambda groups: [change_group(group, None) for group in groups], uncommitted=True
        )

    def _follow(
        self, name: str, after: int, given: Callable[[list[LogGroup]], list[_G]], uncommitted: bool
    ) -> LogFollower[_G]:
        engine, places = self._engine, self._engine.retention.places
        former = self._followers.pop(name, None)
        if former is not None:
            former.end(f"{name} follows anew")
        places.follow(name, after)
        reader = LogReader(lambda: engine.log.segments, self._identity, after)
        try:
            if after > engine.log.sequence:
                raise GroupGone
            reader.find(engine.readable(uncommitted))
        except GroupGone:
            self.forget(name)
            raise behind(name, after) from None
        if engine.safe < engine.sequence:
            engine.unsynced = True  # what was written while nobody followed may not be synced in the weaker modes
        until = partial(engine.readable, uncommitted)
        follower = LogFollower(name, reader, given, places, until, self._wait)
        self._followers[name] = follower
        if uncommitted:
            self._uncommitted.add(name)
        else:
            self._uncommitted.discard(name)
        return follower

    def forget(self, name: str) -> None:
        """See `IFollowedStore.forget`."""
        self._engine.retention.places.forget(name)
        follower = self._followers.pop(name, None)
        if follower is not None:
            follower.end(f"{name} follows no more")

    def end(self, why: str) -> None:
        """End all followers; their places stay."""
        for follower in self._followers.values():
            follower.end(why)
        self._followers = {}

    def end_uncommitted(self, why: str) -> None:
        """End those that are given what isn't committed."""
        for name in self._uncommitted & self._followers.keys():
            self._followers.pop(name).end(why)

    def wake(self) -> None:
        """Give those that wait what they may be given by now."""
        for follower in list(self._followers.values()):
            follower.wake()

    def _wait(self) -> None:
        self._engine.on_safe = self._groups_are_safe

    def _groups_are_safe(self) -> None:
        """Called in the writer's thread."""
        self._engine.on_safe = None  # whoever waits on says so again
        if self._call_from_thread is None:
            self.wake()
        else:
            self._call_from_thread(self.wake)
