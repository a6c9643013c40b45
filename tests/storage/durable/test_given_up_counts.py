"""Counts of what a durable store gives up, while groups are made and fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import TakeErrors
from storage.contract.ranges import BELOW, HIGH, KEYS, LOW, check_visible
from stores import PLENTY, Bench, commit, prepared, task
from twisted.python.failure import Failure

from pyshard.errors import BadRequest, StorageFailed
from pyshard.protocol.batch_operations import Remove, Run, Write
from pyshard.storage import LmdbStore
from pyshard.storage.durable import range_updates
from pyshard.storage.durable.logged_and_direct_updates import LoggedUpdate


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A durable store."""
    with prepared("lmdb") as bench:
        yield bench


def batch(store: LmdbStore, run: Run) -> LoggedUpdate:
    """The update of a batch."""
    return LoggedUpdate(
        lambda view, counters, changes: store._execute(view, counters, changes, [task(run)], PLENTY, PLENTY)
    )


@pytest.mark.parametrize("counted", [0, 10, 100])
def test_changes_of_the_group_that_gives_up(bench: Bench, counted: int) -> None:
    """What was changed before in the same group counts as it is then."""
    store = bench.store
    assert isinstance(store, LmdbStore)
    bench.fill(dict.fromkeys(KEYS[:50], b"older text"))
    if counted:
        bench.result(store.count_ahead(BELOW, counted))
    sequence = store.sequence
    changes = [batch(store, Write("", KEYS[5:], [b"text"] * 55)), batch(store, Remove("", KEYS[:40]))]
    done = commit(store, [*changes, range_updates.owning(store._engine.ahead, BELOW)])
    assert not any(isinstance(outcome, Failure) for outcome in done)
    assert store.sequence == sequence + 1
    check_visible(bench, [])
    assert store._engine.counters.hidden.documents() == 20
    bench.sweep()
    assert store._engine.counters.used == 0


@pytest.mark.parametrize("counted", [10, 100])
def test_a_group_that_fails(
    bench: Bench, counted: int, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors
) -> None:
    """The disk doesn't take it, or one of its updates fails: what it would have changed isn't counted."""
    store = bench.store
    assert isinstance(store, LmdbStore)
    bench.fill(dict.fromkeys(KEYS, b"text"))
    with monkeypatch.context() as patched:
        patched.setattr(store._engine.log, "append", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(StorageFailed):
            bench.result(store.own(BELOW))
    bench.result(store.count_ahead(BELOW, counted))
    with monkeypatch.context() as patched:
        patched.setattr(store._engine.log, "append", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(StorageFailed):
            bench.result(store.apply([task(Remove("", HIGH[:20]))], PLENTY, PLENTY))
    assert logged_errors()

    def fails(*_: object) -> None:
        raise BadRequest("no")

    outcomes = commit(store, [batch(store, Remove("", HIGH[:2])), LoggedUpdate(fails)])
    assert isinstance(outcomes[1], Failure)
    bench.result(store.own(BELOW))
    check_visible(bench, LOW)
    assert store._engine.counters.hidden.documents() == 28
