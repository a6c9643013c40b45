"""A bulk verb of the blocking client: reads the caller's iterable, and does it at all shards at once.

Rules:

- The iterable is read one window of keys at a time. It and ``progress`` run in the caller's thread while nothing is in
  flight, so both may take their time and make calls of their own.
- An iterable that is slow is sent after half a second of it.
- The calling thread waits for all shards together; a slow one doesn't hold up the others.
- What a shard leaves over, such as keys that moved meanwhile, goes to its shards by a newer map as soon as the work at
  that shard has ended. So it doesn't wait for other shards, either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TypeVar

import attrs

from pyshard.blocking.bulk_work import ShardWork, UnsentKeys
from pyshard.blocking.calling_thread_tasks import Interest, Steps, run, together
from pyshard.blocking.cluster import BlockingCluster
from pyshard.blocking.interrupted_change import tell_doubt
from pyshard.blocking.map_view import MapView
from pyshard.blocking.replica_work import ReplicaWork
from pyshard.client_core.bulk_input import BulkSlice, slice_size
from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.client_core.bulk_outcomes import Progress, SliceInFlight
from pyshard.client_core.combined_error import error_of_all
from pyshard.client_core.operation_errors import too_late
from pyshard.client_core.partial_failure import partial_failure
from pyshard.errors import PyshardError
from pyshard.model.key_slots import slots_of
from pyshard.protocol.columns import picker
from pyshard.settings import settings

_T = TypeVar("_T")

_WINDOW = 20_000  # keys that are read from the iterable before they are sent
_LONGEST = 0.5  # seconds for which a window is collected, if the iterable is slow


class BulkCall:
    """One bulk verb.

    :param cluster: leads to the shards.
    :param changes: whether the verb changes something.
    :param seconds: the deadline of each operation, from the moment it is issued.
    :param progress: called after each window with the number of keys that are done so far.
    :param reads: the index whose documents it reads; None: it reads none.
    :param at_primary: whether it is done by primaries alone.
    """

    def __init__(
        self,
        cluster: BlockingCluster,
        changes: bool,
        seconds: float,
        progress: Progress | None,
        reads: str | None = None,
        at_primary: bool = True,
    ) -> None:
        self._cluster = cluster
        self._network = cluster.network
        self._changes = changes
        self._seconds = seconds
        self._progress = progress
        self._reads = reads
        self._replicas = None if at_primary else cluster.replicas
        self._away: set[str] = set()
        self._failed = False

    def all(
        self,
        source: Iterable[_T],
        slices: Callable[[list[_T], int], Iterator[BulkSlice]],
        key: Callable[[_T], object] | None = None,
    ) -> list[object]:
        """Do the verb for all elements of an iterable.

        :param slices: gives the slices of a window, given how many keys each is to have.
        :param key: gives the key of one of the iterable's elements; None: they are the keys.
        :return: the outcomes, in order.
        :raises PartialFailure: there are errors among them.
        """
        keys: list[object] = []
        outcomes: list[object] = []
        try:
            for window in self._windows(source):
                keys += window if key is None else map(key, window)
                found = self._window(slices(window, self._slice_size()))
                if outcomes:
                    outcomes += found
                else:
                    outcomes = found  # most calls have one window, whose list needn't be copied
                if self._progress is not None:
                    self._progress(len(keys))
        except BaseException as error:
            if self._changes and keys:
                tell_doubt(error, f"a change of {len(keys):,} keys was begun, but this call was interrupted")
            raise
        if self._failed:
            raise partial_failure(list(zip(keys, outcomes, strict=True)))
        return outcomes

    def _slice_size(self) -> int:
        fitting = None if self._reads is None else self._cluster.read_sizes.fitting(self._reads)
        return slice_size(self._cluster.state.map.shards, self._changes, fitting)

    def _windows(self, source: Iterable[_T]) -> Iterator[list[_T]]:
        if isinstance(source, list):  # it is all there
            for start in range(0, len(source), _WINDOW):
                yield source[start : start + _WINDOW]
            return
        now = self._network.now
        window: list[_T] = []
        begun = now()
        for element in source:
            if not window:
                begun = now()
            window.append(element)
            if len(window) >= _WINDOW or now() - begun >= _LONGEST:
                yield window
                window = []
        if window:
            yield window

    def _window(self, slices: Iterator[BulkSlice]) -> list[object]:
        """The outcomes of one window, in order."""
        self._cluster.check_open()
        issued: list[SliceInFlight] = []
        works: dict[str, ShardWork] = {}
        view = self._cluster.view
        shards = view.state.map
        for bulk_slice in slices:
            outcomes = SliceInFlight(bulk_slice, self._part_done)
            issued.append(outcomes)
            self._failed = self._failed or bool(bulk_slice.refused)
            if not bulk_slice.run.keys:
                continue
            slots = slots_of(bulk_slice.run.keys, bulk_slice.run.index.encode())
            for name, numbers in shards.split(slots).items():
                work = self._near_work(works, view, name) or self._work(works, view, name)
                work.unsent.append(UnsentKeys(bulk_slice, outcomes, slots, numbers))
        self._run(works)
        if len(issued) == 1:  # they needn't be copied
            return issued[0].outcomes
        return list(chain.from_iterable([one.outcomes for one in issued]))

    def _work(self, works: dict[str, ShardWork], view: MapView, name: str) -> ShardWork:
        if name not in works:
            pool = view.by_name[name]
            works[name] = ShardWork(pool, self._seconds, self._cluster.index_missing, self._refused)
            works[name].away = name in self._away
        return works[name]

    def _near_work(self, works: dict[str, ShardWork], view: MapView, name: str) -> ShardWork | None:
        """The work at the nearest member of a shard; None: it is its primary's."""
        if name not in works and self._replicas is not None:
            near = self._replicas.nearest(view.by_name[name])
            if near is not None:
                missing, lost = self._cluster.index_missing, self._replicas.lost
                works[name] = ReplicaWork(near, self._seconds, missing, self._refused, lost)
        return works.get(name)

    def _run(self, works: dict[str, ShardWork]) -> None:
        """Do the work at all shards, and what they leave over."""
        more: deque[Steps[None]] = deque()
        steps = [self._done_at(name, work, more) for name, work in works.items()]
        most = self._cluster.limit.most
        for outcome in run(self._network, together(self._network, steps, added=more, most=most)):
            if isinstance(outcome, Exception):
                raise outcome

    def _done_at(self, name: str, work: ShardWork, more: deque[Steps[None]]) -> Steps[None]:
        """Do the work at a shard.

        :param more: is given what it leaves over.
        """
        yield from work.run()
        if work.away:
            self._away.add(name)
        again = yield from self._route_again(work)
        more += [self._done_at(owner, left, more) for owner, left in again.items()]

    def _route_again(self, work: ShardWork) -> Steps[dict[str, ShardWork]]:
        """The work that is left over, at the shards that own its keys by a newer map; what is too late fails."""
        left, unsent = [*work.left, *work.again], work.unsent
        again: dict[str, ShardWork] = {}
        if not left and not unsent:
            return again
        cluster, ended = self._cluster, self._network.now()
        until = min([part.expires for part in left], default=ended + self._seconds)
        if not isinstance(work, ReplicaWork):  # else primaries are asked at once
            yield from cluster.refreshing(until)
            yield from Interest((), min(until, max(self._network.now() + settings.RETRY_FIRST, work.rested)))
        view = cluster.view
        shards = view.state.map
        for part in left:
            by_shard = shards.split(part.slots)
            if self._network.now() >= part.expires:
                self._away.update(by_shard)
                pools = [view.by_name[name] for name in sorted(by_shard)]
                part.fail(error_of_all([too_late(part, pool.peer_name(), pool.why) for pool in pools]))
                continue
            for name, places in by_shard.items():
                self._work(again, view, name).again.append(part if len(by_shard) == 1 else part.part(places))
        for keys in unsent:
            own = picker(keys.numbers)(keys.slots)
            for name, places in shards.split(own).items():
                numbers = picker(places)(keys.numbers)
                self._work(again, view, name).unsent.append(attrs.evolve(keys, numbers=numbers))
        return again

    def _part_done(self, bulk_operation: BulkOperation, kinds: set[type]) -> None:
        self._cluster.read_sizes.note(bulk_operation)
        self._failed = self._failed or any(issubclass(kind, PyshardError) for kind in kinds)

    def _refused(self, count: int) -> None:
        self._failed = self._failed or bool(count)
