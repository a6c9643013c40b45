"""A durable store under random changes, on a disk that may fail or lose its power; and what it must have then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import attrs
from disks import Disk, Stopped
from stores import PLENTY, START, at_once, check_consistent, task
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.errors import BadRequest, FollowerBehind, StorageFailed
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import EVERYTHING, in_ranges, union, without
from pyshard.protocol.batch_answers import VERSION
from pyshard.protocol.batch_operations import Pop, Read, Run, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.store_ranges import Origin, StoreRanges
from pyshard.storage import DataDirectory, Durability, LmdbStore, Task
from pyshard.storage.durable.log_changes import change_of

THIRD = Origin("1d", "2e")


@attrs.frozen
class Bare:
    """What a store has, but for versions.

    :param records: key → record of what can be seen.
    :param text: what it remembers.
    :param ranges: what it owns, and what is staged. What is left over goes by and by.
    :param staged: key → record of what is staged.
    :param index: the id of the named index.
    :param pages: key → record of what can be seen in the named index.
    """

    records: dict[bytes, bytes]
    text: bytes | None = None
    ranges: StoreRanges = StoreRanges()  # noqa: RUF009  # it is frozen
    staged: dict[bytes, bytes] = attrs.field(factory=dict)
    index: int = 0
    pages: dict[bytes, bytes] = attrs.field(factory=dict)

    def with_ranges(self, ranges: StoreRanges) -> Bare:
        """With other ranges: what was staged may be seen now, and what was seen may be gone."""
        both = self.records | self.staged
        return Bare(
            {key: record for key, record in both.items() if in_ranges(slot_of(key), ranges.owned)},
            self.text,
            StoreRanges(ranges.owned, ranges.staged),
            self.staged if ranges.staged else {},
            self.index,
            {key: record for key, record in self.pages.items() if in_ranges(slot_of(key, b"pages"), ranges.owned)},
        )

    def without(self, expired: set[bytes]) -> Bare:
        """Without some records that have expired."""
        left = [{k: one for k, one in each.items() if one not in expired} for each in (self.records, self.pages)]
        return attrs.evolve(self, records=left[0], pages=left[1])


@attrs.frozen
class Contents:
    """What a store has: key → version and record; the last version; and all else."""

    records: dict[bytes, bytes]
    version: int
    bare: Bare

    def without(self, expired: set[bytes]) -> Contents:
        """Without some records that have expired."""
        left = {key: stored for key, stored in self.records.items() if stored[VERSION.size :] not in expired}
        return Contents(left, self.version, self.bare.without(expired))


KEYS = [b"a", b"b", b"c", b"d", b"long" * 200]

#: Some keys lie below this slot, some above.
MIDDLE = sorted(map(slot_of, KEYS))[2]


class StoreHistory:
    """A store, and what it must have.

    :ivar seen: what has happened, how often.
    :ivar states: what it had after each change, from the last one on that must be there whatever happens.
    :ivar given: number → group of changes, of all that a follower was ever given.
    :ivar doubtful: what it may have instead, without versions, for nobody was told that it has, or hasn't for good. A
        later change or commit decides it, whatever becomes of that one.
    """

    store: LmdbStore

    def __init__(self, path: Path, disk: Disk, random: Random, seen: Counter[str]) -> None:
        self._path = path
        self._disk = disk
        self._random = random
        self._clock = Clock()
        self._clock.advance(START)
        self._durability = random.choice([Durability.FSYNC, Durability.FSYNC, Durability.ASYNC, Durability.NONE])
        self._danger = random.choice([0, 0.02, 0.1])
        self._trouble = random.choice([0, 0.1, 0.3])
        self._power_failed = False  # since the last start
        self.seen = seen
        self.given: dict[int, ChangeGroup] = {}
        self._expiring: dict[bytes, float] = {}  # record → when it expires
        self._last_index = 0  # its id
        self._places = [0]  # numbers from which on somebody may follow
        self.states = [Contents({}, START * 1_000_000, Bare({}))]
        self.doubtful: list[Bare] = []

    def run(self, steps: int) -> None:
        """Start, do so many steps, and check once more."""
        self.start()
        for _ in range(steps):
            does = self._random.choices(
                [self.change, self.remember, self.rearrange, self.drop, self.sweep, self.follow, self.stop],
                [10, 1, 4, 2, 4, 5, 2],
            )[0]
            self._disk.danger, self._disk.trouble = self._danger, self._trouble
            try:
                does()
            except StorageFailed:
                self.seen["failed"] += 1
            except Stopped:
                self.stop()
        self.stop()
        self.close()

    def change(self) -> None:
        """One batch with a few writes and removals."""
        runs: list[Run] = []
        tasks: list[Task] = []
        last = self.states[-1].bare
        after, pages = dict(last.records), dict(last.pages)
        owned = [key for key in KEYS if in_ranges(slot_of(key), last.ranges.owned)]
        for key in self._random.sample(owned, min(len(owned), self._random.randint(1, 3))):
            if self._random.random() < 0.3:
                runs.append(Pop("", [key]))
                after.pop(key, None)
            else:
                after[key], ttl = self.record()
                runs.append(Write("", [key], [after[key]], None, ttl))
        for key in KEYS:
            slot = slot_of(key, b"pages")
            if last.index and in_ranges(slot, last.ranges.owned) and self._random.random() < 0.3:
                pages[key], ttl = self.record()
                tasks.append(Task(Write("pages", [key], [pages[key]], None, ttl), last.index, [slot]))
        if (after, pages) == (last.records, last.pages):
            return
        self.ask(
            lambda: self.store.apply([*map(task, runs), *tasks], PLENTY, PLENTY),
            attrs.evolve(last, records=after, pages=pages),
            self._durability is Durability.FSYNC,
        )

    def record(self) -> tuple[bytes, list[int] | None]:
        """A new record, and its times to live."""
        record = self._random.randbytes(8).ljust(self._random.choice([8, 50, 600, 2000]), b".")
        if self._random.random() < 0.7:
            return record, None
        ttl = self._random.choice([1, 5])
        self._expiring[record] = self._clock.seconds() + ttl
        return record, [ttl * 1000]

    def drop(self) -> None:
        """The named index is dropped, and made anew with another id: synced in every mode."""
        self._last_index += 1
        number = self._last_index
        after = attrs.evolve(self.states[-1].bare, index=number, pages={})
        self.ask(lambda: self.store.set_indexes({"pages": number}), after)
        self.seen["dropped"] += 1

    def remember(self) -> None:
        """Something that is synced in every mode, with all before it."""
        text = self._random.randbytes(4)
        self.ask(lambda: self.store.remember(text), attrs.evolve(self.states[-1].bare, text=text))

    def rearrange(self) -> None:
        """The store's ranges change, or a copy gets records: synced in every mode, but for a copy's first rows."""
        store, ranges, last = self.store, self.store.ranges, self.states[-1].bare
        free = without(EVERYTHING, union(ranges.owned, ranges.hidden))
        what = self._random.choice(["own", "own", "stage", "absorb", "unstage"])
        if ranges.staged and self._random.random() < 0.7:
            what = self._random.choice(["copy", "copy", "copy", "copy", "absorb"])
        elif free and self._random.random() < 0.9:
            what = "stage"
        try:
            if what == "own":
                wanted = self._random.choice([EVERYTHING, ((0, MIDDLE),), ((MIDDLE, SLOTS),), ()])
                after = last.with_ranges(ranges.owning(wanted))
                self.ask(lambda: store.own(wanted), after)
            elif what == "stage":
                after = last.with_ranges(ranges.staging("m", free, THIRD))
                self.ask(lambda: store.stage("m", free, THIRD), after)
            elif what in ("copy", "absorb") and ranges.staged:
                key, record = self._random.choice(KEYS), self._random.randbytes(8)
                staging = ranges.staged["m"]
                done = 0 if what == "copy" and not staging.origin.sequence else staging.origin.sequence + 1
                group = ChangeGroup(1, 0, done + 1, [Change(0, slot_of(key), key, done + 1, 0, record)])
                after = attrs.evolve(
                    last, staged=last.staged | ({key: record} if in_ranges(slot_of(key), staging.ranges) else {})
                )
                if done:
                    after = after.with_ranges(ranges.absorbed("m", done))
                self.ask(lambda: store.absorb_staged("m", group, done, PLENTY), after, sure=done > 0)
                if not done:
                    self.seen["a row before the copy is complete"] += 1
            else:
                self.ask(lambda: store.unstage("m"), last.with_ranges(ranges.unstaged("m")))
        except BadRequest:
            self.seen["refused"] += 1
        else:
            self.seen["rearranged"] += 1

    def ask(self, ask: Callable[[], Deferred[Any]], after: Bare, sure: bool = True) -> None:
        """Ask for a change.

        :param after: what the store has then.
        :param sure: whether it is synced, with all before it, if it changes anything.
        """
        before = self.store.sequence
        try:
            at_once(ask())
        except (StorageFailed, Stopped) as error:
            refused = isinstance(error, StorageFailed) and not self.store._engine.log.broken
            self.doubtful = [] if refused else [after]
            raise
        self.done(sure and self.store.sequence > before)
        assert self.states[-1].bare == after

    def sweep(self) -> None:
        """Time passes, and a sweep is done, of few records at a time."""
        self._clock.advance(1)
        expired = {record for record, expires in self._expiring.items() if expires <= self._clock.seconds()}
        self.states = [state.without(expired) for state in self.states]
        self.doubtful = [bare.without(expired) for bare in self.doubtful]
        if at_once(self.store.sweep(self._random.choice([1, 3, 10]))):
            self.seen["more to sweep"] += 1

    def follow(self) -> None:
        """Somebody follows from some place on: each group has what it had whenever somebody was given it."""
        try:
            follower = self.store.follow("f", self._random.choice(self._places))
        except FollowerBehind:
            self.seen["behind"] += 1
            self._places = [self.store.sequence]
            return
        found: list[list[ChangeGroup]] = []
        follower.groups(1 << 20).addCallbacks(found.append, lambda failure: failure.trap(StorageFailed, FollowerBehind))
        for group in found[0] if found else ():
            assert self.given.setdefault(group.sequence, group) == group
            self._places.append(group.sequence)
            self.seen["given"] += 1
        follower.close()

    def done(self, sure: bool) -> None:
        """Something was acknowledged."""
        self.states = [*([] if sure else self.states), self.contents()]
        self.doubtful = []

    def stop(self) -> None:
        """The power fails, or the process is killed."""
        power = self._random.random() < 0.7
        self._power_failed |= power
        self.close(power)
        self.start()

    def close(self, power: bool = False) -> None:
        """Close what a process that ends closes."""
        self._disk.stop(power)
        self.store._engine.environment.close()
        self._directory.close()

    def start(self) -> None:
        """Open the store, and check that it has what it must."""
        self._disk.danger, self._disk.trouble = self._danger, 0
        self._directory = DataDirectory(self._path)
        try:
            self.store = LmdbStore(self._directory, self._clock.seconds, None, self._durability, most_changed=3)
        except Stopped:
            self._directory.close()
            power = self._random.random() < 0.7
            self._power_failed |= power
            self._disk.stop(power)
            self.start()
            return
        self.check()
        self._power_failed = False

    def contents(self) -> Contents:
        """What the store has."""
        (answer,) = at_once(self.store.apply([task(Read("", KEYS))], PLENTY, PLENTY))
        found = zip(KEYS, answer.results, strict=True)
        records = {key: stored for key, stored in found if isinstance(stored, bytes)}
        ranges = self.store.ranges
        with self.store._engine.reading() as view:
            every = [change_of(db_key, value) for db_key, value in view.between(b"", b"\xff" * 600)]
        staged = {each.key: each.record or b"" for each in every if not each.index and ranges.hides(each.slot) == "m"}
        index = self.store._engine.counters.indexes.get("pages", 0)
        slots = [slot_of(key, b"pages") for key in KEYS]
        pages: dict[bytes, bytes] = {}
        if index:
            (answer,) = at_once(self.store.apply([Task(Read("pages", KEYS), index, slots)], PLENTY, PLENTY))
            found = zip(KEYS, answer.results, strict=True)
            pages = {key: stored[VERSION.size :] for key, stored in found if isinstance(stored, bytes)}
        assert self.store.documents >= len(records) + len(pages)  # with what has expired
        bare = Bare(
            {key: stored[VERSION.size :] for key, stored in records.items()},
            self.store.recall(),
            StoreRanges(ranges.owned, ranges.staged),
            staged,
            index,
            pages,
        )
        return Contents(records, self.store._engine.counters.version, bare)

    def check(self) -> None:
        """Compare what is there with what was acknowledged."""
        found = self.contents()
        check_consistent(self.store)
        assert self.store.sequence >= max(self.given, default=0)
        possible = self.states if self._power_failed else self.states[-1:]
        if found in possible:
            self.seen["all there" if found == self.states[-1] else "some missing"] += 1
        else:
            self.seen["doubtful, and there"] += 1
            assert found.bare in self.doubtful
            assert found.version >= self.states[-1].version
        self.states, self.doubtful = [found], []
