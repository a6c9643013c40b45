"""LMDB gets what is committed, and nothing else, whatever a primary has made; a start replays the log over that."""

from __future__ import annotations

from collections.abc import Callable
from errno import EIO
from random import Random
from typing import Any

import pytest
from conftest import TakeErrors
from disks import System, put_under_logs
from storage.durable.store.opened import opened
from stores import PLENTY, at_once, check_consistent, commit, folder, task
from twisted.internet.defer import Deferred

from pyshard.errors import StorageFailed
from pyshard.protocol.batch_operations import Pop, Read, Write
from pyshard.protocol.log_positions import LogPosition
from pyshard.storage import LmdbStore, ReplicaRole
from pyshard.storage.durable.log_changes import change_of
from pyshard.storage.durable.logged_and_direct_updates import DirectUpdate
from pyshard.storage.durable.saved_meta import Meta

KEYS = [b"%d" % number for number in range(60)]


def in_lmdb(store: LmdbStore) -> dict[bytes, bytes | None]:
    """Key → record of what LMDB has."""
    engine = store._engine
    with engine.environment.begin() as transaction:
        found = [change_of(bytes(key), bytes(value)) for key, value in transaction.cursor(db=engine.databases.records)]
    return {change.key: change.record for change in found}


@pytest.mark.parametrize("behind", [0, 1, 5, 40])
def test_what_a_checkpoint_flushes(behind: int) -> None:
    """Each record in LMDB is as some committed group has left it, though later groups have changed or removed it.

    LMDB claims to have no more than what is committed, and it gets on whenever more is.

    :param behind: how many groups are made before they are committed.
    """
    random = Random(behind)
    with folder() as path:
        store = opened(path / "data", most_changed=20)
        at_once(store.promise(1))
        states: dict[int, dict[bytes, bytes]] = {at_once(store.lead(1)): {}}
        now: dict[bytes, bytes] = {}
        flushed = 0
        for step in range(300):
            keys = random.sample(KEYS, 3)
            record = b"%d" % step
            if random.random() < 0.3:
                at_once(store.apply([task(Pop("", keys))], PLENTY, PLENTY))
                now = {key: value for key, value in now.items() if key not in keys}
            else:
                at_once(store.apply([task(Write("", keys, [record] * 3))], PLENTY, PLENTY))
                now = now | dict.fromkeys(keys, record)
            states[store.sequence] = now
            at_once(store.commit(max(2, store.sequence - behind)))
            engine = store._engine
            assert engine.lmdb.counters.sequence <= store.committed
            flushed = max(flushed, engine.lmdb.counters.sequence)
            found = in_lmdb(store)
            for key in KEYS:
                had = {states[number].get(key) for number in states if number <= store.committed}
                assert found.get(key) in had
        check_consistent(store)
        assert flushed > 100
        committed = store.committed
        store._engine.log.close()
        store._engine.environment.close()
        store._directory.close()
        again = opened(path / "data", most_changed=20)
        last = again.sequence
        assert last == again.committed <= committed
        (answer,) = at_once(again.apply([task(Read("", KEYS))], PLENTY, PLENTY))
        assert [each and each[8:] for each in answer.results] == [states[last].get(key) for key in KEYS]  # type: ignore[index]
        at_once(again.commit(committed + 1000))
        assert again.sequence == max(states)
        at_once(again.close())


def test_the_sweep_of_a_dropped_index() -> None:
    """It takes records of an index from LMDB only once it is committed that the index is dropped."""
    with folder() as path:
        store = opened(path / "data")
        at_once(store.set_indexes({"pages": 1}))
        at_once(store.apply([task(Write("pages", [b"a"], [b""]))], PLENTY, PLENTY))
        store._engine.flush_all()
        at_once(store.promise(1))
        at_once(store.lead(1))
        at_once(store.set_indexes({}))
        sweep = DirectUpdate(lambda transaction: transaction.sweep(100))
        assert commit(store, [sweep]) == [False]
        assert in_lmdb(store) == {b"a": b""}
        at_once(store.commit(store.sequence))
        assert commit(store, [sweep]) == [False]
        assert in_lmdb(store) == {}
        check_consistent(store)
        at_once(store.close())


@pytest.mark.parametrize("first", ["lead", "be_member"])
def test_a_broken_log_of_a_lone_store(first: str, logged_errors: TakeErrors, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is mended before the store is a replica: no group gets a number that LMDB takes for done."""
    with folder() as path, monkeypatch.context() as patched:
        system = System()
        put_under_logs(patched, system)
        store = opened(path / "data")
        at_once(store.promise(1))
        system.failing = {"fdatasync", "truncate"}
        with pytest.raises(StorageFailed):
            at_once(store.remember(b"refused"))
        system.failing = {"pwrite"}
        asked: dict[str, Callable[[], Deferred[Any]]] = {"lead": lambda: store.lead(1), "be_member": store.be_member}
        with pytest.raises(StorageFailed):  # LMDB leaves the number out, and the log isn't begun anew
            at_once(asked[first]())
        assert store.role is ReplicaRole.ALONE
        system.failing = set()
        if first == "be_member":
            at_once(store.be_member())
            assert store.position == LogPosition(0, store.committed)
        number = at_once(store.lead(1))
        assert number > store._engine.lmdb.counters.sequence
        at_once(store.remember(b"taken"))
        store._engine.log.close()
        store._engine.environment.close()
        store._directory.close()
        again = opened(path / "data")
        assert again.position == LogPosition(1, number + 1)
        at_once(again.commit(number + 1))
        assert again.recall() == b"taken"
        at_once(again.close())
    assert logged_errors()


def test_what_lmdb_knows_of_a_cut(monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors) -> None:
    """Where the log is to be cut is saved before, and forgotten after. One that has failed is done before all else."""
    with folder() as path:
        store = opened(path / "data")
        engine = store._engine
        at_once(store.promise(1))
        first = at_once(store.lead(1))
        for number in range(3):
            at_once(store.remember(b"%d" % number))
        at_once(store.be_member())
        known: list[object] = []
        real = engine.log.cut

        def cut(sequence: int) -> None:
            with engine.environment.begin() as transaction:
                saved = Meta.read(transaction, engine.databases).replica
            known.append(saved and saved.cut)
            if len(known) == 1:
                raise OSError(EIO, "Input/output error")
            real(sequence)

        with monkeypatch.context() as patched:
            patched.setattr(engine.log, "cut", cut)
            with pytest.raises(StorageFailed):
                at_once(store.cut(first + 1))
            assert store.position == LogPosition(1, first + 1)
            at_once(store.promise(2))
            assert at_once(store.lead(2)) == first + 2
        assert known == [first + 1] * 2
        assert engine.lmdb.meta.replica is not None
        assert engine.lmdb.meta.replica.cut is None
        assert store.recall() == b"0"
        at_once(store.close())
    assert logged_errors()
