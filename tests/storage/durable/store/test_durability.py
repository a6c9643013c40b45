"""When a durable store syncs, and how long its log gets."""

from __future__ import annotations

from pathlib import Path

import lmdb
import pytest
from conftest import TakeErrors
from storage.contract.ranges import ABOVE, BELOW, FROM, HIGH, LOW, page_of, records_from
from storage.durable.store.broken import Broken
from storage.durable.store.opened import opened
from stores import PLENTY, at_once, check_consistent, commit, task
from twisted.internet.task import Clock

from pyshard.protocol.batch_operations import Pop, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.log_groups import ReplicatedGroup
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage import Durability
from pyshard.storage.durable import range_updates
from pyshard.storage.durable.log_changes import for_log
from pyshard.storage.durable.logged_and_direct_updates import LoggedUpdate


def test_fsync_is_the_default(path: Path) -> None:
    """Unless a weaker mode is asked for, each change is on the disk when it is answered; LMDB always syncs."""
    store = opened(path)
    broken = Broken(store)
    for each in range(1, 4):
        at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
        assert broken.synced == each
    at_once(store.apply([task(Pop("", [b"unknown"]))], PLENTY, PLENTY))
    assert broken.synced == 3  # nothing was changed
    assert (store._engine.environment.flags()["sync"], store._engine.environment.flags()["metasync"]) == (True, True)
    at_once(store.close())


@pytest.mark.parametrize("durability", [Durability.ASYNC, Durability.NONE])
def test_weaker_modes_do_not_sync_with_each_change(path: Path, durability: Durability) -> None:
    """With `async` and `none` changes sync nothing, but LMDB's transactions do; closing flushes everything to it."""
    store = opened(path, durability=durability)
    assert (store._engine.environment.flags()["sync"], store._engine.environment.flags()["metasync"]) == (True, True)
    broken = Broken(store)
    at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
    assert broken.synced == 0
    at_once(store.close())
    for file in path.glob("log-*"):
        file.unlink()
    again = stored_in(path)
    assert again == [b"a"]


@pytest.mark.parametrize("of_log", [False, True])
def test_members_sync_what_is_more_than_records(path: Path, of_log: bool) -> None:
    """In the weaker modes, too: indexes, ranges and what is remembered is on the disk before a member confirms it."""
    store = opened(path, durability=Durability.NONE)
    at_once(store.promise(1))
    at_once(store.be_member())
    broken = Broken(store)
    first = store.position.sequence + 1
    changes = [Change(0, 1, b"a", 1, 0, b"")], [Change(0, 1, b"b", 2, 0, b"")]
    groups: list[ReplicatedGroup] = [
        ChangeGroup(first, 1, 1, changes[0]),
        ChangeGroup(first + 1, 1, 2, changes[1], text=b"text"),
        ChangeGroup(first + 2, 1, 2, [], {"pages": 1}, next_index=2),
        ChangeGroup(first + 3, 1, 2, [], ranges=StoreRanges()),
    ]
    if of_log:
        groups = [for_log(group).group for group in groups]
    synced: list[int] = []
    for group in groups:
        at_once(store.append([group]))
        synced.append(broken.synced)
    assert synced == [0, 1, 2, 3]
    at_once(store.close())


def stored_in(path: Path) -> list[bytes]:
    """The keys that LMDB itself has."""
    with lmdb.open(str(path / "records"), max_dbs=3) as environment, environment.begin() as transaction:
        cursor = transaction.cursor(db=environment.open_db(b"records", txn=transaction, create=False))
        return [database[9:] for database in cursor.iternext(values=False)]


def test_none_never_syncs_meanwhile(path: Path) -> None:
    """With `none` nothing is synced however long the store is open."""
    clock = Clock()
    store = opened(path, clock.seconds, durability=Durability.NONE)
    broken = Broken(store)
    for _ in range(3):
        at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
        clock.advance(10)
        at_once(store.sweep(10))
    assert broken.synced == 0
    at_once(store.close())


def test_async_syncs_every_second(path: Path) -> None:
    """With `async` the log is synced about a second after a change, once, without another change.

    The wall clock has no say in it.
    """
    clock, wall = Clock(), Clock()
    store = opened(path, wall.seconds, steady=clock.seconds, durability=Durability.ASYNC)
    broken = Broken(store)
    run = task(Write("", [b"a"], [b""]))
    at_once(store.apply([run], PLENTY, PLENTY))
    for _ in range(4):
        at_once(store.sweep(10))
        clock.advance(0.25)
        assert broken.synced == 0
    at_once(store.sweep(10))
    assert broken.synced == 1
    clock.advance(100)
    at_once(store.sweep(10))
    assert broken.synced == 1
    at_once(store.apply([run], PLENTY, PLENTY))
    assert broken.synced == 2
    for step in (1000, -2000):
        wall.rightNow += step
        at_once(store.apply([run], PLENTY, PLENTY))
        assert broken.synced == 2
    clock.advance(1)
    at_once(store.sweep(10))
    assert broken.synced == 3
    at_once(store.close())


