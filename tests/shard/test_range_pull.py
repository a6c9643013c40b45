"""A shard takes what another one has of some slots, over a connection, and follows what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest
from shard.served import WHERE
from shard.served import Bench as Served
from storage.followers.following import bring_to_the_disk
from stores import PLENTY, Bench, folder
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from pyshard.errors import PyshardError, ShardFull, SnapshotEnded, TooManySnapshots, WrongShard
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import SlotRanges, in_ranges, without
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_operations import Pop, Run, Touch, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.change_pages import decode_changes, decode_groups
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.pages import encode_ranges
from pyshard.protocol.store_ranges import Origin
from pyshard.settings import settings
from pyshard.shard import served_followers
from pyshard.shard.followed_shard import FollowedShard
from pyshard.shard.range_pull import RangePull

MOVING: SlotRanges = ((1_000_000, 4_000_000), (6_000_000, 7_000_000))
REST = without(((0, SLOTS),), MOVING)
KEYS = [b"%d" % each for each in range(400)] + [b"long" * 200]
INDEXES = {"pages": 1}
KINDS = ["memory", "lmdb", "lmdb with a small map"]


class Pulling:
    """A source that is asked over a network in memory, and a target that pulls.

    :ivar outcome: what the present pull has ended with.
    """

    def __init__(self, source: str, target: str, path: Path, pace: float = 1e12) -> None:
        for name in ("source", "target"):
            (path / name).mkdir()
        self.source = Bench(source, path / "source")
        self.target = Bench(target, path / "target")
        for bench in (self.source, self.target):
            bench.result(bench.store.set_indexes(INDEXES))
        self.target.result(self.target.store.own(REST))
        self.pace = pace
        self.limit = PLENTY
        self.held = 0
        self.served: Served | None = None
        self.serve()

    def serve(self) -> None:
        """Serve the source, as its store is now."""
        self.served = Served(self.source.store)
        self.clock = self.served.clock
        self.origin = Origin(self.source.store.identity, self.source.store.incarnation)
        self.new_pull()

    def new_pull(self) -> None:
        """A target that has no more than its store."""
        self.pull = RangePull(
            self.target.store, "m", MOVING, self.origin, lambda: self.limit, self.clock, self.is_held, self.pace
        )
        self.outcome: list[Any] = []
        self.running: Deferred[None] | None = None

    def is_held(self, sealed: int) -> bool:
        """Whether this is the attempt that is held."""
        return 0 < sealed == self.held

    @property
    def sealed(self) -> int:
        """The last attempt whose seal the target has reached."""
        return self.target.store.ranges.staged["m"].sealed

    def run(self) -> None:
        """Have the target pull over a new connection."""
        assert self.served is not None
        peer = self.served.connect(BoundedAMP(self.clock))
        self.outcome = []
        self.running = Deferred.fromCoroutine(self.pull.run(FollowedShard(peer, "m", MOVING)))
        self.running.addBoth(self.outcome.append)

    def interrupt(self) -> None:
        """The connection is lost."""
        assert self.served is not None
        self.served.network.cut(*WHERE)
        self.step()
        self.ended()

    def ended(self) -> None:
        """The pull has ended, since its connection has."""
        (found,) = self.outcome
        assert isinstance(found, Failure)
        assert found.check(PyshardError, ConnectionDone), found.getErrorMessage()

    def step(self, seconds: float = 0.1) -> None:
        """A little time passes, in which a target sweeps, too."""
        assert self.served is not None
        bring_to_the_disk(self.source)
        self.served.network.settle()
        self.clock.advance(seconds)
        self.served.network.settle()
        self.target.result(self.target.store.sweep(100))

    def catch_up(self) -> None:
        """Pull until there is nothing left to be pulled."""
        for _ in range(2000):
            if self.outcome:
                raise AssertionError(self.outcome[0])
            self.step()
            staging = self.target.store.ranges.staged.get("m")
            if staging is not None and staging.origin.sequence == self.source.store.sequence:
                return
        raise AssertionError(self.pull.progress)

    def change(self, random: Random) -> None:
        """A batch of some kind, with any keys."""
        keys = random.sample(KEYS, random.randrange(1, 20))
        index = random.choice(["", "pages"])
        record, ttl = random.randbytes(random.choice([3, 50])), random.choice([0, 0, 90_000])
        runs: list[Run] = [Write(index, keys, [record] * len(keys), None, [ttl] * len(keys))]
        if random.random() < 0.3:
            runs = [Pop(index, keys)]
        elif random.random() < 0.2:
            runs = [Touch(index, keys, [ttl] * len(keys))]
        self.source.applied(*runs)

    def check(self) -> None:
        """The target has what the source has, with versions and expiries, and nobody sees it before it is owned."""
        wanted = records(self.source, MOVING)
        assert records(self.target, MOVING) == wanted
        assert self.target.store.documents == 0
        self.target.result(self.target.store.own(((0, SLOTS),)))
        assert self.target.store.documents == len(wanted)
        assert self.target.applied(Write("", [b"new"], [b"record"])) == [[True]]
        assert self.target.version(b"new") > max(change.version for change in wanted)

    def close(self) -> None:
        """Close both."""
        if self.running is not None and not self.outcome:
            self.running.cancel()
        self.source.close()
        self.target.close()


def records(bench: Bench, ranges: SlotRanges) -> list[Change]:
    """All records of some slots, in order."""
    copy = bench.result(bench.store.copy("check", ranges))
    found: list[Change] = []
    while (page := copy.page(1 << 20)) != []:
        found += page or []
    copy.close()
    bench.store.forget("check")
    return sorted(found, key=lambda change: (change.index, change.slot, change.key))


@pytest.fixture(params=[(source, target) for source in KINDS for target in KINDS], ids=" to ".join)
def pulling(request: pytest.FixtureRequest) -> Iterator[Pulling]:
    """Each pair of stores."""
    with folder() as path:
        source, target = request.param
        made = Pulling(source, target, path)
        yield made
        made.close()


def test_copied_and_followed(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there when the pull begins is taken, and then what changes, while connections are lost in between."""
    monkeypatch.setattr(served_followers, "settings", attrs.evolve(settings, SNAPSHOT_BYTES=2000))
    random = Random(pulling.source.kind + pulling.target.kind)
    for _ in range(30):
        pulling.change(random)
    pulling.run()
    for number in range(60):
        pulling.change(random)
        pulling.step(0.01)
        if number in (5, 40):
            pulling.interrupt()
            pulling.run()
        if number == 20:
            pulling.catch_up()
    pulling.catch_up()
    pulling.check()


