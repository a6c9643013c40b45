"""The store in memory: one dict of records for each index, gone with the process.

Rules, beside those of every store (`pyshard.storage.interface`):

- every Deferred has fired when it is returned, but that of a follower that waits for changes;
- each batch or other call that changes something gets the next number (`sequence`). What it changed is kept only while
  there is a follower (`IFollowedStore.follow`), within a bound;
- versions begin with the time in microseconds, so that they rise over a restart as well;
- a snapshot copies nothing when it is taken: what changes afterwards is kept for it
  (`pyshard.storage.memory.index_at_moment`), of the slots that the store owned then;
- before the documents of a snapshot are counted, what had expired is swept.
"""

from __future__ import annotations

import uuid
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import inf

from twisted.internet.defer import Deferred, execute, fail, succeed

from pyshard.clocks import steady_seconds
from pyshard.metrics.store_figures import StoreFigures
from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.model.slot_ranges import EVERYTHING, SlotRanges, common
from pyshard.protocol.batch_answers import Answer, Result
from pyshard.protocol.batch_operations import changes
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.pages import Row
from pyshard.protocol.store_ranges import Origin, StoreRanges
from pyshard.storage import index_ids
from pyshard.storage.absorbed_groups import is_absorbed, records_for, refuse_incomplete
from pyshard.storage.batch_executor import BatchExecutor, no_such_index
from pyshard.storage.follower_places import DEFAULT_BOUND, FollowedBound
from pyshard.storage.interface import ITSELF, Page, PageBounds, Sender, Task
from pyshard.storage.memory.allocator_pools import ReadPools
from pyshard.storage.memory.dict_lookups import has_all
from pyshard.storage.memory.dropped_indexes import forget_dropped
from pyshard.storage.memory.hidden_records import HiddenRecords
from pyshard.storage.memory.index_records import MemoryIndex
from pyshard.storage.memory.memory_reclamation import MemoryReclamation
from pyshard.storage.memory.memory_replica import MemoryReplica
from pyshard.storage.memory.ring_followers import RingFollowers
from pyshard.storage.page_walk import page_of
from pyshard.storage.ranges_interface import RangeChanges
from pyshard.storage.replica_log_checks import not_primary
from pyshard.storage.replicated_interface import ReplicaRole, SeenAnswers
from pyshard.storage.slot_histogram import histogram, new_bucket_counts
from pyshard.storage.snapshot import Snapshot
from pyshard.storage.uncommitted_bytes import UncommittedBytes
from pyshard.storage.version_bound import refuse_group_ahead

_SWEPT = 100  # expired records that are removed together to count a snapshot's documents


