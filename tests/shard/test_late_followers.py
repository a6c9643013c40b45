"""For whose sake writers are slowed down, and that a copy of a shard ends beside a writer that never rests."""

from __future__ import annotations

from math import inf

import attrs
import pytest
from deferreds import watch
from stores import PLENTY, at_once
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from pyshard.errors import Overloaded, SnapshotEnded
from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Write
from pyshard.protocol.change_groups import Change
from pyshard.settings import settings
from pyshard.shard import served_followers
from pyshard.shard.late_followers import Chaser, CopyUnderWay, LateFollowers
from pyshard.shard.served_followers import ServedFollowers
from pyshard.shard.slowed_writers import ALL, Allowed
from pyshard.storage import MemoryStore, Task
from pyshard.storage.follower_places import FollowedBound, FollowerPlaces

MB = 1_000_000
_KEYS = [b"%d" % number for number in range(2000)]
_ROOM = 2 * MB


class Late:
    """The followers of a shard, of which a test says how they are."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = 100.0
        self.places = FollowerPlaces()
        self.copies: list[CopyUnderWay] = []
        self.chasers: list[Chaser] = []
        self.late = LateFollowers(self.places, lambda: self.copies, lambda: self.chasers, self.clock)


def test_a_late_copy() -> None:
    """Writers are slowed as long as it is asked for."""
    late = Late()
    late.late.begin_copy("replica h:2")
    late.clock.advance(10)
    late.places.kept = late.places.written = 64 * MB
    late.copies = [CopyUnderWay("replica h:2", 100 * MB, 1000 * MB, 110.0)]
    allowed = late.late.allowed(8 * MB)
    assert late.late.allowed(8 * MB) == allowed
    assert allowed.rate == pytest.approx((0.75 * late.places.room - 64 * MB) / 90)
    assert allowed.ranges == ALL
    assert allowed.follower == "replica h:2"
    late.clock.advance(5)
    assert late.late.allowed(8 * MB) == Allowed()


def test_one_that_is_let_go() -> None:
    """Nobody is slowed for it, also when it hasn't asked for a while; operators are told once for each time."""
    late = Late()
    lines, slowed = list[str](), list[bool]()
    for second in range(3000):
        if not 200 <= second < 300:
            late.chasers = [Chaser("replica h:2", ALL, 1000, late.clock.seconds(), 100.0, False)]
            late.places.kept = 60 * MB
        with capturedLogs() as logs:
            slowed.append(late.late.allowed(8 * MB) != Allowed())
        lines += [line["log_format"] for line in logs if "aren't slowed down" in line["log_format"]]
        late.clock.advance(1)
    assert len(lines) == 3
    assert True not in slowed[200:1300]
    assert 100 < sum(slowed[:200]) < 200
    assert sum(slowed) < 600


def test_one_that_goes_and_comes_again() -> None:
    """For how long writers were slowed for it is known as long as that counts, though it stays away in between."""
    late, slowed = Late(), 0
    for second in range(6000):
        at = second % 562
        if not at:
            late.late.begin_copy("move 1")
        late.places.kept, late.places.written = 128 * MB, 2 * MB * second
        late.copies = [CopyUnderWay("move 1", at * MB, 1000 * MB, late.clock.seconds())] if at < 500 else []
        slowed += late.late.allowed(8 * MB) != Allowed()
        late.clock.advance(1)
    assert 500 < slowed < 1200
    late.clock.advance(7000)
    late.copies = []
    late.late.allowed(8 * MB)
    assert not late.late._known


def test_what_is_kept_for_others() -> None:
    """What was written before a copy began, or before a follower had all, is for somebody else, and slows nobody."""
    late = Late()
    late.places.kept = late.places.written = 240 * MB  # a replica is away
    late.late.begin_copy("move 1")
    late.chasers = [Chaser("m", ((0, 10),), 0, 100.0, 100.0, True)]
    assert late.late.allowed(8 * MB) == Allowed()
    late.clock.advance(30)
    late.copies = [CopyUnderWay("move 1", 400 * MB, 1000 * MB, late.clock.seconds())]
    late.chasers = [Chaser("m", ((0, 10),), 9, late.clock.seconds(), 100.0, False)]
    late.places.written += 10 * MB
    assert late.late.allowed(8 * MB) == Allowed()
    late.places.written += 200 * MB
    assert late.late.allowed(8 * MB).rate == pytest.approx(late.places.room / settings.FOLLOWED_LOG_SECONDS)
    late.copies = []
    assert late.late.allowed(8 * MB).rate == pytest.approx((0.9 * late.places.room - 210 * MB) / 10)
    late.chasers = [Chaser("unknown", ((0, 10),), 9, late.clock.seconds(), 100.0, False)]
    assert late.late.allowed(8 * MB).rate == pytest.approx((0.9 * late.places.room - 240 * MB) / 10)