def test_goes_on_where_it_was(pulling: Pulling) -> None:
    """A complete copy isn't copied again, neither over a new connection nor by a new process."""
    random = Random(1)
    pulling.change(random)
    pulling.run()
    pulling.catch_up()
    assert pulling.pull.progress.copies == 1
    pulling.interrupt()
    pulling.change(random)
    pulling.run()
    pulling.catch_up()
    assert pulling.pull.progress.copies == 1
    pulling.interrupt()
    pulling.change(random)
    pulling.new_pull()
    pulling.run()
    pulling.catch_up()
    assert pulling.pull.progress.copies == 0
    pulling.check()


def test_begins_anew(pulling: Pulling) -> None:
    """A copy of a store that has lost what it had is given up, and what it had is removed first."""
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    store, before = pulling.target.store, Origin(pulling.origin.identity, "before")
    pulling.target.result(store.stage("m", MOVING, before))
    keys = [key for key in (*KEYS, *(b"gone%d" % each for each in range(50))) if in_ranges(slot_of(key), MOVING)]
    old = [Change(0, slot_of(key), key, 7, 0, b"old") for key in keys]
    pulling.target.result(store.absorb_staged("m", ChangeGroup(5, 0, 8, old), 0, PLENTY))
    pulling.target.result(store.absorb_staged("m", ChangeGroup(5, 0, 8, []), 5, PLENTY))
    pulling.run()
    pulling.catch_up()
    assert pulling.pull.progress.copies == 1
    pulling.check()


def test_left_behind(pulling: Pulling) -> None:
    """Whoever is too slow for what the source keeps begins anew by itself."""
    random = Random(3)
    pulling.change(random)
    pulling.run()
    pulling.catch_up()
    pulling.interrupt()
    pulling.source.store.forget("m")
    for _ in range(3):
        pulling.change(random)
    pulling.run()
    pulling.catch_up()
    behind = pulling.source.kind == "memory"  # a log has its last segment anyway
    assert pulling.pull.progress.copies == (2 if behind else 1)
    pulling.check()


def test_no_room(pulling: Pulling) -> None:
    """A pull ends when the shard hasn't the room, and goes on when it has."""
    pulling.source.fill(dict.fromkeys(KEYS, b"r" * 100))
    pulling.limit = 5000
    pulling.run()
    pulling.step(1)
    (found,) = pulling.outcome
    assert found.check(ShardFull)
    assert pulling.target.store.documents == 0
    pulling.limit = PLENTY
    pulling.run()
    pulling.catch_up()
    pulling.check()


