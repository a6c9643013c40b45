"""The log of a durable store that is followed: kept from the followers' places on, within a bound, over restarts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import TakeErrors
from disks import System, put_under_logs
from storage.durable.store.broken import Broken
from storage.durable.store.opened import opened
from stores import PLENTY, START, at_once, check_consistent, task
from twisted.internet.task import Clock

from pyshard.errors import StorageFailed
from pyshard.protocol.batch_operations import Write
from pyshard.storage import LmdbStore
from pyshard.storage.durable.log_format import groups_in
from pyshard.storage.follower_places import FollowedBound

#: Room for some segments of ten groups each.
BOUND = FollowedBound(100_000, 1000)


@pytest.fixture
def clock() -> Clock:
    """The clock of all."""
    made = Clock()
    made.advance(START)
    return made


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[LmdbStore]:
    """A store that takes ten records for many."""
    made = store_at(path, clock)
    yield made
    at_once(made.close())


def store_at(path: Path, clock: Clock, bound: FollowedBound = BOUND) -> LmdbStore:
    """The store of a data directory."""
    return opened(path, clock.seconds, most_changed=10, steady=clock.seconds, bound=bound)


def write(store: LmdbStore, count: int, first: int = 0) -> None:
    """Write so many records, each in a group."""
    for each in range(first, first + count):
        at_once(store.apply([task(Write("", [b"%d" % each], [b"x" * 20]))], PLENTY, PLENTY))


def sequences(store: LmdbStore) -> list[int]:
    """The numbers of the groups that the log's segments have."""
    found: list[int] = []
    for path, lap in store._engine.log.segments:
        found += [group.sequence for group in groups_in(path.read_bytes(), lap, 0).groups]
    return found


def kill(store: LmdbStore) -> None:
    """End a store as a killed process does."""
    store._engine.close()
    store._directory.close()


def test_nothing_is_kept_without_followers(store: LmdbStore) -> None:
    """Two files are used by turns."""
    write(store, 200)
    assert store._engine.log.files == 2
    assert len(sequences(store)) < 40


def test_groups_are_kept_from_the_lowest_place_on(store: LmdbStore) -> None:
    """Whatever goes into LMDB, the log has all groups above the lowest place; what is behind it goes."""
    write(store, 25)
    places = store._engine.retention.places
    places.follow("a", 26)
    places.follow("b", 26)
    write(store, 100)
    at_once(store.sweep(10))
    assert sequences(store)[-100:] == list(range(27, 127))
    places.confirm("a", 126)
    write(store, 1)
    assert sequences(store)[-101:] == list(range(27, 128))
    places.confirm("b", 80)
    write(store, 1)
    assert sequences(store)[-48:] == list(range(81, 129))
    assert len(sequences(store)) < 75
    places.forget("a")
    places.forget("b")
    write(store, 100)
    assert len(sequences(store)) < 40
    check_consistent(store)


def test_closing_flushes_everything_and_keeps_it(path: Path, clock: Clock) -> None:
    """A start after that has nothing to replay, and all groups that a follower needs; so has one after a kill."""
    store = store_at(path, clock)
    write(store, 5)
    store._engine.retention.places.follow("a", 3)
    write(store, 40, 5)
    at_once(store.close())
    for number in range(3):
        store = store_at(path, clock)
        assert store._engine.retention.places.by_name == {"a": 3}
        assert sequences(store)[-43 - number :] == list(range(4, 47 + number))
        write(store, 1, 45 + number)
        kill(store)
    store = store_at(path, clock)
    check_consistent(store)
    assert store.documents == 48
    at_once(store.close())


def test_the_bound_of_bytes(path: Path, clock: Clock, logged_errors: TakeErrors) -> None:
    """What is more than the bound goes, the oldest first; the follower that needs it is behind, and others aren't."""
    store = store_at(path, clock, FollowedBound(3000, 1000))
    places = store._engine.retention.places
    places.follow("slow", 1)
    write(store, 15)
    places.follow("quick", 16)
    for each in range(15, 200):
        write(store, 1, each)
        places.confirm("quick", store._engine.log.sequence)
        assert sum(kept.size for kept in store._engine.log.kept) < 5000
    assert set(places.by_name) == {"quick"}
    assert len(sequences(store)) < 60
    check_consistent(store)
    at_once(store.close())


def test_the_bound_of_time(path: Path, clock: Clock) -> None:
    """A segment that took its last group long ago goes, also if nothing is written any more."""
    store = store_at(path, clock, FollowedBound(1 << 30, 60))
    store._engine.retention.places.follow("a", 1)
    write(store, 35)
    clock.advance(60)
    assert at_once(store.sweep(10)) is False
    assert store._engine.retention.places.by_name == {"a": 1}
    clock.advance(1)
    at_once(store.sweep(10))
    assert store._engine.retention.places.by_name == {}
    assert not store._engine.log.kept
    at_once(store.close())


def test_a_full_disk_goes_before_followers(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors
) -> None:
    """Where the disk has no room the log gives up what followers need, and writers go on."""
    system = System()
    put_under_logs(monkeypatch, system)
    store = store_at(path, clock)
    store._engine.retention.places.follow("a", 1)
    write(store, 45)
    files = store._engine.log.files
    assert files > 3
    system.room = 10
    with pytest.raises(StorageFailed, match="No space left on device"):
        write(store, 1, 45)
    assert len(logged_errors(AssertionError)) == 1
    assert (store._engine.retention.places.by_name, store._engine.log.kept) == ({}, [])
    system.room = None
    write(store, 1, 45)
    check_consistent(store)
    at_once(store.close())


def test_a_file_that_cannot_be_added(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no file can be added, the segments kept for followers alone are used, and writers go on."""
    store = store_at(path, clock)
    store._engine.retention.places.follow("a", 1)

    def no_room() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store._engine.log, "grow", no_room)
    write(store, 100)
    assert (store._engine.log.files, store._engine.retention.places.by_name) == (2, {})
    check_consistent(store)
    at_once(store.close())


def test_lmdb_knows_of_a_file_before_it_takes_groups(path: Path, clock: Clock, logged_errors: TakeErrors) -> None:
    """If LMDB can't be told of a new file, no group goes there, however often it is tried."""
    store = store_at(path, clock)
    store._engine.retention.places.follow("a", 1)
    write(store, 19)
    broken = Broken(store)
    broken.commits = False
    for _ in range(50):
        try:
            write(store, 1, 19)
        except StorageFailed:
            logged_errors(AssertionError)
    assert {segment.path.name for segment in store._engine.log.segments} <= {"log-1", "log-2"}
    broken.commits = True
    write(store, 30, 19)
    kill(store)
    store = store_at(path, clock)
    assert sequences(store)[-40:] == list(range(store._engine.log.sequence - 39, store._engine.log.sequence + 1))
    at_once(store.close())


def test_a_broken_log_leaves_followers_behind(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors
) -> None:
    """Once a refused group may be in the log, nobody reads on there: its number has no group for anybody."""
    system = System()
    put_under_logs(monkeypatch, system)
    store = store_at(path, clock)
    store._engine.retention.places.follow("a", 1)
    write(store, 15)
    system.failing_once = {"fdatasync"}
    with pytest.raises(StorageFailed):
        write(store, 1, 15)
    assert len(logged_errors(AssertionError)) == 1
    refused = store._engine.log.sequence + 1
    assert store._engine.retention.places.by_name == {"a": 1}
    write(store, 1, 15)
    assert store._engine.retention.places.by_name == {}
    assert sequences(store) == [refused + 1]
    at_once(store.close())
