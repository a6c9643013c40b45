"""A store that is followed, and another one that absorbs what it is given."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from stores import Bench, at_once
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.errors import FollowerBehind
from pyshard.model.key_slots import SLOTS
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage import IFollower, IStore, LmdbStore
from pyshard.storage.durable.logged_and_direct_updates import LoggedUpdate

#: What a store has: its records, names of indexes, the remembered text, its ranges, the last version, and what it
#: counts of what can be seen.
Everything: TypeAlias = tuple[
    list[Change], dict[str, int], bytes | None, StoreRanges | None, int, dict[str, int], int, list[int]
]


class Following:
    """A source, and a target that follows it.

    :param kind: of the source; see `stores.KINDS`.
    :param target_kind: of the target.
    :param ranges: the slots that the target wants; None: all.
    :ivar place: the number of the last group that the target has; None: it has to begin with a copy.
    """

    def __init__(self, kind: str, target_kind: str, path: Path, ranges: SlotRanges | None = None) -> None:
        clock = Clock()
        (path / "source").mkdir()
        (path / "target").mkdir()
        self.path = path
        self.source = Bench(kind, path / "source", clock)
        self.ranges = ranges
        self.place: int | None = None
        self._targets = 0
        self._target_kind = target_kind
        self._clock = clock
        self._follower: IFollower[ChangeGroup] | None = None
        self.target = self._new_target()

    def _new_target(self) -> Bench:
        """An empty target."""
        self._targets += 1
        folder = self.path / "target" / str(self._targets)
        folder.mkdir()
        return Bench(self._target_kind, folder, self._clock)

    def copy(self, most_bytes: int = 100) -> None:
        """Begin the target anew, with a copy."""
        if self.place is not None:
            self.target.close()
            self.target = self._new_target()
        source, target = self.source, self.target
        copy = source.result(source.store.copy("f", self.ranges))
        target.result(target.store.absorb(copy.head))
        while (page := copy.page(most_bytes)) != []:
            head = copy.head
            group = ChangeGroup(head.sequence, head.ballot, head.version, page or [])
            target.result(target.store.absorb(group))
        copy.close()
        self.place = copy.head.sequence
        self._follower = None

    def catch_up(self, most_bytes: int = 1000) -> None:
        """Absorb all groups that there are; begin with a copy if need be."""
        if self.place is None:
            self.copy()
        try:
            while self.place != self.source.store.sequence:
                self.absorb_some(most_bytes)
        except FollowerBehind:
            self.copy()
            self.catch_up(most_bytes)

    def absorb_some(self, most_bytes: int) -> None:
        """Absorb the next groups, of which there is one at least."""
        assert self.place is not None
        if self._follower is None:
            self._follower = self.source.store.follow("f", self.place, self.ranges)
        bring_to_the_disk(self.source)
        groups = self.source.result(self._follower.groups(most_bytes))
        for group in groups:
            assert group.sequence > self.place
            self.target.result(self.target.store.absorb(group))
            self.place = group.sequence
        self._follower.confirm(self.place)

    def interrupted(self) -> None:
        """The follower's connection was lost, or a daemon restarted."""
        self._follower = None

    def close(self) -> None:
        """Close both."""
        self.source.close()
        self.target.close()


def bring_to_the_disk(bench: Bench) -> None:
    """Have all groups be safe, as they are a second later in any case."""
    if isinstance(bench.store, LmdbStore):
        bench.store._engine._last_sync = -1e9
        bench.result(bench.store._writer.submit(LoggedUpdate(lambda *_: None)))


def waiting_for(deferred: Deferred[list[ChangeGroup]]) -> list[object]:
    """What a Deferred gives, when it does."""
    found: list[object] = []
    deferred.addBoth(found.append)
    return found


def everything(bench: Bench, ranges: SlotRanges | None = None) -> Everything:
    """What a store has once the records of dropped indexes are swept away; expired records, too."""
    store: IStore = bench.store
    copy = bench.result(store.copy("everything", ranges))
    records: list[Change] = []
    while (page := copy.page(1 << 20)) != []:
        records += page or []
    copy.close()
    store.forget("everything")
    records.sort(key=lambda change: (change.index, change.slot, change.key))
    indexes = copy.head.indexes
    assert indexes is not None
    counts = {name: store.count(number) for name, number in {"": 0, **indexes}.items()}
    assert all(in_ranges(change.slot, ranges) for change in records)
    counts_of_all = (counts, store.used, store.histogram(0, SLOTS, 5))
    return records, indexes, copy.head.text, copy.head.ranges, copy.head.version, *counts_of_all


def sweep_dropped(bench: Bench) -> None:
    """Sweep away records of dropped indexes; what has expired isn't to be swept: time stands still."""
    clock, now = bench.clock, bench.clock.rightNow
    clock.rightNow = 0.0
    for _ in range(1000):
        if not bench.result(bench.store.sweep(50)):
            break
    clock.rightNow = now


__all__ = ["Following", "at_once", "everything", "sweep_dropped"]
