"""A range goes from one store to another, and back, while both change: by copy, groups and ranges alone.

The histories are random and always the same. What is between the stores, and decides when, is the test.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from storage.followers.following import bring_to_the_disk, everything
from stores import PLENTY, Bench, check_consistent, folder, weight
from twisted.internet.task import Clock

from pyshard.errors import FollowerBehind, SnapshotEnded
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import SlotRanges, common, in_ranges, union, without
from pyshard.protocol.batch_answers import ITEM
from pyshard.protocol.batch_operations import Pop, ReadItem, Run, Touch, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.store_ranges import Origin
from pyshard.storage import ICopy, LmdbStore

KEYS = [b"%d" % each for each in range(24)] + [b"long" * 200]
HALF: SlotRanges = ((0, SLOTS // 2),)
OTHER: SlotRanges = ((SLOTS // 2, SLOTS),)
MOVING: list[SlotRanges] = [((0, 2_000_000),), ((1_500_000, 3_000_000), (4_000_000, 6_000_000)), ((7_000_000, SLOTS),)]


class Moving:
    """Two stores, and what both have together.

    :ivar expected: key → record and expiry, of all that was ever acknowledged and not removed.
    :ivar versions: key → the last version that was seen of it.
    :ivar seen: what has happened, how often.
    """

    def __init__(self, kinds: tuple[str, str], path: Path, random: Random, seen: Counter[str]) -> None:
        self.random = random
        self.seen = seen
        self.clock = Clock()
        self.stores: list[Bench] = []
        for number, kind in enumerate(kinds):
            (path / str(number)).mkdir()
            self.stores.append(Bench(kind, path / str(number), self.clock))
        for bench, ranges in zip(self.stores, (HALF, OTHER), strict=True):
            bench.result(bench.store.own(ranges))
        self.expected: dict[bytes, tuple[bytes, int]] = {}
        self.versions: dict[bytes, int] = {}
        self.written: set[bytes] = set()  # since they were last seen
        self.may_restart = False  # not while a copy is read

    def change(self) -> None:
        """A batch to each store, with the keys that it owns."""
        for bench in self.stores:
            owned = [key for key in KEYS if in_ranges(slot_of(key), bench.store.ranges.owned)]
            keys = self.random.sample(owned, min(len(owned), 3))
            record, ttl = self.random.randbytes(self.random.choice([4, 60])), self.random.choice([0, 0, 50_000])
            runs: list[Run] = [Write("", keys, [record] * len(keys), None, [ttl] * len(keys))]
            if self.random.random() < 0.3:
                runs = [Pop("", keys)]
            elif self.random.random() < 0.2:
                runs = [Touch("", keys, [ttl] * len(keys))]
            bench.applied(*runs)
            for key in keys:
                had = self.expected.pop(key, None)
                if isinstance(runs[0], Write):
                    self.written.add(key)
                    self.expected[key] = record, bench.now + ttl if ttl else 0
                elif isinstance(runs[0], Touch) and had:
                    self.expected[key] = had[0], bench.now + ttl if ttl else 0

    def move(self, source: Bench, target: Bench, wanted: SlotRanges) -> None:
        """Move what the source owns of some ranges; where a store restarts in between, it goes on, or begins anew."""
        ranges = common(wanted, source.store.ranges.owned)
        if not ranges:
            return
        origin = self.begin(source, target, ranges)
        while True:
            staging = target.store.ranges.staged.get("m")
            if (source.store.identity, source.store.incarnation) != (origin.identity, origin.incarnation):
                origin = self.begin(source, target, ranges)
            elif staging is None or not staging.origin.sequence:
                self.copy(source, target, ranges)
            elif staging.origin.sequence == source.store.sequence:
                break
            else:
                self.follow(source, target, ranges, staging.origin.sequence)
        left = without(source.store.ranges.owned, ranges)
        target.result(target.store.own(union(target.store.ranges.owned, ranges)))
        source.result(source.store.own(left))
        source.store.forget("m")
        self.seen["moved"] += 1

    def begin(self, source: Bench, target: Bench, ranges: SlotRanges) -> Origin:
        """Begin with a copy that is empty."""
        target.result(target.store.unstage("m"))
        target.sweep(5)
        origin = Origin(source.store.identity, source.store.incarnation)
        target.result(target.store.stage("m", ranges, origin))
        self.seen["begun"] += 1
        return origin

    def copy(self, source: Bench, target: Bench, ranges: SlotRanges) -> None:
        """Read a whole copy, while both stores change."""
        copy = source.result(source.store.copy("m", ranges))
        head = copy.head
        target.result(target.store.absorb_staged("m", head, 0, PLENTY))
        while (page := self.page_of(copy)) != []:
            if page is None:
                self.begin(source, target, ranges)
                return
            target.result(target.store.absorb_staged("m", ChangeGroup(head.sequence, 0, head.version, page), 0, PLENTY))
            self.meanwhile(source, target)
            if self.random.random() < 0.05:  # what is staged is incomplete, so another copy begins from nothing
                copy.close()
                self.begin(source, target, ranges)
                return
        copy.close()
        target.result(
            target.store.absorb_staged("m", ChangeGroup(head.sequence, 0, head.version, []), head.sequence, PLENTY)
        )

    def page_of(self, copy: ICopy) -> list[Change] | None:
        """The next page; None: the store had to end the copy."""
        while True:
            try:
                page = copy.page(150)
            except SnapshotEnded:
                self.seen["ended"] += 1
                return None
            if page is not None:
                return page

    def follow(self, source: Bench, target: Bench, ranges: SlotRanges, after: int) -> None:
        """Absorb some groups, now and then one twice; or begin anew if they aren't kept."""
        try:
            follower = source.store.follow("m", after, ranges)
            bring_to_the_disk(source)
            groups = source.result(follower.groups(self.random.choice([1, 2000])))
        except FollowerBehind:
            self.begin(source, target, ranges)
            return
        for group in groups:
            for _ in range(self.random.choice([1, 1, 2])):
                target.result(target.store.absorb_staged("m", group, group.sequence, PLENTY))
        follower.close()
        if self.random.random() < 0.9:
            self.may_restart = True
            self.meanwhile(source, target)
            self.may_restart = False

    def meanwhile(self, source: Bench, target: Bench) -> None:
        """Something happens: changes, a sweep, a restart."""
        what = self.random.choices(["change", "sweep", "wait", "restart"], [8, 3, 1, 4])[0]
        self.seen[what] += 1
        if what == "change":
            self.change()
        elif what == "sweep":
            for bench in (source, target):
                bench.result(bench.store.sweep(4))
        elif what == "wait":
            self.clock.advance(0.2)
        self.check()
        bench = self.random.choice((source, target))
        if what == "restart" and bench.durable and self.may_restart:
            bench.killed = self.random.random() < 0.5
            bench.restart()
            self.seen["restarted"] += 1
            self.check()

    def check(self) -> None:
        """Both stores together show exactly what they must, each key once, and versions never fall."""
        now = self.stores[0].now
        shown: Counter[bytes] = Counter()
        for bench in self.stores:
            owned = bench.store.ranges.owned
            for key, found in zip(KEYS, bench.applied(ReadItem("", KEYS))[0], strict=True):
                if not in_ranges(slot_of(key), owned):
                    assert found == "WRONG_SHARD"
                    continue
                shown[key] += 1
                expected = self.expected.get(key)
                if expected is None or 0 < expected[1] <= now:
                    assert found is None
                    continue
                assert isinstance(found, bytes)
                version, expires, _ = ITEM.unpack_from(found)
                assert (found[ITEM.size :], expires) == expected
                assert version > self.versions.get(key, 0) if key in self.written else version == self.versions[key]
                self.versions[key] = version
        self.written = set()
        assert shown == Counter(KEYS)
        assert union(*(bench.store.ranges.owned for bench in self.stores)) == ((0, SLOTS),)

    def check_counts(self) -> None:
        """When all is swept, both count what they show, and have nothing else."""
        now = self.stores[0].now
        live = {key: value for key, value in self.expected.items() if not 0 < value[1] <= now}
        for bench in self.stores:
            bench.sweep(5)
            if isinstance(bench.store, LmdbStore):
                check_consistent(bench.store)
        assert sum(bench.store.documents for bench in self.stores) == len(live)
        used = sum(weight(key, record, expires) for key, (record, expires) in live.items())
        assert sum(bench.store.used for bench in self.stores) == used
        assert sum(len(everything(bench)[0]) for bench in self.stores) == len(live)
        assert sum(sum(bench.store.histogram(0, SLOTS, 9)) for bench in self.stores) == len(live)
        for bench in self.stores:
            keys = [key for key in live if in_ranges(slot_of(key), bench.store.ranges.owned)]
            assert bench.scan() == bench.in_order(keys)

    def close(self) -> None:
        """Close both."""
        for bench in self.stores:
            bench.close()


@pytest.mark.parametrize(
    "kinds",
    [("memory", "memory"), ("memory", "lmdb with a small map"), ("lmdb", "lmdb with a small map")],
    ids=" and ".join,
)
def test_ranges_that_move_to_and_fro(kinds: tuple[str, str]) -> None:
    """Nothing is lost, nothing is there twice, versions rise, and counts are those of a full count."""
    seen: Counter[str] = Counter()
    for seed in range(40):
        random = Random(seed)
        with folder() as path:
            moving = Moving(kinds, path, random, seen)
            try:
                for _ in range(3):
                    moving.change()
                for _ in range(4):
                    source, target = random.sample(moving.stores, 2)
                    moving.move(source, target, random.choice(MOVING))
                    moving.check()
                    for bench in moving.stores:
                        bench.sweep(5)
                    moving.change()
                moving.check_counts()
            except BaseException as error:
                error.add_note(f"seed: {seed}")
                raise
            moving.close()
    whats = ["moved", "begun", "change", "sweep", "wait", *(["restarted"] if "memory" not in kinds else [])]
    assert min(seen[what] for what in whats) > 10
