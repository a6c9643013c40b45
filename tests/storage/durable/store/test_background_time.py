"""What an engine says that the store's own background work takes: its own work, and what has to be flushed for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from storage.durable.store.opened import opened
from stores import at_once

from pyshard.storage import LmdbStore
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.lmdb_flush_transaction import WriteTransaction
from pyshard.storage.durable.logged_and_direct_updates import DirectUpdate, LoggedUpdate, Update
from pyshard.storage.durable.merged_view import MergedView


class Steady:
    """A clock that stands still but for `now`."""

    now = 1.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def steady() -> Steady:
    """The clock of the store."""
    return Steady()


@pytest.fixture
def store(path: Path, steady: Steady) -> Iterator[LmdbStore]:
    """A store that begins a checkpoint at ten changed records."""
    made = opened(path, steady=steady, most_changed=10)
    yield made
    at_once(made.close())


def logged(steady: Steady, seconds: float, background: float = 0, records: int = 0) -> LoggedUpdate:
    """An update that takes so long, and changes so many records."""

    def work(_: MergedView, __: Counters, changes: GroupChanges) -> None:
        steady.now += seconds
        for each in range(records):
            changes.remove(bytes(8) + b"%d" % each)

    return LoggedUpdate(work, background)


def direct(steady: Steady, seconds: float, background: float = 0) -> DirectUpdate:
    """An update in a transaction of LMDB that takes so long."""

    def work(_: WriteTransaction) -> None:
        steady.now += seconds

    return DirectUpdate(work, background)


def test_own_work(store: LmdbStore, steady: Steady) -> None:
    """Beside updates of others its own work counts, as many times as it says, and nothing of theirs."""
    commit = store._engine.commit_first
    write, sweep, trim = logged(steady, 1), logged(steady, 2, background=1), logged(steady, 2, background=2.5)
    expected: list[tuple[list[Update], int, float]] = [
        ([write, write], 2, 0),
        ([sweep], 1, 2),
        ([sweep, write, write], 3, 2),
        ([trim], 1, 5),
        ([trim, write], 2, 5),
        ([direct(steady, 4, background=1), write], 1, 4),
        ([direct(steady, 4)], 1, 0),
    ]
    for updates, done, seconds in expected:
        committed = commit(updates)
        assert (len(committed.outcomes), committed.background) == (done, seconds)


@pytest.mark.parametrize(("of_background", "seconds"), [(0, 0.0), (5, 5.0), (10, 10.0)])
def test_what_is_flushed_for_it(
    store: LmdbStore, steady: Steady, monkeypatch: pytest.MonkeyPatch, of_background: int, seconds: float
) -> None:
    """A flush counts by the part of its pages that background work has brought, whoever has it done."""
    commit, flush = store._engine.commit_first, WriteTransaction.flush

    def slow(transaction: WriteTransaction, keys: Iterable[bytes]) -> None:
        steady.now += 10
        flush(transaction, keys)

    monkeypatch.setattr(WriteTransaction, "flush", slow)
    commit([logged(steady, 0, records=10)])
    store._engine.checkpoints.begin(store._engine.memtable, store._engine.sequence)
    store._engine.checkpoints.add(10, 0, of_background)
    committed = commit([logged(steady, 1)])
    assert committed.background == seconds
    assert commit([logged(steady, 1)]).background == 0
    assert steady.now == 13


def test_its_own_sync(store: LmdbStore, steady: Steady, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has written alone counts as a whole; beside others it costs no sync of its own."""
    append = store._engine.log.append

    def slow(payload: bytes, sync: bool, ballot: int) -> None:
        steady.now += 10
        append(payload, sync, ballot)

    monkeypatch.setattr(store._engine.log, "append", slow)
    sweep, write = logged(steady, 2, background=1, records=1), logged(steady, 1, records=1)
    assert [store._engine.commit_first(updates).background for updates in ([sweep], [sweep, write])] == [12, 2]


def test_what_is_flushed_for_a_trim(store: LmdbStore, steady: Steady) -> None:
    """The pages that it brings count as many times as its own time does."""
    store._engine.checkpoints.begin(store._engine.memtable, store._engine.sequence)
    store._engine.commit_first([logged(steady, 1, background=2, records=5), logged(steady, 1, records=20)])
    assert store._engine.checkpoints.of_background == pytest.approx(2 * 5 / 20)