def test_a_new_index_is_waited_for(pulling: Pulling) -> None:
    """A record of an index that the target wasn't told of yet comes when it is."""
    pulling.run()
    pulling.catch_up()
    indexes = {**INDEXES, "links": 2}
    pulling.source.result(pulling.source.store.set_indexes(indexes))
    keys = [key for key in KEYS if in_ranges(slot_of(key, b"links"), MOVING)]
    pulling.source.fill(dict.fromkeys(keys, b"record"), "links")
    for _ in range(30):
        pulling.step()
    assert not pulling.outcome
    pulling.target.result(pulling.target.store.set_indexes(indexes))
    pulling.catch_up()
    pulling.check()


def test_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy takes as long as its pace says; what changes is not held up by it."""
    monkeypatch.setattr(served_followers, "settings", attrs.evolve(settings, SNAPSHOT_BYTES=1000))
    with folder() as path:
        pulling = Pulling("memory", "memory", path, pace=10_000)
        pulling.source.fill(dict.fromkeys(KEYS, b"r" * 100))
        pulling.run()
        began = pulling.clock.seconds()
        pulling.catch_up()
        size = pulling.pull.progress.size
        assert size == sum(change.size for change in records(pulling.source, MOVING))
        assert pulling.pull.progress.rows == len(records(pulling.source, MOVING))
        assert size / 10_000 <= pulling.clock.seconds() - began <= size / 10_000 + 2
        pulling.close()


def test_progress() -> None:
    """It says whether the target is even with the source."""
    with folder() as path:
        pulling = Pulling("memory", "memory", path)
        pulling.run()
        pulling.catch_up()
        progress = pulling.pull.progress
        assert (progress.even, progress.behind) == (None, 0)
        pulling.step(settings.FOLLOW_WAIT)
        assert progress.even == pulling.clock.seconds()
        pulling.source.fill(dict.fromkeys(KEYS, b"r" * 100))
        pulling.step(0)
        assert progress.behind > 100
        pulling.close()


def test_sealed(pulling: Pulling) -> None:
    """It says of which seal it knows, once it has all that was changed before it."""
    pulling.run()
    pulling.catch_up()
    store = pulling.source.store
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.source.result(store.seal("m", MOVING, 3))
    assert pulling.sealed == 0
    pulling.catch_up()
    assert pulling.sealed == 3
    pulling.source.result(store.unseal("m"))
    pulling.source.fill({KEYS[0]: b"other"})
    pulling.source.result(store.seal("m", MOVING, 4))
    pulling.catch_up()
    assert pulling.sealed == 4
    pulling.check()


def test_held(pulling: Pulling) -> None:
    """What has reached a seal is kept while it is held, whatever becomes of the source, and of the target's process."""
    pulling.run()
    pulling.catch_up()
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.source.result(pulling.source.store.seal("m", MOVING, 3))
    pulling.held = 3
    pulling.catch_up()
    wanted, place = records(pulling.source, MOVING), pulling.target.store.ranges.staged["m"].origin
    pulling.source.result(pulling.source.store.own(REST))
    pulling.source.store.forget("m")
    for again in (False, True):
        if again:
            assert pulling.running is not None
            pulling.running.cancel()
            pulling.new_pull()
            pulling.run()
        for _ in range(5):
            pulling.step()
        assert not pulling.outcome
        assert pulling.target.store.ranges.staged["m"].origin == place
        assert records(pulling.target, MOVING) == wanted


def test_no_copy_of_what_is_not_owned(pulling: Pulling) -> None:
    """It would be empty, and seem to be complete."""
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.source.result(pulling.source.store.own(REST))
    pulling.run()
    pulling.step()
    (found,) = pulling.outcome
    assert found.check(WrongShard)
    assert pulling.target.store.ranges.staged["m"].origin.sequence == 0


# -- what a shard serves ---------------------------------------------------------------------------------------------


def ask(pulling: Pulling, peer: Any, command: type[Command], **arguments: object) -> Any:
    """What is answered, or the error."""
    assert pulling.served is not None
    found: list[Any] = []
    peer.call(command, 30, **arguments).addBoth(found.append)
    pulling.served.network.settle()
    return found


@pytest.fixture
def memory() -> Iterator[Pulling]:
    """Two stores in memory."""
    with folder() as path:
        made = Pulling("memory", "memory", path)
        yield made
        made.close()


def peer_of(pulling: Pulling) -> Any:
    """A peer of the source."""
    assert pulling.served is not None
    return pulling.served.connect(BoundedAMP(pulling.clock))


