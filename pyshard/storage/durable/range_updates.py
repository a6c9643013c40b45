"""Updates of a durable store that change its ranges, or absorb what another store has. See `IRangedStore`.

Each is decided by what the store is when its group is made, in the writer's thread. So a batch that waited longer than
the change is refused what isn't owned any more (`pyshard.storage.batch_executor`).
"""

from __future__ import annotations

from collections.abc import Callable

from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.store_ranges import Origin, StoreRanges
from pyshard.storage.absorbed_groups import is_absorbed, records_for
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.hidden_records import free_what_is_empty, set_ranges
from pyshard.storage.durable.log_changes import logged_group
from pyshard.storage.durable.logged_and_direct_updates import LoggedUpdate
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.durable.replay import replay


def changing(decide: Callable[[StoreRanges], StoreRanges]) -> LoggedUpdate:
    """Have the ranges that a decision gives; what has no records isn't left over.

    :param decide: given the present ranges; what it raises is the update's outcome.
    """

    def work(view: MergedView, counters: Counters, changes: GroupChanges) -> None:
        ranges = decide(counters.hidden.ranges)
        if ranges != counters.hidden.ranges:
            set_ranges(view, counters, changes, ranges)
            free_what_is_empty(view, counters, changes)

    return LoggedUpdate(work)


def absorbing(group: ChangeGroup, origin: Origin | None) -> LoggedUpdate:
    """Do all that a group did elsewhere; see `IFollowedStore.absorb`."""

    def work(view: MergedView, counters: Counters, changes: GroupChanges) -> None:
        if origin is not None and is_absorbed(counters.origin, origin):
            return
        replay(view, counters, changes, logged_group(group))
        if origin is not None:
            counters.origin = changes.origin = origin

    return LoggedUpdate(work)


def absorbing_staged(name: str, group: ChangeGroup, sequence: int) -> LoggedUpdate:
    """Have the records of a copy as a group has them; see `IRangedStore.absorb_staged`."""

    def work(view: MergedView, counters: Counters, changes: GroupChanges) -> None:
        ranges = counters.hidden.ranges
        wanted = records_for(ranges, name, group, sequence, counters.documents, counters.next_index)
        if wanted is None:
            return
        replay(view, counters, changes, logged_group(ChangeGroup(0, 0, group.version, wanted)))
        if sequence:
            set_ranges(view, counters, changes, ranges.absorbed(name, sequence))

    return LoggedUpdate(work)
