"""Updates of a durable store that change its ranges, or absorb what another store has. See `IRangedStore`.

Each is decided by what the store is when its group is made, in the writer's thread. So a batch that waited longer than
the change is refused what isn't owned any more (`pyshard.storage.batch_executor`).
"""

from __future__ import annotations

from collections.abc import Callable

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.store_ranges import NOBODY, Origin, StoreRanges
from pyshard.storage.absorbed_groups import is_absorbed, records_for, refuse_incomplete, refuse_past_limit
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.given_up_counts import CountsAhead
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.hidden_records import free_what_is_empty, set_ranges
from pyshard.storage.durable.log_changes import logged_group
from pyshard.storage.durable.logged_and_direct_updates import LoggedUpdate
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.durable.replay import replay, set_origin
from pyshard.storage.hidden_counts import MOST_AT_ONCE, Tallies, not_counted
from pyshard.storage.version_bound import refuse_group_ahead


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


def counting(ahead: CountsAhead, ranges: SlotRanges, most: int) -> LoggedUpdate:
    """Count some of what would be given up; see `IRangedStore.count_ahead`."""

    def work(view: MergedView, counters: Counters, _: GroupChanges) -> bool:
        if counters.hidden.uncounted:
            return True  # sweeps count that first
        return not ahead.count(view.before_newest(), counters, counters.hidden.ranges.given_up(ranges), most)

    return LoggedUpdate(work)


def owning(ahead: CountsAhead, ranges: SlotRanges) -> LoggedUpdate:
    """Own exactly these ranges, and follow nobody any more; see `IRangedStore.own`."""

    def work(view: MergedView, counters: Counters, changes: GroupChanges) -> None:
        now = counters.hidden.ranges
        new = now.owning(ranges)
        refuse_incomplete(counters.origin)
        if new != now:
            counted: Tallies = {}
            if given_up := now.given_up(ranges):
                if not ahead.count(view.before_newest(), counters, given_up, MOST_AT_ONCE):
                    raise not_counted(given_up)
                counted = ahead.counted(ahead.difference(view, changes.records), counters)
            set_ranges(view, counters, changes, new, counted)
            free_what_is_empty(view, counters, changes)
        if counters.follows:
            set_origin(counters, changes, NOBODY)

    return LoggedUpdate(work)


def absorbing(ahead: CountsAhead, group: ChangeGroup, origin: Origin | None, seconds: float) -> LoggedUpdate:
    """Do all that a group did elsewhere; see `IFollowedStore.absorb`.

    :param seconds: the time since 1970.
    """

    def work(view: MergedView, counters: Counters, changes: GroupChanges) -> None:
        if origin is not None and is_absorbed(counters.origin, origin):
            return
        refuse_group_ahead(group, seconds)
        replay(view, counters, changes, logged_group(group), ahead)
        if origin is not None:
            set_origin(counters, changes, origin)

    return LoggedUpdate(work)


def absorbing_staged(name: str, group: ChangeGroup, sequence: int, limit: int, seconds: float) -> LoggedUpdate:
    """Have the records of a copy as a group has them; see `IRangedStore.absorb_staged`.

    :param seconds: the time since 1970.
    """

    def work(view: MergedView, counters: Counters, changes: GroupChanges) -> None:
        refuse_group_ahead(group, seconds)
        ranges = counters.hidden.ranges
        wanted = records_for(ranges, name, group, sequence, counters.documents, counters.next_index)
        if wanted is None:
            return
        used = counters.used
        replay(view, counters, changes, logged_group(ChangeGroup(0, 0, group.version, wanted)))
        refuse_past_limit(name, counters.used_of_limit, counters.used - used, limit)
        if sequence:
            set_ranges(view, counters, changes, ranges.absorbed(name, sequence, group.ranges))

    return LoggedUpdate(work, replaceable=not sequence)
