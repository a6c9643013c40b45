"""LMDB gets what is committed, and nothing else, whatever a primary has made; a start replays the log over that."""

from __future__ import annotations

from random import Random

import pytest
from storage.durable.store.opened import opened
from stores import PLENTY, at_once, check_consistent, commit, folder, task

from pyshard.protocol.batch_operations import Pop, Read, Write
from pyshard.storage import LmdbStore
from pyshard.storage.durable.log_changes import change_of
from pyshard.storage.durable.logged_and_direct_updates import DirectUpdate

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
