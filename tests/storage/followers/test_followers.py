"""What every store promises those who follow it, beside that they get the same store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from conftest import TakeErrors
from storage.followers.following import bring_to_the_disk
from stores import KINDS, PLENTY, START, Bench, at_once, folder, prepared, task
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from pyshard.errors import FollowerBehind, StorageFailed
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_operations import Has, Pop, Read, Touch, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage import DataDirectory, Durability, FollowedBound, IStore, LmdbStore, MemoryStore
from pyshard.storage.durable.log_retention import SavedLog


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """An empty store of each kind."""
    with prepared(request.param) as made:
        yield made


def waiting_for(deferred: Deferred[list[ChangeGroup]]) -> list[object]:
    """What a Deferred gives, when it does."""
    found: list[object] = []
    deferred.addBoth(found.append)
    return found


def groups(bench: Bench, deferred: Deferred[list[ChangeGroup]]) -> list[ChangeGroup]:
    """Groups that are there already."""
    bring_to_the_disk(bench)
    return bench.result(deferred)


def test_reads_have_no_number(bench: Bench) -> None:
    """What changes nothing doesn't raise the sequence, and whatever changes something raises it by one."""
    bench.fill({b"a": b""})
    before = bench.store.sequence
    bench.applied(Has("", [b"a"]), Read("", [b"a"]), Pop("", [b"x"]), Touch("", [b"x"], [5]))
    bench.page()
    bench.result(bench.store.sweep(10))
    bench.result(bench.store.set_indexes({"pages": 1, "links": 2}))
    assert bench.store.sequence == before
    bench.fill({b"b": b"", b"c": b""})
    bench.applied(Pop("", [b"b"]), Write("", [b"b"], [b""]))
    bench.result(bench.store.remember(b"text"))
    bench.result(bench.store.set_indexes({"pages": 1}))
    assert bench.store.sequence == before + 4


def test_groups_say_what_has_become_of_records(bench: Bench) -> None:
    """Each has index, slot, key, version, expiry and record; of what was removed the key, however long."""
    long_key = b"long" * 200
    bench.fill({b"a": b"old", long_key: b"old"})
    copy = bench.result(bench.store.copy("f"))
    assert copy.head.indexes == {"pages": 1, "links": 2}
    copy.close()
    bench.applied(Write("pages", [b"a"], [b"one"], None, [500]), Pop("", [b"a", long_key]))
    bench.result(bench.store.remember(b"text"))
    bench.result(bench.store.set_indexes({"pages": 1}))
    follower = bench.store.follow("f", copy.head.sequence)
    found = [group for _ in range(3) for group in groups(bench, follower.groups(1))]
    version = bench.version(b"a", "pages")
    assert sorted(found[0].changes, key=lambda change: (change.index, change.key)) == [
        Change(0, slot_of(b"a"), b"a", 0, 0, None),
        Change(0, slot_of(long_key), long_key, 0, 0, None),
        Change(1, slot_of(b"a", b"pages"), b"a", version, bench.now + 500, b"one"),
    ]
    first = copy.head.sequence + 1
    assert [(group.sequence, group.indexes, group.text) for group in found] == [
        (first, None, None),
        (first + 1, None, b"text"),
        (first + 2, {"pages": 1}, None),
    ]
    assert (found[0].version, found[0].ballot) == (version, 0)