class MemoryStore(MemoryReplica, RangeChanges):
    """`IStore` in this process's memory; see `pyshard.storage.interface` for what each method promises.

    :param identity: hex UUID; a new one for each start, since a restart loses the data.
    :param seconds: the time since 1970, for versions and expiry.
    :param grown: called when there are many more lists of keys than before, which will stay. A daemon spares them to
        the garbage collector (`pyshard.storage.memory.slot_index`).
    :param steady: the clock that times how long changes are kept for followers.
    :param bound: how much of them is kept.
    :param new_id: gives hex UUIDs, for incarnations.
    :param pools: tells how well the pools of Python's allocator are filled.
    """

    ephemeral, writable = True, inf

    def __init__(
        self,
        identity: str,
        seconds: Callable[[], float],
        grown: Callable[[], object] = lambda: None,
        steady: Callable[[], float] = steady_seconds,
        bound: FollowedBound = DEFAULT_BOUND,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        pools: ReadPools = lambda: (),
    ) -> None:
        self._new_id, self._is_member = new_id, False
        self.identity = self.incarnation = identity
        self.grown = grown
        self._seconds = seconds
        self._version = int(seconds() * 1_000_000)
        self._indexes = {DEFAULT_INDEX: MemoryIndex(self, b"", self._now())}
        self._dropped: list[MemoryIndex] = []
        self._remembered: bytes | None = None
        self._names: dict[str, int] = {}
        self._next_index = DEFAULT_INDEX + 1
        self._hidden = HiddenRecords(self, self._indexes)
        self._followers = RingFollowers(bound, steady, self._take_notes)
        self._reclamation = MemoryReclamation(pools, steady)
        self._newest, self.uncommitted = {}, UncommittedBytes()
        self._noting, self.noted_in = False, dict[int, MemoryIndex]()  # whether changes are kept for followers
        self.sequence, self.touched = 0, False
        self.origin: Origin | None = None
        self.held = self.expired = 0
        self.bucket_counts: array[int] = new_bucket_counts()

    @property
    def documents(self) -> int:
        return sum(len(index.records) for index in self._indexes.values()) - self._hidden.counts.documents()

    @property
    def used(self) -> int:
        return self.held - self._hidden.counts.used()

    @property
    def figures(self) -> StoreFigures:
        return StoreFigures(self.expired)

    def count(self, index: int) -> int:
        if index not in self._indexes:
            raise no_such_index(index)
        return len(self._indexes[index].records) - self._hidden.counts.documents(index)

    def apply(self, tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        if self._is_member and any(changes(task.run) for task in tasks):
            return fail(not_primary())
        now, hidden = int(self._seconds() * 1000), self._hidden.counts
        used, owned = self.held - hidden.used(staged=False), hidden.ranges.served
        executor = BatchExecutor(self._indexes.get, used, limit, room, now, self._next_versions, owned)
        answers = list(map(executor.answer, tasks))
        if self.touched:
            if not (
                self._followers.ring or self._hidden.ahead.ranges or self._reclamation.wants_changes
            ):  # as `_changed` does
                self.touched = False
                self.sequence += 1
            else:
                self._changed(address=sender.address, changes=sum(len(task.run.keys) for task in tasks))
        return succeed(answers)

    def apply_seen(
        self, tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF
    ) -> Deferred[SeenAnswers]:
        return self.apply(tasks, limit, room, sender).addCallback(lambda answers: SeenAnswers(answers, self.sequence))

    def will_give(self, tasks: Sequence[Task]) -> int:
        return 0  # `apply` gives everything at once

    def surely_has_all(self, index: int, keys: Sequence[bytes]) -> bool:
        memory_index = self._indexes.get(index)
        return memory_index is not None and not self._hidden.any and has_all(memory_index.records, keys)

    def read_at_hand(self, index: int, keys: Sequence[bytes], room: int) -> list[Result] | None:
        if (memory_index := self._indexes.get(index)) is None or self._hidden.any:
            return None
        return memory_index.read_at_hand(keys, room, self._now() if memory_index.expiries else 0)

    def page(self, index: int, start: int, after: bytes | None, end: int, bounds: PageBounds) -> Deferred[Page]:
        if (memory_index := self._indexes.get(index)) is None:
            return fail(no_such_index(index))
        walks = (
            memory_index.walk(first, after if first == start else None, behind, self._now())
            for first, behind in common(((start, end),), self.ranges.served)
        )
        return succeed(page_of(chain.from_iterable(walks), bounds))

    def set_indexes(self, indexes: Mapping[str, int], next_index: int = 0, text: bytes | None = None) -> Deferred[None]:
        def work() -> None:
            self._refuse_member()
            if self._have_indexes(indexes, next_index) or text is not None:
                self._remember(text, self._names)

        return execute(work)

    def _have_indexes(self, indexes: Mapping[str, int], next_index: int) -> bool:
        index_ids.refuse_dropped(indexes, self._indexes, self._next_index)
        known, self._next_index = self._next_index, index_ids.next_index(self._next_index, indexes, next_index)
        wanted = {DEFAULT_INDEX: b""} | {number: name.encode() for name, number in indexes.items()}
        for number in set(self._indexes) - set(wanted):
            self._hidden.drop_index(number)
            dropped = self._indexes.pop(number)
            dropped.leave_counts()
            self._dropped.append(dropped)
        for number in set(wanted) - set(self._indexes):
            made = self._indexes[number] = MemoryIndex(self, wanted[number], self._now(), number)
            made.take_notes(self._noting)
            self._hidden.ahead.add_index(number)
        is_new = self._names != indexes or known < next_index
        self._names = dict(indexes) if is_new else self._names
        return is_new

    def sweep(self, most: int) -> Deferred[bool]:
        more = self._reclamation.step(self._indexes.values(), most, self.held)
        more = self._followers.release() or self._hidden.count_behind(most) or more
        if self._is_member or self.uncommitted.is_crowded:  # what is removed would wait for the members, too
            forget_dropped(self._dropped, most)
            return succeed(more or bool(self._dropped))
        now = self._now()
        for index in self._indexes.values():
            most -= index.sweep(now, most, self._not_swept()) if index.may_be_swept(now) else 0
        left = self.ranges.left
        most -= self._hidden.trim(max(0, most)) if self.origin is None else 0
        if self.touched or left != self.ranges.left:
            self._changed(ranges=None if left == self.ranges.left else self.ranges)
        forget_dropped(self._dropped, most)
        more = more or bool(self._dropped or (self.origin is None and self.ranges.left))
        return succeed(more or any(index.may_be_swept(now) for index in self._indexes.values()))

    def histogram(self, start: int, end: int, bars: int) -> list[int]:
        return histogram(self.bucket_counts, start, end, bars, self._hidden.counts.buckets)

    def snapshot(self) -> Snapshot[Row]:
        now = self._now()
        moment = self._at_moment(now, self.ranges.owned)
        if self._not_swept() == EVERYTHING:
            self._hidden.sweep_again()  # what sweeps have passed over isn't counted, but for this

        def sweep(index: MemoryIndex) -> int:
            looked_at = index.forget_some(_SWEPT) if index.dropped else index.sweep(now, _SWEPT, self._not_swept())
            if self.touched:
                self._changed()
            return looked_at

        expired = moment.expired(sweep)
        return Snapshot(self.documents, expired, moment.rows(), None, moment.forget, moment.pinned, moment.kept)

    def absorb(self, group: ChangeGroup, origin: Origin | None = None) -> Deferred[None]:
        def work() -> None:
            self._refuse_member()
            if origin is not None and is_absorbed(self.origin, origin):
                return
            refuse_group_ahead(group, self._seconds())
            if group.indexes is not None and self._have_indexes(group.indexes, group.next_index):
                self._changed(indexes=self._names)
            if group.text is not None:
                self._remember(group.text)
            self._absorb(group.changes, group.version, group.ranges or self.ranges)
            self.origin = origin or self.origin

        return execute(work)

    def own(self, ranges: SlotRanges) -> Deferred[None]:
        def work() -> None:
            self._refuse_member()
            new = self.ranges.owning(ranges)
            refuse_incomplete(self.origin)
            self._hidden.count_given_up(ranges)
            self.origin = None
            self._hidden.sweep_again()  # what a follower has passed over
            self._set_ranges(new)

        return execute(work)

    def count_ahead(self, ranges: SlotRanges, most: int) -> Deferred[bool]:
        return succeed(self._hidden.count_ahead(ranges, most))

    def change_ranges(self, decide: Callable[[StoreRanges], StoreRanges]) -> Deferred[None]:
        def work() -> None:
            self._refuse_member()
            self._set_ranges(decide(self.ranges))

        return execute(work)

    def absorb_staged(self, name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        def work() -> None:
            self._refuse_member()
            self.uncommitted.check_own_work()
            refuse_group_ahead(group, self._seconds())
            changes = records_for(self.ranges, name, group, sequence, self._indexes, self._next_index)
            if changes is not None:
                self._hidden.refuse_past_limit(name, changes, limit)
                after = self.ranges.absorbed(name, sequence, group.ranges) if sequence else self.ranges
                self._absorb(changes, group.version, after)

        return execute(work)

    def remember(self, text: bytes) -> Deferred[None]:
        def work() -> None:
            self._refuse_member()
            self._remember(text)

        return execute(work)

    def recall(self) -> bytes | None:
        return self._remembered

    def refuse_waiting(self) -> None:
        """See `IStore`: here nothing ever waits."""

    def close(self) -> Deferred[None]:
        self._followers.end("the store was closed")
        self._indexes, self._dropped, self.held = {}, [], 0
        self._hidden = HiddenRecords(self, self._indexes)
        return succeed(None)

    def _remember(self, text: bytes | None, indexes: dict[str, int] | None = None) -> None:
        self._remembered = self._remembered if text is None else text
        self._changed(indexes, text)

    def _absorb(self, changes: Sequence[Change], version: int, ranges: StoreRanges) -> None:
        """Have records be as they are elsewhere, versions be above a version, and ranges be others."""
        raised, self._version = version > self._version, max(self._version, version)
        before = self.ranges
        self._hidden.set_ranges(ranges)
        self._hidden.absorb(changes)
        if self.touched or raised or ranges != before:
            self._changed(ranges=None if ranges == before else ranges, changes=len(changes))

    def _set_ranges(self, ranges: StoreRanges) -> None:
        if ranges != self.ranges:
            self._hidden.set_ranges(ranges)
            self._hidden.free_what_is_empty()
            self._changed(ranges=self.ranges)

    def _changed(
        self,
        indexes: dict[str, int] | None = None,
        text: bytes | None = None,
        ranges: StoreRanges | None = None,
        address: str = "",
        changes: int = 0,
    ) -> None:
        """Give what has changed a number, and keep it for followers.

        :param address: whose change it is.
        :param changes: how many records a batch has changed, about.
        """
        self.touched = False
        self.sequence += 1
        self._hidden.ahead.settle()
        self._reclamation.changed(self._indexes.values(), changes, self.held)
        if self._noting:
            noted_in, self.noted_in = self.noted_in, {}
            noted = [change for index in noted_in.values() for change in index.changes()]
            next_index = 0 if indexes is None else self._next_index
            group = ChangeGroup(self.sequence, self.ballot, self._version, noted, indexes, text, next_index, ranges)
            size = group.size
            if self.role is ReplicaRole.PRIMARY:
                self._note_uncommitted(group)
                self._count_uncommitted(group, size, address)
            self._followers.add(group, size)

    def _take_notes(self, wanted: bool) -> None:
        """Have the indexes note what changes from now on, or no more."""
        self._noting = wanted
        for index in self._indexes.values():
            index.take_notes(wanted)

    def _now(self) -> int:
        return int(self._seconds() * 1000)

    def _next_versions(self, count: int) -> range:
        self._version += count
        return range(self._version - count + 1, self._version + 1)
