"""How much is kept for followers, and for how long; what they have after restarts, and what isn't safe yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from conftest import TakeErrors
from storage.followers.following import waiting_for
from stores import PLENTY, START, at_once, folder, task
from twisted.internet.task import Clock

from pyshard.errors import FollowerBehind, StorageFailed
from pyshard.protocol.batch_operations import Write
from pyshard.storage import DataDirectory, Durability, FollowedBound, IStore, LmdbStore, MemoryStore
from pyshard.storage.durable.log_retention import SavedLog


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
    store = store_of(kind, path, clock, FollowedBound(12_000, 1000))
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
    ring = store._followers.ring
    return None if ring is None else list(range(ring.first, ring.last + 1))


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
    at_once(store.sweep(1))
    assert numbers_in_ring(store) == [9, 10, 11]
    for _ in range(3):  # without a sweep it keeps no more than this of what nobody needs
        follower.confirm(store.sequence)
        write(store, 7, size=10_000)
        assert len(numbers_in_ring(store) or ()) in range(1, 15)
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