def test_groups_have_ranges(bench: Bench) -> None:
    """Each change of ranges is a group of its own, for followers of some slots, too; so is what is free at last."""
    store = bench.store
    bench.fill({b"a": b""})
    half = ((0, SLOTS // 2),) if slot_of(b"a") >= SLOTS // 2 else ((SLOTS // 2, SLOTS),)
    place, found = store.sequence, list[ChangeGroup]()
    follower = store.follow("f", place, ((5, 6),))
    bench.result(store.own(half))
    left = store.ranges
    bench.result(store.sweep(10))
    while not found or found[-1].sequence < store.sequence:
        found += groups(bench, follower.groups(1))
    assert [group.ranges for group in found] == [left, StoreRanges(half)]
    copy = bench.result(store.copy("g"))
    copy.close()
    assert copy.head.ranges == StoreRanges(half)


def test_whoever_waits_is_told(bench: Bench) -> None:
    """The Deferred fires when there is a group; one group behind another, each once."""
    follower = bench.store.follow("f", bench.store.sequence)
    for key in (b"a", b"b"):
        asked = follower.groups(1000)
        found = waiting_for(asked)
        assert not found
        bench.fill({key: b""})
        bring_to_the_disk(bench)
        bench.calls.make_waiting()
        (given,) = found
        assert isinstance(given, list)
        assert [change.key for group in given for change in group.changes] == [key]
    waiting = follower.groups(1000)
    outcome = waiting_for(waiting)
    waiting.cancel()
    assert outcome[0].check(CancelledError)  # type: ignore[attr-defined]  # a Failure
    asked = follower.groups(1000)
    bench.fill({b"c": b""})
    assert [change.key for group in groups(bench, asked) for change in group.changes] == [b"c"]


def test_some_slots_alone(bench: Bench) -> None:
    """A follower of some slots is given changes there, and is told how far groups go that have none."""
    keys = sorted((b"%d" % each for each in range(40)), key=slot_of)
    ranges = ((0, slot_of(keys[10])), (slot_of(keys[30]), SLOTS))
    wanted = {*keys[:10], *keys[30:]}
    bench.fill(dict.fromkeys(keys, b""))
    copy = bench.result(bench.store.copy("f", ranges))
    rows: list[Change] = []
    while (page := copy.page(200, 7)) != []:
        rows += page or []
    copy.close()
    assert {change.key for change in rows} == wanted
    follower = bench.store.follow("f", copy.head.sequence, ranges)
    for key in keys:
        bench.fill({key: b"new"})
    given: list[ChangeGroup] = []
    while not given or given[-1].sequence < bench.store.sequence:
        given += groups(bench, follower.groups(300))
    assert {change.key for group in given for change in group.changes} == wanted
    assert given[-1].sequence == bench.store.sequence


def test_a_follower_that_is_closed(bench: Bench) -> None:
    """It is given nothing more, and its place stays; one that follows anew, or is forgotten, ends it."""
    place = bench.store.sequence
    for how in ("closed", "anew", "forgotten"):
        follower = bench.store.follow("f", place)
        found = waiting_for(follower.groups(1000))
        if how == "closed":
            follower.close()
        elif how == "anew":
            bench.store.follow("f", place)
        else:
            bench.store.forget("f")
        assert found[0].check(StorageFailed)  # type: ignore[attr-defined]  # a Failure
        with pytest.raises(StorageFailed):
            bench.result(follower.groups(1000))


@pytest.mark.parametrize("off", [1, 1000])
def test_a_place_that_never_was(bench: Bench, off: int) -> None:
    """A number above that of the last group is another store's: the follower begins anew."""
    bench.fill({b"a": b""})
    with pytest.raises(FollowerBehind, match=r"f: the changes behind number .* begin anew, with a copy"):
        bench.store.follow("f", bench.store.sequence + off)


def test_copies_show_one_moment(bench: Bench) -> None:
    """What changes after a copy was taken isn't in it, and is in the groups behind it."""
    bench.fill({b"%d" % each: b"old" for each in range(20)})
    copy = bench.result(bench.store.copy("f"))
    bench.fill({b"%d" % each: b"new" for each in range(10, 30)})
    rows: list[Change] = []
    while (page := copy.page(1)) != []:
        rows += page or []
    assert (len(rows), {change.record for change in rows}) == (20, {b"old"})
    follower = bench.store.follow("f", copy.head.sequence)
    (group,) = groups(bench, follower.groups(1 << 20))
    assert {change.record for change in group.changes} == {b"new"}


# -- bounds, restarts, and what isn't safe --------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    """The clock of all."""
    made = Clock()
    made.advance(START)
    return made


@pytest.fixture
def path() -> Iterator[Path]:
    """The path of a data directory."""
    with folder() as made:
        yield made / "data"


def store_of(kind: str, path: Path, clock: Clock, bound: FollowedBound) -> IStore:
    """A store with a bound."""
    if kind == "memory":
        return MemoryStore("1d", clock.seconds, steady=clock.seconds, bound=bound)
    return LmdbStore(DataDirectory(path), clock.seconds, steady=clock.seconds, most_changed=10, bound=bound)


def write(store: IStore, count: int, size: int = 100) -> None:
    """Write so many records, each in a group."""
    for each in range(count):
        at_once(store.apply([task(Write("", [b"%d" % each], [b"x" * size]))], PLENTY, PLENTY))


@pytest.mark.parametrize("kind", ["memory", "durable"])
def test_a_follower_that_is_too_slow(kind: str, path: Path, clock: Clock) -> None:
    """Past the bound of bytes a follower is behind, whether it waits to be asked or comes back; a quick one isn't."""
    store = store_of(kind, path, clock, FollowedBound(6000, 1000))
    slow, gone, quick = (store.follow(name, store.sequence) for name in ("slow", "gone", "quick"))
    place = store.sequence
    gone.close()
    for _ in range(20):
        write(store, 10)
        (*_, last) = at_once(quick.groups(1 << 20))
        quick.confirm(last.sequence)
    with pytest.raises(FollowerBehind):
        at_once(slow.groups(1000))
    with pytest.raises(FollowerBehind):
        store.follow("gone", place)
    write(store, 1)
    assert at_once(quick.groups(1000))[-1].sequence == store.sequence
    copy = at_once(store.copy("slow"))
    copy.close()
    slow = store.follow("slow", copy.head.sequence)
    write(store, 1)
    assert [group.sequence for group in at_once(slow.groups(1000))] == [store.sequence]
    at_once(store.close())


@pytest.mark.parametrize("kind", ["memory", "durable"])
def test_a_follower_that_never_comes_back(kind: str, path: Path, clock: Clock) -> None:
    """After the bound of time nothing is kept for it."""
    store = store_of(kind, path, clock, FollowedBound(1 << 30, 60))
    store.follow("f", store.sequence)
    place = store.sequence
    write(store, 35)
    clock.advance(59)
    at_once(store.sweep(10))
    assert at_once(store.follow("f", place).groups(1)) != []
    clock.advance(2)
    at_once(store.sweep(10))
    with pytest.raises(FollowerBehind):
        store.follow("f", place)
    at_once(store.close())


def numbers_in_ring(store: MemoryStore) -> list[int] | None:
    """The numbers of the groups that a store keeps; None: it keeps none for nobody."""
    noting = {index.noted is not None for index in store._indexes.values()}
    assert noting == {store._followers.ring is not None}
    return None if store._followers.ring is None else sorted(store._followers.ring._groups)


def test_memory_keeps_nothing_for_nobody(clock: Clock) -> None:
    """The ring is there only while somebody follows, and what came without it is gone."""
    store = MemoryStore("1d", clock.seconds)
    write(store, 5)
    assert numbers_in_ring(store) is None
    with pytest.raises(FollowerBehind):
        store.follow("f", 3)
    assert numbers_in_ring(store) is None
    follower = store.follow("f", 5)
    write(store, 5)
    assert numbers_in_ring(store) == [6, 7, 8, 9, 10]
    follower.confirm(8)
    write(store, 1)
    assert numbers_in_ring(store) == [9, 10, 11]
    store.forget("f")
    assert numbers_in_ring(store) is None


@pytest.mark.parametrize("durability", [Durability.ASYNC, Durability.NONE])
def test_what_is_not_safe_is_not_given(path: Path, clock: Clock, durability: Durability) -> None:
    """A follower is given a group when the disk has it: with the weaker modes a second later at the latest."""
    store = LmdbStore(DataDirectory(path), clock.seconds, None, durability, steady=clock.seconds)
    follower = store.follow("f", store.sequence)
    write(store, 3)
    found = waiting_for(follower.groups(1 << 20))
    at_once(store.sweep(10))
    assert not found
    clock.advance(1)
    at_once(store.sweep(10))
    (given,) = found
    assert isinstance(given, list)
    assert [group.sequence for group in given] == [store.sequence - 2, store.sequence - 1, store.sequence]
    write(store, 1)
    found = waiting_for(follower.groups(1 << 20))
    copy = at_once(store.copy("g"))
    assert found
    assert copy.head.sequence == store.sequence
    copy.close()
    at_once(store.close())


def test_a_follower_goes_on_after_a_restart(path: Path, clock: Clock) -> None:
    """A follower that began with a copy finds all groups behind its place, after a kill as well."""
    store = store_of("durable", path, clock, FollowedBound())
    assert isinstance(store, LmdbStore)
    write(store, 15)
    copy = at_once(store.copy("f"))
    copy.close()
    write(store, 25)
    for restart in range(4):
        if restart % 2:
            at_once(store.close())
        else:
            store._engine.close()
            store._directory.close()
        store = store_of("durable", path, clock, FollowedBound())
        assert isinstance(store, LmdbStore)
        found = at_once(store.follow("f", copy.head.sequence).groups(1 << 20))
        first = copy.head.sequence + 1
        assert [group.sequence for group in found] == list(range(first, first + 25 + restart * 12))
        write(store, 12)
    at_once(store.close())


def test_the_store_is_closed(bench: Bench) -> None:
    """Whoever waits is told."""
    found = waiting_for(bench.store.follow("f", bench.store.sequence).groups(1000))
    bench.close()
    assert str(found[0].value) == "the store was closed"  # type: ignore[attr-defined]  # a Failure
    bench.open()


def test_a_copy_that_the_disk_refuses(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors
) -> None:
    """A copy whose place LMDB can't have is none: it is closed, and nothing is kept for it."""
    store = store_of("durable", path, clock, FollowedBound())
    assert isinstance(store, LmdbStore)

    def fail(_: SavedLog) -> bytes:
        raise lmdb.DiskError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(SavedLog, "packed", fail)
        with pytest.raises(StorageFailed):
            at_once(store.copy("f"))
    assert len(logged_errors(AssertionError)) == 1
    assert (store._engine.retention.places.by_name, len(store._snapshots)) == ({}, 0)
    at_once(store.close())
