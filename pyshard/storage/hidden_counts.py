"""What is counted of records that a store hides: those that are staged, or left over. Pure.

A store counts all records that it has. What it hides is counted once more, here, and subtracted from what anybody is
told. So records become visible, or hidden, without being counted anew: but for those of slots that were owned and are
left over now. These are counted ahead, some at a time, while they are owned (`IRangedStore.count_ahead`). A member of
a group of replicas is told when its primary gives them up, and may not have counted all of them: then it counts behind.

Each batch asks for these counts, and `stat` asks again and again. So sums of all indexes are kept beside those of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import attrs

from pyshard.errors import BadRequest
from pyshard.model.slot_ranges import SlotRanges, common, in_ranges, shown, union, without
from pyshard.protocol.store_ranges import LEFT, StoreRanges
from pyshard.storage.slot_histogram import BUCKET_BITS

#: Records that `own` looks at by itself, which takes some milliseconds; see `IRangedStore.count_ahead`.
MOST_AT_ONCE = 1000


@attrs.define
class Tally:
    """Counts of some records of one index.

    :param documents: how many there are.
    :param used: bytes that they count against the limit.
    :param buckets: bucket → documents.
    """

    documents: int = 0
    used: int = 0
    buckets: Counter[int] = attrs.field(factory=Counter)

    def add(self, slot: int, documents: int, used: int) -> None:
        """Count records of a slot, or count them no more."""
        self.documents += documents
        self.used += used
        self.buckets[slot >> BUCKET_BITS] += documents

    def merge(self, other: Tally) -> None:
        """Count what another one counts."""
        self.documents += other.documents
        self.used += other.used
        self.buckets.update(other.buckets)

    def take_away(self, other: Tally) -> None:
        """Count no more what another one counts."""
        self.documents -= other.documents
        self.used -= other.used
        self.buckets.subtract(other.buckets)

    def copy(self) -> Tally:
        """The same counts, for others to change."""
        return Tally(self.documents, self.used, self.buckets.copy())


#: Index id → the counts of it.
Tallies: TypeAlias = dict[int, Tally]


@attrs.define
class Area:
    """The counts of all records that are hidden for one reason.

    :param total: of all indexes together.
    :param indexes: of each.
    """

    total: Tally = attrs.field(factory=Tally)
    indexes: Tallies = attrs.field(factory=dict)

    @classmethod
    def of(cls, tallies: Tallies) -> Area:
        """The area of some counts by index, which it shares."""
        found = cls(indexes=tallies)
        for tally in tallies.values():
            found.total.merge(tally)
        return found

    def add(self, other: Area) -> None:
        """Count what another one counts, and change no tally that is shared."""
        self.total.merge(other.total)
        for index, tally in other.indexes.items():
            if index in self.indexes:
                both = self.indexes[index] = self.indexes[index].copy()
                both.merge(tally)
            else:
                self.indexes[index] = tally

    def copy(self) -> Area:
        """The same counts; the tallies of indexes are shared."""
        return Area(self.total.copy(), dict(self.indexes))


#: What gives index id, slot and used bytes of each record in some ranges.
Records = Callable[[SlotRanges], Iterable[tuple[int, int, int]]]


@attrs.define
class HiddenCounts:
    """The counts of all hidden records of a store.

    A copy shares the counts of its original, until one of both is to change them: then it copies what it changes.

    :param ranges: the store's ranges.
    :ivar uncounted: slots that are left over, of whose records none is counted here yet: `count_left` is to follow.
    """

    ranges: StoreRanges = attrs.field(factory=StoreRanges)
    _areas: dict[str, Area] = attrs.field(factory=dict)
    _shared: bool = False  # whether others have these areas, too
    _own: set[tuple[str, int]] = attrs.field(factory=set)  # area and index of the tallies that nobody else has
    uncounted: SlotRanges = ()

    def copy(self) -> HiddenCounts:
        """The same counts."""
        if self._areas:
            self._shared = True
        return HiddenCounts(self.ranges, self._areas, self._shared, uncounted=self.uncounted)

    def documents(self, index: int | None = None) -> int:
        """How many documents are hidden, in an index; None: in all."""
        if index is None:
            return sum(area.total.documents for area in self._areas.values())
        return sum(area.indexes[index].documents for area in self._areas.values() if index in area.indexes)

    def used(self, staged: bool = True) -> int:
        """How many bytes hidden records count.

        :param staged: whether those count that are staged.
        """
        if not self._areas:  # as nearly always
            return 0
        return sum(area.total.used for name, area in self._areas.items() if staged or name == LEFT)

    def staged(self, name: str) -> int:
        """How many documents are staged under a name, or left over."""
        return self._areas[name].total.documents if name in self._areas else 0

    @property
    def buckets(self) -> Sequence[Mapping[int, int]]:
        """Bucket → documents of what is hidden, for each reason."""
        return [area.total.buckets for area in self._areas.values()]

    def note(self, index: int, slot: int, documents: int, used: int) -> None:
        """Records were put or removed; those of a slot that isn't hidden aren't counted here.

        :param documents: how many more there are of the index and slot.
        :param used: how many more bytes they count.
        """
        name = self.ranges.hides(slot) if self._areas else None
        if name is not None and not (self.uncounted and in_ranges(slot, self.uncounted)):
            self._have_own_areas()
            area = self._areas[name]
            area.total.add(slot, documents, used)
            if (name, index) not in self._own:
                self._own.add((name, index))
                area.indexes[index] = area.indexes[index].copy() if index in area.indexes else Tally()
            area.indexes[index].add(slot, documents, used)

    def drop_index(self, index: int) -> None:
        """Forget what is counted of an index: its records are those of a dropped one now."""
        if any(index in area.indexes for area in self._areas.values()):
            self._have_own_areas()
            for area in self._areas.values():
                if index in area.indexes:
                    area.total.take_away(area.indexes.pop(index))

    def set_ranges(self, new: StoreRanges, records: Records, given_up: Tallies | None = None) -> None:
        """The store's ranges are others now.

        :param records: what is counted anew: what begins to be staged.
        :param given_up: the counts of all that was owned and is left over now; None: they follow (`uncounted`).
        """
        old, areas = self.ranges, self._areas
        if old.left == new.left and _staged(old) == _staged(new):
            self.ranges = new
            return
        counted: dict[str, Area] = {}
        had = union(old.owned, old.hidden)  # elsewhere are no records
        for name, staging in new.staged.items():
            known = old.staged.get(name)
            same = known is not None and known.ranges == staging.ranges
            begun = () if same else common(staging.ranges, had)  # nothing, but where a copy replaces what was there
            if same:
                counted[name] = areas.get(name) or Area()
            else:
                counted[name] = Area.of(tallies_of(records(begun) if begun else ()))
        ended = {name: staging for name, staging in old.staged.items() if name not in new.staged}
        known_left = {LEFT: old.left} | {name: staging.ranges for name, staging in ended.items()}
        known_left = {name: each for name, each in known_left.items() if each and not without(each, new.left)}
        rest = without(new.left, union(*known_left.values()))
        if new.left:
            counted[LEFT] = Area()
            for area in (*(areas[name] for name in known_left if name in areas), Area.of(given_up or {})):
                counted[LEFT].add(area)
        self.uncounted = common(union(self.uncounted, rest if given_up is None else ()), new.left)
        self.ranges, self._areas = new, counted
        self._shared, self._own = True, set()

    def count_left(self, tallies: Tallies) -> None:
        """Take the counts of all records in the slots that were `uncounted`."""
        self._have_own_areas()
        self._areas[LEFT].add(Area.of(tallies))
        self.uncounted = ()

    def nothing_is_left(self) -> bool:
        """Whether no record is left over, so that `left` may be nothing."""
        return not self.uncounted and (LEFT not in self._areas or not self._areas[LEFT].total.documents)

    def _have_own_areas(self) -> None:
        """Have areas of one's own, to change them; the tallies in them may still be others', too."""
        if self._shared:
            self._areas = {name: area.copy() for name, area in self._areas.items()}
            self._shared, self._own = False, set()


def _staged(ranges: StoreRanges) -> dict[str, SlotRanges]:
    """Which ranges are staged, by name."""
    return {name: staging.ranges for name, staging in ranges.staged.items()}


def not_counted(ranges: SlotRanges) -> BadRequest:
    """The refusal of `own` to give up ranges of which it would have to count too many records."""
    return BadRequest(
        f"owned: found more than {MOST_AT_ONCE:,} records in {shown(ranges)}, which are to be given up and aren't "
        "counted yet; count them ahead, then try again"
    )


def tallies_of(records: Iterable[tuple[int, int, int]]) -> Tallies:
    """The counts of some records: index id, slot and used bytes of each."""
    found: Tallies = {}
    for index, slot, used in records:
        found.setdefault(index, Tally()).add(slot, 1, used)
    return found


def merged(several: Iterable[Mapping[int, Tally]]) -> Tallies:
    """Several counts together, in new tallies."""
    found: Tallies = {}
    for tallies in several:
        for index, tally in tallies.items():
            if index in found:
                found[index].merge(tally)
            else:
                found[index] = tally.copy()
    return found
