"""A random history of some replicas of a shard, and what must be true of each after every step.

Who leads, who is a member, and what is committed is decided here, in the plainest way that is right: what all members
have confirmed is committed, and only they are promoted. The stores may be killed, or lose their power, at any moment.

What a store has when it has done all groups up to a ballot and a number must be the same in all of them, always.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

from disks import Disk, Stopped
from stores import PLENTY, START, at_once, check_consistent, task
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from pyshard.errors import BadRequest, FollowerBehind, ShuttingDown, StorageFailed
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import EVERYTHING, without
from pyshard.protocol.batch_operations import Increment, Pop, Run, Touch, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.log_positions import LogPosition, ballot_at, common_point
from pyshard.protocol.store_ranges import Origin, StoreRanges
from pyshard.storage import DataDirectory, Durability, IFollowingReplica, LmdbStore, MemoryStore, Task
from pyshard.storage.durable.log_changes import change_of
from pyshard.storage.replicated_interface import ReplicaRole

KEYS = [b"a", b"b", b"c", b"d", b"e", b"long" * 200, b"other" * 200]
ONE = b"\x01\0\0\0\x1c\x01"
THIRD = Origin("1d", "2e")

#: Records with versions and expiries, names of indexes, remembered text, ranges, and the last version.
State: TypeAlias = tuple[list[Change], dict[str, int], bytes | None, StoreRanges, int]


class Replica:
    """A replica of the shard: a store, and what it has said.

    :ivar confirmed: the number of the last group that it has confirmed; it must have that after a restart.
    :ivar lost: whether it may have lost what it has confirmed.
    :ivar shown: the number of the last group that it showed as a primary; in memory it can't undo that.
    :ivar follower: gives it the primary's groups; None: it follows nobody now.
    """

    store: LmdbStore | MemoryStore

    def __init__(self, name: str, path: Path | None, clock: Clock, durability: Durability, changed: int) -> None:
        self.name = name
        self.path = path
        self.durability = durability
        self.confirmed = 0
        self.lost = False
        self.shown = 0
        self.follower: IFollowingReplica | None = None
        self._clock = clock
        self._changed = changed
        self._started = 0
        self._directory: DataDirectory | None = None

    def open(self) -> None:
        """Open the store."""
        self.follower, self.shown = None, 0
        if self.path is None:
            self._started += 1
            self.store = MemoryStore(f"{self._started:032x}", self._clock.seconds)
            return
        self._directory = DataDirectory(self.path)
        try:
            self.store = LmdbStore(
                self._directory, self._clock.seconds, None, self.durability, 1 << 17, most_changed=self._changed
            )
        except BaseException:
            self._directory.close()
            raise

    def kill(self) -> None:
        """End without a word; the files of the log are closed by the disk."""
        if isinstance(self.store, LmdbStore):
            self.store._engine.environment.close()
            assert self._directory is not None
            self._directory.close()

    def state(self) -> State:
        """What it shows."""
        store = self.store
        if isinstance(store, LmdbStore):
            engine = store._engine
            with engine.reading() as view:
                found = [change_of(db_key, value) for db_key, value in view.between(b"", b"\xff" * 600)]
            counters, text = engine.counters, engine.text
            indexes, version = dict(counters.indexes), counters.version
            records = [change for change in found if change.index in counters.documents]
        else:
            copy = at_once(store.copy(None))
            assert copy.head.indexes is not None
            records, indexes, text, version = [], copy.head.indexes, copy.head.text, copy.head.version
            while (page := copy.page(1 << 20)) != []:
                records += page or []
            copy.close()
        records.sort(key=lambda change: (change.index, change.slot, change.key))
        return records, dict(indexes), text, store.ranges, version


class ReplicaHistory:
    """Three replicas, from their first start on.

    :ivar seen: what has happened, how often.
    :ivar states: what a store has after all groups up to a ballot and number, as it was found first.
    :ivar committed: the last group that is committed.
    :ivar members: the replicas of the present configuration.
    """

    def __init__(self, path: Path, disk: Disk, random: Random, seen: Counter[str], faults: bool) -> None:
        self.random = random
        self.seen = seen
        self._disk = disk
        self._faults = faults
        self._danger = random.choice([0, 0.005, 0.02]) if faults else 0.0
        self._trouble = random.choice([0, 0.05, 0.2]) if faults else 0.0
        self.clock = Clock()
        self.clock.advance(START)
        modes = [Durability.FSYNC, Durability.FSYNC, Durability.ASYNC, Durability.NONE]
        changed = random.choice([3, 8, 1000])
        self.replicas = [
            Replica(name, None if random.random() < 0.25 else path / name, self.clock, random.choice(modes), changed)
            for name in ("x", "y", "z")
        ]
        self.states: dict[tuple[int, int], State] = {}
        self.committed = LogPosition()
        self.ballot = 0
        self.members: list[Replica] = []
        self.primary: Replica | None = None
        self._last_index = 0

    def run(self, steps: int) -> None:
        """Start, do so many steps, and have all replicas be the same at the end."""
        for replica in self.replicas:
            replica.open()
        first = self.replicas[0]
        for _ in range(self.random.randrange(5)):
            self._change(first)
        self.members, self.committed = [first], LogPosition(0, first.store.sequence)
        self._elect(first)
        does: list[tuple[Callable[[], None], int]] = [
            (self.change, 20), (self.pull, 24), (self.commit, 12), (self.join, 16), (self.restart, 3), (self.elect, 2),
            (self.remove, 1), (self.outage, 1), (self.follow_commits, 4),
        ]  # fmt: skip
        for _ in range(steps):
            step = self.random.choices([each for each, _ in does], [weight for _, weight in does])[0]
            self._disk.danger, self._disk.trouble = self._danger, self._trouble
            self._guarded(self.elect if self.primary is None and self.random.random() < 0.5 else step)
            self._disk.danger = self._disk.trouble = 0
            self.check()
        self.end()

    def close(self) -> None:
        """End all processes."""
        self._disk.danger = self._disk.trouble = 0
        self._disk.stop(power=False)
        for replica in self.replicas:
            replica.kill()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except StorageFailed:
            self.seen["failed"] += 1
        except Stopped:
            self.seen["stopped"] += 1
            self._outage()

    # -- steps --------------------------------------------------------------------------------------------------

    def change(self) -> None:
        """The primary changes something."""
        if self.primary is not None:
            self._change(self.primary)

    def _change(self, replica: Replica) -> None:
        store, random = replica.store, self.random
        ranges = store.ranges
        what = random.choices(
            ["batch", "nothing", "indexes", "remember", "own", "stage", "absorb", "unstage", "sweep"],
            [20, 1, 2, 1, 1, 1, 1, 1, 3],
        )[0]
        try:
            if what in ("batch", "nothing"):
                before = store.position.sequence
                tasks = self._tasks(store) if what == "batch" else [task(Pop("", [b"never there"]))]
                seen = at_once(store.apply_seen(tasks, PLENTY, PLENTY)).sequence
                assert seen in (before, before + 1)
                assert seen == store.position.sequence == store.sequence or store.role is ReplicaRole.ALONE
            elif what == "indexes":
                self._last_index += 1
                at_once(store.set_indexes({"pages": self._last_index} if random.random() < 0.8 else {}))
            elif what == "remember":
                at_once(store.remember(random.randbytes(3)))
            elif what == "own":
                middle = SLOTS // 2
                wanted = random.choice([EVERYTHING, EVERYTHING, ((0, middle),), ((middle, SLOTS),)])
                at_once(store.own(wanted))
            elif what == "stage":
                at_once(store.stage("m", without(EVERYTHING, (*ranges.owned, *ranges.hidden)), THIRD))
            elif what == "absorb":
                done = ranges.staged["m"].origin.sequence + 1 if "m" in ranges.staged else 1
                changes = [Change(0, slot_of(key), key, done, 0, random.randbytes(4)) for key in random.sample(KEYS, 2)]
                at_once(store.absorb_staged("m", ChangeGroup(1, 0, done, changes), done, PLENTY))
            elif what == "unstage":
                at_once(store.unstage("m"))
            else:
                self.clock.advance(random.choice([0.5, 2]))
                at_once(store.sweep(random.choice([1, 5, 100])))
        except BadRequest:
            self.seen["refused"] += 1

    def _tasks(self, store: LmdbStore | MemoryStore) -> list[Task]:
        random = self.random
        tasks: list[Task] = []
        for _ in range(random.randint(1, 3)):
            keys = random.sample(KEYS, random.randint(1, 3))
            ttls = [random.choice([0, 0, 1000, 3000])] * len(keys)
            docs = [ONE + bytes(random.choice([0, 5, 3000]))] * len(keys)
            runs: list[Run] = [
                Write("", keys, docs, None, ttls), Write("", keys, docs), Write("", keys, docs), Pop("", keys),
                Touch("", keys, ttls), Increment("", keys, [ONE] * len(keys), [ONE] * len(keys)),
            ]  # fmt: skip
            tasks.append(task(random.choice(runs)))
        if self._last_index and random.random() < 0.3:
            pages = Write("pages", [b"p", b"q"], [ONE, ONE])
            tasks.append(Task(pages, self._last_index, [slot_of(key, b"pages") for key in pages.keys]))
        return tasks

    def pull(self) -> None:
        """Somebody who follows the primary gets groups, and confirms them."""
        following = [replica for replica in self.replicas if replica.follower is not None]
        if following:
            self._pull(self.random.choice(following))

    def _pull(self, replica: Replica) -> bool:
        """Whether there was anything."""
        store, follower = replica.store, replica.follower
        assert follower is not None
        found: list[list[ChangeGroup]] = []
        waiting = follower.groups(self.random.choice([1, 200, 5000]))
        ended: list[object] = []
        waiting.addCallbacks(
            found.append, lambda failure: ended.append(failure.trap(StorageFailed, FollowerBehind, CancelledError))
        )
        if not found:
            waiting.cancel()
        if not found:
            if self.primary is not None and replica.store.position != self.primary.store.position:
                replica.follower = None
            return False
        try:
            at_once(store.append(found[0]))
        except BaseException:
            replica.follower = None
            raise
        assert store.position.sequence == found[0][-1].sequence
        replica.confirmed = store.position.sequence
        follower.confirm(replica.confirmed)
        self.seen["appended"] += 1
        return True

    def commit(self) -> None:
        """What all members have is committed, and some hear of it."""
        if self.primary is None or any(
            member.follower is None for member in self.members if member is not self.primary
        ):
            return
        reached = min(member.store.position.sequence for member in self.members)
        assert all(member is self.primary or reached <= member.confirmed for member in self.members)
        if reached > self.committed.sequence:
            ballot = ballot_at(self.primary.store.ballots, reached)
            assert ballot
            assert self.committed.ballot <= ballot
            self.committed = LogPosition(ballot, reached)
            self.seen["committed"] += 1
        if self.random.random() < 0.9:
            at_once(self.primary.store.commit(self.committed.sequence))

    def follow_commits(self) -> None:
        """Members hear of what is committed, or of some of it; who isn't a member may hear it, too."""
        for replica in self.replicas:
            if replica.follower is not None and self.random.random() < 0.8:
                number = self.random.choice([self.committed.sequence, self.random.randint(0, self.committed.sequence)])
                at_once(replica.store.commit(number))

    def join(self) -> None:
        """Somebody who doesn't follow does so; who has all becomes a member."""
        if self.primary is None:
            return
        others = [replica for replica in self.replicas if replica is not self.primary]
        replica = self.random.choice(others)
        if replica.follower is None:
            self._reconcile(replica)
        if replica not in self.members and replica.follower is not None:
            while self._pull(replica):
                pass
            if replica.store.position == self.primary.store.position:
                self.members.append(replica)
                self._elect(self.primary)
                self.seen["joined"] += 1

    def _reconcile(self, replica: Replica) -> None:
        """Have a replica follow the primary, from what they have in common or from a copy."""
        assert self.primary is not None
        store, leader = replica.store, self.primary.store
        at_once(store.promise(self.ballot))
        if store.role is not ReplicaRole.MEMBER:
            replica.shown = store.sequence
            at_once(store.be_member())
        mine, theirs = store.position.sequence, leader.position.sequence
        point = common_point(store.ballots, mine, leader.ballots, theirs)
        try:
            if store.incomplete or not point:
                raise FollowerBehind("it has nothing of the log")
            replica.confirmed = min(replica.confirmed, point)  # a cut that is interrupted may be done, too
            at_once(store.cut(point))
            assert store.position.sequence == point
            replica.follower = leader.follow_as_replica(replica.name, point, store.log_format)
            self.seen["by log" if point == mine else "cut"] += 1
        except FollowerBehind:
            self._copy(replica)
        replica.confirmed = store.position.sequence

    def _copy(self, replica: Replica) -> None:
        """Begin anew, with a copy."""
        assert self.primary is not None
        store, leader = replica.store, self.primary.store
        if replica in self.members:
            if any(other is not self.primary and other.follower is None for other in self.members):
                return  # it stays, until it is known what the others have
            self.members.remove(replica)
            self._elect(self.primary)
        replica.confirmed = 0
        copy = at_once(leader.copy(replica.name))
        if copy.head.sequence > self.committed.sequence:
            self.commit()
        if copy.head.sequence > self.committed.sequence:
            copy.close()
            return
        incarnation = store.incarnation
        at_once(store.begin_copy(copy.head))
        assert store.incomplete
        assert (store.position, store.committed, store.incarnation != incarnation) == (LogPosition(), 0, True)
        while (page := copy.page(self.random.choice([1, 1000, 100_000]))) != []:
            at_once(store.load_page(page or []))
            if self.random.random() < 0.02:
                self.seen["copy given up"] += 1
                copy.close()
                return
        copy.close()
        at_once(store.end_copy())
        assert (store.incomplete, store.position.sequence) == (False, copy.head.sequence)
        replica.lost, replica.shown = False, 0
        replica.follower = leader.follow_as_replica(replica.name, copy.head.sequence, store.log_format)
        self.seen["copied"] += 1

    def elect(self) -> None:
        """A member leads from here on, or the primary itself under another ballot."""
        if self.members:
            self._elect(self.random.choice(self.members))

    def _elect(self, replica: Replica) -> None:
        store, former = replica.store, self.primary
        self.ballot += 1
        self.primary = None
        for other in self.replicas:
            if former is not replica or other is replica:
                other.follower = None
        at_once(store.promise(self.ballot, b"%d" % self.ballot))
        if former is not None and former is not replica and self.random.random() < 0.5:
            former.shown = former.store.sequence
            at_once(former.store.be_member())
            self._refuses_changes(former)
        sequence = at_once(store.lead(self.ballot))
        assert store.position == LogPosition(self.ballot, sequence)
        assert store.sequence == sequence
        assert (ballot_at(store.ballots, self.committed.sequence) or 0) == self.committed.ballot
        if store.promised.text != b"%d" % self.ballot:
            raise AssertionError(store.promised)
        self.primary = replica
        for other in self.replicas:
            if other.follower is not None:
                try:
                    at_once(other.store.promise(self.ballot))
                except StorageFailed:
                    other.follower = None
        self.seen["led"] += 1

    def _refuses_changes(self, replica: Replica) -> None:
        store = replica.store
        position = store.position
        asked: list[Callable[[], Deferred[Any]]] = [
            lambda: store.apply(self._tasks(store), PLENTY, PLENTY),
            lambda: store.remember(b""),
            lambda: store.set_indexes({}),
            lambda: store.own(EVERYTHING),
        ]
        for ask in asked:
            try:
                at_once(ask())
            except ShuttingDown:
                continue
            raise AssertionError("a member has taken a change")
        assert not at_once(store.sweep(10)) or store.position == position
        assert store.position == position

    def remove(self) -> None:
        """A member is removed from the configuration."""
        others = [member for member in self.members if member is not self.primary]
        if self.primary is not None and others:
            removed = self.random.choice(others)
            self.members.remove(removed)
            removed.follower = None
            self._elect(self.primary)

    def restart(self) -> None:
        """A process ends, and comes back."""
        replica = self.random.choice(self.replicas)
        if replica.path is not None:
            assert isinstance(replica.store, LmdbStore)
            if self.random.random() < 0.4:
                at_once(replica.store.close())
            else:
                replica.store._engine.log.close()
                replica.kill()
            self.seen["restarted"] += 1
        self._came_back(replica, power=False)

    def outage(self) -> None:
        """All processes end at once."""
        self._outage()

    def _outage(self) -> None:
        power = self.random.random() < 0.6
        self._disk.danger = self._disk.trouble = 0
        self._disk.stop(power)
        for replica in self.replicas:
            replica.kill()
        for replica in self.replicas:
            self._came_back(replica, power)
        self.seen["outage"] += 1

    def _came_back(self, replica: Replica, power: bool) -> None:
        danger = self._disk.danger, self._disk.trouble
        self._disk.danger = self._disk.trouble = 0
        promised, confirmed = replica.store.promised, replica.confirmed
        if replica is self.primary:
            self.primary = None
        for other in self.replicas:
            if self.primary is None:
                other.follower = None
        replica.open()
        store = replica.store
        replica.lost = replica.path is None or (power and replica.durability is not Durability.FSYNC)
        if replica.path is not None:
            assert store.promised.ballot in (promised.ballot, self.ballot)  # a promise may have been in the making
        if replica.lost:
            replica.confirmed = store.position.sequence
            if replica in self.members:
                self.members.remove(replica)
                if not self.members:  # what was committed is gone, and nobody could help it
                    self.members, last = [replica], min(self.committed.sequence, store.position.sequence)
                    self.committed = LogPosition(ballot_at(store.ballots, last) or 0, last)
                    self.seen["all lost"] += 1
        elif not store.incomplete:
            assert store.position.sequence >= confirmed
        self._disk.danger, self._disk.trouble = danger

    # -- checks -------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """What must be true after every step."""
        for replica in self.replicas:
            store = replica.store
            if store.incomplete:
                continue
            ballot = ballot_at(store.ballots, store.sequence)
            if ballot:
                state = replica.state()
                assert self.states.setdefault((ballot, store.sequence), state) == state
                self._check_records(store, state)
            if store.role is ReplicaRole.MEMBER:
                assert store.committed <= store.position.sequence
                shown = store.committed if replica.path is not None else max(store.committed, replica.shown)
                assert store.sequence <= shown
            if replica is self.primary or replica.follower is not None:
                assert store.committed <= self.committed.sequence
            if isinstance(store, LmdbStore):
                check_consistent(store)
                if store.role is not ReplicaRole.ALONE:
                    assert store._engine.lmdb.counters.sequence <= store.committed

    def _check_records(self, store: LmdbStore | MemoryStore, state: State) -> None:
        """A primary says which records it shows before they are committed: it shows all others as committed."""
        before = self.states.get((ballot_at(store.ballots, store.committed) or 0, store.committed))
        if store.role is not ReplicaRole.PRIMARY or before is None:
            return
        shown, committed = (
            {change.key: change for change in each if not change.index} for each in (state[0], before[0])
        )
        for key in KEYS:
            undone = store.may_be_undone("", [key])
            assert undone or shown.get(key) == committed.get(key)
            self.seen["may be undone" if undone else "shown as committed"] += store.committed < store.sequence

    def end(self) -> None:
        """All replicas have the same once they all have everything, and nobody changes anything."""
        if self.primary is None:
            self._elect(self.random.choice(self.members))
        assert self.primary is not None
        self.members = [self.primary]
        self.commit()
        for replica in self.replicas:
            while replica is not self.primary and (replica.follower is None or self._pull(replica)):
                if replica.follower is None:
                    self._reconcile(replica)
        self.members = list(self.replicas)
        self.commit()
        for replica in self.replicas:
            at_once(replica.store.commit(self.committed.sequence))
        self.check()
        assert {replica.store.position for replica in self.replicas} == {self.primary.store.position}
        states = [replica.state() for replica in self.replicas]
        assert states == [states[0]] * len(states)
        self.seen["the same"] += 1
