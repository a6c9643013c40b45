"""Puts right some buckets of a complete copy that differ from its source.

How it is done, and why so:

- The source's rows are those of a digest of just these slots (`pyshard.shard.served_digests`). It is a view of all rows
  after one group, as a copy is. But a copy would move the follower's place in the log, and what changed before would be
  lost to it.
- The target is exactly there: it has all groups up to that one, and takes none behind it until these rows are right.
  What changes meanwhile waits in the source's log. Rows of another moment couldn't be put among the groups, since a
  record that is removed has no version: an older row could come over a newer one, or bring back what was removed.
- The changes have the number of that group. A store that is past it passes them over (`IRangedStore.absorb_staged`).
- Only what differs is changed, and nothing is removed to be put again. So each change makes one row right, by itself. A
  target that ends at any time has a copy in which some rows are right, and others as wrong as before. The next process
  compares it before it says that it is complete.
- When a view ends too early, what it has brought stays, and all rows of these slots are read once more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.shard.copy_verdict import indexes_of_both
from pyshard.shard.digest_slices import row_slice
from pyshard.shard.followed_shard import FollowedShard
from pyshard.shard.paced_turns import PacedTurns
from pyshard.shard.row_differences import RowDifferences
from pyshard.shard.store_view import open_view
from pyshard.storage import IStore

#: Takes rows as the source had them after a group, whose head is given, and waits until they are safe.
TakeRows = Callable[[ChangeGroup, list[Change]], Awaitable[None]]


@attrs.frozen
class RepairedRows:
    """What was done to a copy.

    :param put: rows that were lacking, or other ones.
    :param removed: rows that the source hasn't.
    """

    put: int
    removed: int


async def repair(
    store: IStore, ranges: SlotRanges, source: FollowedShard, head: ChangeGroup, turns: PacedTurns, take: TakeRows
) -> RepairedRows:
    """Have a store's rows of some slots be those of the source. The store has all groups up to the head's, none behind.

    :param store: has the copy.
    :param ranges: the slots.
    :param source: has a digest of them open.
    :param head: of that.
    :param turns: in which the store's rows are read, so that its clients don't wait for it.
    :param take: puts rows into the store.
    :raises SnapshotEnded: the view of either side has ended; some rows may be right, and all must be fetched once more.
    :raises PyshardError: one of the stores failed, or has no room.
    """
    differences = await _own_rows(store, ranges, head, turns)
    put = 0
    while page := await source.digest_rows():
        if rows := differences.to_put(page):
            await take(head, rows)
            put += len(rows)
    if rows := differences.to_remove():
        await take(head, rows)
    return RepairedRows(put, len(rows))


async def _own_rows(store: IStore, ranges: SlotRanges, head: ChangeGroup, turns: PacedTurns) -> RowDifferences:
    """The store's rows; its view is closed before anything changes, since a map that must grow would end it."""
    view = await open_view(store, ranges)
    try:
        differences = RowDifferences(indexes_of_both(view.head, head))
        while (page := row_slice(view)) != []:
            differences.add_own(page or ())
            await turns.next()
    finally:
        view.close()
    return differences