def test_copies_are_counted() -> None:
    """From the second one on operators are told; a follower that hasn't asked for a while is forgotten."""
    late = Late()
    with capturedLogs() as logs:
        for _ in range(3):
            late.late.begin_copy("replica h:2")
    assert [line["number"] for line in logs] == [2, 3]
    assert late.late.described()["copies_begun"] == 3
    late.clock.advance(61)
    late.late.allowed(0.0)
    assert late.late.described()["copies_begun"] == 0


def test_many_copies() -> None:
    """A follower that begins one after the other has few lines in the log."""
    late = Late()
    with capturedLogs() as logs:
        for _ in range(1000):
            late.late.begin_copy("replica h:2")
            late.clock.advance(0.1)
    assert 5 < len(logs) <= 5 + settings.SHARD_LINES * 100


def test_who_is_even() -> None:
    """It has no copies to its name any more, and nobody is slowed for it."""
    late = Late()
    late.late.begin_copy("m")
    late.chasers = [Chaser("m", ((0, 10),), 0, 100.0, 100.0, True)]
    assert late.late.allowed(8 * MB) == Allowed()
    assert late.late.described()["copies_begun"] == 0


def test_several() -> None:
    """The one for whom least may be written counts, and the slots of all."""
    late, found = Late(), list[Allowed]()
    for second in range(7):
        late.clock.rightNow = 100.0 + second
        now = late.clock.rightNow
        late.chasers = [
            Chaser("m", ((0, 10),), 1000, now, 80.0, False),
            Chaser("n", ((10, 30),), 1000 >> second, now, 80.0, False),
            Chaser("o", ((30, 40),), 1000, now, 95.0, False),  # not for long
            Chaser("p", ((40, 50),), 1000, 90.0, 80.0, False),  # it doesn't ask
        ]
        found.append(late.late.allowed(8 * MB))
    assert found[:3] == [Allowed()] * 3
    assert found[3] == Allowed(4 * MB, ((0, 10),), "m")
    assert found[6].rate == 2 * MB


class Copied:
    """A shard of which a copy is read, ten pages a second, beside a writer that writes five times what is kept.

    :ivar rows: what was read.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(served_followers, "settings", attrs.evolve(settings, SNAPSHOT_BYTES=20_000))
        self.clock = Clock()
        self.store = MemoryStore("1d", self.clock.seconds, bound=FollowedBound(_ROOM, 3600.0))
        at_once(self.store.own(ALL))
        for begin in range(0, len(_KEYS), 100):
            self.write(_KEYS[begin : begin + 100], b"x" * 1000)
        self.followers = ServedFollowers(self.store, self.clock)
        self.written = self.refused = 0
        self.rows: list[Change] = []

    def write(self, keys: list[bytes], record: bytes) -> Deferred[list[Answer]]:
        """Have the store write."""
        run = Write("", keys, [record] * len(keys))
        applied: Deferred[list[Answer]] = self.store.apply(
            [Task(run, 0, [slot_of(key) for key in keys])], PLENTY, PLENTY
        )
        return applied

    def write_all_the_time(self) -> None:
        """Write 100 kB, without a look at answers."""
        run = Write("", _KEYS[:10], [b"y" * 10_000] * 10)
        try:
            self.followers.writers.serve([run], 100_000, lambda: self.write(_KEYS[:10], b"y" * 10_000), "a")
        except Overloaded:
            self.refused += 1
        else:
            self.written += 100_000

    def read(self) -> int:
        """Read a copy to its end; how many pages it had."""
        opened = at_once(Deferred.fromCoroutine(self.followers.open_whole_copy("owner", "replica h:2")))
        pages = 0
        while True:
            page = watch(Deferred.fromCoroutine(self.followers.read_copy("owner", opened[0])))
            self.write_all_the_time()
            self.clock.advance(0.1)
            (rows,) = page
            if isinstance(rows, Exception):
                raise rows
            if not rows:
                return pages
            assert isinstance(rows, list)
            self.rows += rows
            pages += 1


def test_a_copy_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a writer that would have what is kept go before it was read, which is so when nobody is slowed."""
    copied = Copied(monkeypatch)
    pages = copied.read()
    assert pages * 100_000 > 5 * _ROOM
    assert sorted(change.key for change in copied.rows) == sorted(_KEYS)
    assert {change.record for change in copied.rows} == {b"x" * 1000}
    assert copied.refused
    assert copied.written > _ROOM / 4
    copied.followers.close()
    other = Copied(monkeypatch)
    monkeypatch.setattr(other.followers.writers, "_find", lambda _: Allowed(inf))
    with pytest.raises(SnapshotEnded, match="no longer kept"):
        other.read()