def failed(found: list[Any], error: type[PyshardError], text: str) -> None:
    """One answer has come: an error."""
    (failure,) = found
    assert isinstance(failure, Failure)
    assert failure.check(error), failure
    assert text in str(failure.value)


def test_a_copy_is_its_connections(memory: Pulling) -> None:
    """Nobody else reads it; it ends with its connection, or when it isn't read for a while."""
    memory.source.fill(dict.fromkeys(KEYS, b"record"))
    ranges = encode_ranges(MOVING)
    mine, other = peer_of(memory), peer_of(memory)
    (answer,) = ask(memory, mine, commands.OpenCopy, follower="m", ranges=ranges)
    failed(ask(memory, other, commands.ReadCopy, copy=answer["copy"]), SnapshotEnded, "for this connection")
    assert ask(memory, other, commands.CloseCopy, copy=answer["copy"]) == [{}]
    (page,) = ask(memory, mine, commands.ReadCopy, copy=answer["copy"])
    assert decode_changes(page["changes"])
    memory.clock.advance(settings.SNAPSHOT_IDLE)
    failed(ask(memory, mine, commands.ReadCopy, copy=answer["copy"]), SnapshotEnded, "nobody read it")
    (answer,) = ask(memory, mine, commands.OpenCopy, follower="m", ranges=ranges)
    assert ask(memory, mine, commands.CloseCopy, copy=answer["copy"]) == [{}]
    failed(ask(memory, mine, commands.ReadCopy, copy=answer["copy"]), SnapshotEnded, "begin anew")


def test_a_later_connection_takes_the_place(memory: Pulling) -> None:
    """A follower has one connection; who waits over an older one is told."""
    ranges = encode_ranges(MOVING)
    mine, other = peer_of(memory), peer_of(memory)
    ask(memory, mine, commands.OpenCopy, follower="m", ranges=ranges)
    after = memory.source.store.sequence
    older = ask(memory, mine, commands.ReadGroups, follower="m", after=after, ranges=ranges)
    newer = ask(memory, other, commands.ReadGroups, follower="m", after=after, ranges=ranges)
    failed(older, PyshardError, "closed")
    assert not newer
    failed(
        ask(memory, other, commands.ReadGroups, follower="m", after=after, ranges=ranges), PyshardError, "twice at once"
    )
    memory.source.fill(dict.fromkeys(KEYS, b"record"))
    assert memory.served is not None
    memory.served.network.settle()
    assert newer[0]["groups"]


def test_many_groups(memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer has no more groups than its bytes say; those behind them come in the next one."""
    monkeypatch.setattr(served_followers, "settings", attrs.evolve(settings, FOLLOW_BYTES=1000))
    ranges, peer = encode_ranges(MOVING), peer_of(memory)
    ask(memory, peer, commands.OpenCopy, follower="m", ranges=ranges)
    after = memory.source.store.sequence
    keys = [key for key in KEYS if in_ranges(slot_of(key), MOVING)][:9]
    for key in keys:
        memory.source.fill({key: b"r" * 300})
    counts = []
    while after < memory.source.store.sequence:
        (answer,) = ask(memory, peer, commands.ReadGroups, follower="m", after=after, ranges=ranges)
        groups = decode_groups(answer["groups"])
        counts.append(len(groups))
        after = groups[-1].sequence
    assert counts == [3, 3, 3]


def test_few_followers(memory: Pulling) -> None:
    """Only so many names are served, until one is forgotten."""
    ranges, peer = encode_ranges(MOVING), peer_of(memory)
    for number in range(settings.MAX_FOLLOWERS):
        (answer,) = ask(memory, peer, commands.OpenCopy, follower=f"m{number}", ranges=ranges)
        ask(memory, peer, commands.CloseCopy, copy=answer["copy"])
    failed(ask(memory, peer, commands.OpenCopy, follower="more", ranges=ranges), TooManySnapshots, "8 others")
    assert ask(memory, peer, commands.ForgetFollower, follower="m3") == [{}]
    assert "copy" in ask(memory, peer, commands.OpenCopy, follower="more", ranges=ranges)[0]


def test_cancelled(memory: Pulling) -> None:
    """A pull that is cancelled ends, and can be run again."""
    memory.run()
    memory.catch_up()
    assert memory.running is not None
    memory.running.cancel()
    (found,) = memory.outcome
    assert found.check(CancelledError)
    memory.run()
    memory.source.fill(dict.fromkeys(KEYS, b"record"))
    memory.catch_up()
    memory.check()
