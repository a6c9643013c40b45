"""What a store does about its ranges: which slots it owns, what is staged, and what is left over.

Rules, which every store keeps:

- operations, pages, counts, histogram and snapshots are of owned slots alone; operations and pages of those that aren't
  sealed. An operation on another one is refused with `WrongShard`, also one that was asked for before the ranges
  changed and is done after;
- what is staged counts against the limit, and what is left over doesn't. `used` has neither;
- hidden records aren't swept when they expire;
- what is left over is removed by `sweep`, through the log;
- of what is owned and may be given up soon, the counts are taken before, some records at a time; at a member of a
  group of replicas that had no time for all of it, the rest is counted behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.store_ranges import Origin, StoreRanges


class IRangedStore(Protocol):
    """A store that knows its ranges, which are saved with its records; `pyshard.protocol.store_ranges` decides."""

    @property
    def ranges(self) -> StoreRanges:
        """What its slots are. A new store owns all."""
        ...

    @property
    def all_counted(self) -> bool:
        """Whether all that is hidden is counted. Else what is told of documents and bytes has some of it, too.

        One of several replicas may be told to give up what it hasn't counted (`count_ahead`). Sweeps count it then.
        """
        ...

    def staged_documents(self, name: str) -> int:
        """How many documents a copy has, of which each counts once, however often it came; 0: there is no such copy."""
        ...

    def hold_large(self, seconds: float) -> None:
        """Begin no large change of anybody else for so long, since slots are closed meanwhile; 0: go on with them."""
        ...

    def own(self, ranges: SlotRanges) -> Deferred[None]:
        """Own exactly these ranges. Complete copies that lie in them are visible then; what they lack is left over.

        A store that followed another one (`IFollowedStore.origin`) follows nobody from then on.

        It takes some milliseconds for any number of records, as what is given up was counted ahead.

        :raises BadRequest: (in the Deferred) see `StoreRanges.owning`; or more than 1,000 records that are given up
            aren't counted; or the store is an incomplete copy of another one. Nothing has changed.
        """
        ...

    def count_ahead(self, ranges: SlotRanges, most: int) -> Deferred[bool]:
        """Count some of the records that the store would give up if it owned exactly these ranges.

        It is to be called until all of them are counted. The counts are kept right from then on, which costs a look at
        each of these records that changes, until the store gives up any of these slots, or others are counted. With
        the ranges that it owns, nothing is counted any more. One of several replicas counts for the group by which it
        will give them up, as a member or as the primary. What it has given up and not counted comes first.

        :param most: how many records at the most, with those that lie between them, so that no operation waits long.
        :return: a Deferred of whether there are more.
        """
        ...

    def stage(self, name: str, ranges: SlotRanges, origin: Origin) -> Deferred[None]:
        """Begin a copy of some ranges of another store.

        :param name: of the copy.
        :param origin: the other store, with the number 0.
        :raises BadRequest: (in the Deferred) see `StoreRanges.staging`; nothing has changed.
        """
        ...

    def unstage(self, name: str) -> Deferred[None]:
        """Give a copy up: its records are left over. There may be no such copy."""
        ...

    def seal(self, name: str, ranges: SlotRanges, attempt: int) -> Deferred[None]:
        """Serve some of the owned ranges no more, since they are about to move away; none of their records changes.

        What was asked for before and not done is refused as after it. After the group that says so, followers are given
        no changes of these slots, but for the removal of what has expired.

        :param name: of the move.
        :param attempt: its number, which rises.
        :raises BadRequest: (in the Deferred) see `StoreRanges.sealing`; nothing has changed.
        """
        ...

    def unseal(self, name: str) -> Deferred[None]:
        """Serve again what was sealed for a move, as far as the store owns it. There may be no such seal."""
        ...

    def absorb_staged(self, name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        """Have become of a copy's records what has become of them in the other store, and of nothing else.

        Indexes, text and ranges of the group, and records of other slots, are passed over; so are records of indexes
        that were dropped here. Versions of this store are above those of the group from then on.

        :param sequence: all groups up to this number are absorbed with this one; 0: pages of the copy are to come. It
            is saved with the records. A group with a lower number than the copy has is passed over: its records may
            be older than those that are here. One with the same number is put once more. So records that were found
            to differ after that group are put right.
        :param limit: bytes that what is owned and what is staged may take together.
        :raises BadRequest: (in the Deferred) there is no such copy, or a page comes to one that is complete.
        :raises ShardFull: (in the Deferred) the records need more room than there is; nothing was absorbed.
        :raises ShardBehind: (in the Deferred) a record is of an index that this store wasn't told of yet.
        :raises StorageFailed: (in the Deferred) as every change.
        """
        ...


class RangeChanges:
    """What of `IRangedStore` stores do alike: whatever a decision on their present ranges settles."""

    def change_ranges(self, decide: Callable[[StoreRanges], StoreRanges]) -> Deferred[None]:
        """Have other ranges, after all changes that were asked for before.

        :param decide: given the present ranges; what it raises fails the Deferred.
        """
        raise NotImplementedError

    def hold_large(self, seconds: float) -> None:
        """See `IRangedStore`: nothing is to be held where each change is made at once."""

    def stage(self, name: str, ranges: SlotRanges, origin: Origin) -> Deferred[None]:
        """See `IRangedStore`."""
        return self.change_ranges(lambda now: now.staging(name, ranges, origin))

    def unstage(self, name: str) -> Deferred[None]:
        """See `IRangedStore`."""
        return self.change_ranges(lambda now: now.unstaged(name))

    def seal(self, name: str, ranges: SlotRanges, attempt: int) -> Deferred[None]:
        """See `IRangedStore`."""
        return self.change_ranges(lambda now: now.sealing(name, ranges, attempt))

    def unseal(self, name: str) -> Deferred[None]:
        """See `IRangedStore`."""
        return self.change_ranges(lambda now: now.unsealed(name))