def test_async_has_nothing_to_sync_behind_a_commit(path: Path) -> None:
    """A direct update leaves the log synced, so no sync is due later."""
    clock = Clock()
    store = opened(path, steady=clock.seconds, durability=Durability.ASYNC)
    broken = Broken(store)
    at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
    at_once(store.remember(b"text"))  # before which the log is synced
    clock.advance(10)
    at_once(store.sweep(10))
    assert (broken.synced, store._engine.unsynced) == (1, False)
    at_once(store.close())


@pytest.mark.parametrize("is_followed", [False, True])
def test_the_log_has_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch, *, is_followed: bool) -> None:
    """With a long log or many changed records, checkpoints flush faster than changes come; followed or not."""
    for name, counts in (("_MOST_LOG_BYTES", not is_followed), ("_MOST_FOLLOWED_BYTES", is_followed)):
        monkeypatch.setattr(f"pyshard.storage.durable.checkpoint.{name}", 10_000 if counts else 2_000)
    store = opened(path, most_changed=20)
    if is_followed:
        store.followers.follow("somebody", 1 << 40)  # it needs nothing that is there
    sizes: list[int] = []
    changed: list[int] = []
    for size in [3000] * 9 + [10] * 90:
        at_once(store.apply([task(Write("", [b"%d" % len(sizes)], [bytes(size)]))], PLENTY, PLENTY))
        sizes.append(store._engine.log.size)
        changed.append(len(store._engine.memtable.records))
    assert (changed[:9], max(changed)) == ([1, 2, 3, 4, 5, 4, 3, 4, 5], 21)
    assert 10_000 < max(sizes) < 16_500
    assert store.documents == 99
    check_consistent(store)
    at_once(store.close())


def test_a_sync_that_fails(path: Path, logged_errors: TakeErrors) -> None:
    """A sync that fails is logged and tried again, and the store goes on."""
    clock = Clock()
    store = opened(path, steady=clock.seconds, durability=Durability.ASYNC)
    broken = Broken(store)
    clock.advance(2)
    broken.syncs = False
    run = task(Write("", [b"a"], [b""]))
    assert at_once(store.apply([run], PLENTY, PLENTY))[0].results == [True]
    assert [str(error) for error in logged_errors(AssertionError)] == [
        "the disk could not be synced: Input/output error"
    ]
    broken.syncs = True
    at_once(store.sweep(10))
    assert broken.synced == 2
    at_once(store.sweep(10))
    assert broken.synced == 2
    at_once(store.close())


def test_rows_of_a_copy_wait_for_its_end(path: Path) -> None:
    """A copy that isn't complete is begun anew after a crash, so its rows aren't synced. With its last group all is.

    What clients change meanwhile is, also where it shares a group with such rows.
    """
    store = opened(path)
    at_once(store.own(BELOW))
    at_once(store.stage("m", ABOVE, FROM))
    broken = Broken(store)
    rows, write = (
        range_updates.absorbing_staged("m", page_of(records_from(HIGH)), 0, PLENTY, 1e9),
        Write("", [LOW[0]], [b""]),
    )
    change = LoggedUpdate(lambda _, __, changes: changes.remove(bytes(8) + b"key"))
    before = store.sequence
    commit(store, [rows])
    assert (broken.synced, store.sequence, store._engine.safe) == (0, before + 1, before)
    commit(store, [rows, change])
    assert (broken.synced, store._engine.safe) == (1, before + 2)
    commit(store, [rows])
    at_once(store.apply([task(write)], PLENTY, PLENTY))
    assert (broken.synced, store._engine.safe) == (2, before + 4)
    commit(store, [rows])
    at_once(store.absorb_staged("m", ChangeGroup(7, 0, 99, []), 7, PLENTY))
    assert (broken.synced, store._engine.safe) == (3, before + 6)
    at_once(store.absorb_staged("m", ChangeGroup(8, 0, 100, records_from(HIGH[:1], version=100)), 8, PLENTY))
    assert broken.synced == 4
    at_once(store.close())


def test_rows_of_a_copy_among_replicas(path: Path) -> None:
    """Members are given what is synced alone, and answers may wait for them: so a primary syncs rows of a copy, too."""
    store = opened(path)
    at_once(store.own(BELOW))
    at_once(store.stage("m", ABOVE, FROM))
    at_once(store.promise(1))
    at_once(store.lead(1))
    broken, before = Broken(store), store.sequence
    commit(store, [range_updates.absorbing_staged("m", page_of(records_from(HIGH)), 0, PLENTY, 1e9)])
    assert (broken.synced, store.safe) == (1, before + 1)
    at_once(store.close())


def test_rows_of_a_copy_are_synced_before_they_are_flushed(path: Path) -> None:
    """LMDB gets nothing that the log may still lose: a power failure would leave a part of it in the wrong place."""
    store = opened(path)
    at_once(store.own(BELOW))
    at_once(store.stage("m", ABOVE, FROM))
    broken = Broken(store)
    commit(store, [range_updates.absorbing_staged("m", page_of(records_from(HIGH)), 0, PLENTY, 1e9)])
    assert broken.synced == 0
    store._engine.flush_all()
    assert (broken.synced, store._engine.log.synced) == (1, store.sequence)
    at_once(store.close())
