"""What a primary has made and isn't committed costs little, however much the memtable has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from stores import PLENTY, at_once, folder, task

from pyshard.protocol.batch_operations import Write
from pyshard.storage import DataDirectory, LmdbStore
from pyshard.storage.durable.lmdb_flush_transaction import WriteTransaction
from pyshard.storage.durable.memtable import Memtable

_RECORD = b"\x01\0\0\0\x1c\x01"
_CHANGED = 1000  # records from which on a checkpoint begins


@pytest.fixture
def primary() -> Iterator[LmdbStore]:
    """A store that leads."""
    with folder() as path:
        made = LmdbStore(DataDirectory(path), lambda: 1.0, most_changed=_CHANGED)
        at_once(made.promise(1, b"group"))
        at_once(made.lead(1))
        yield made
        at_once(made.close())


def write(store: LmdbStore, first: int, count: int) -> None:
    """Write some records with short keys."""
    run = Write("", [b"key %d" % number for number in range(first, first + count)], [_RECORD] * count)
    at_once(store.apply([task(run)], PLENTY, PLENTY))


def counting(called: Counter[str], name: str, function: Callable[..., object]) -> Callable[..., object]:
    """The function, whose calls are counted."""

    def call(*arguments: object) -> object:
        called[name] += 1
        return function(*arguments)

    return call


def test_checkpoints_copy_only_what_they_flush(primary: LmdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a checkpoint goes on, the memtable is copied for its flushes alone, not for each group."""
    called: Counter[str] = Counter()
    for owner, name in ((Memtable, "copy"), (WriteTransaction, "flush")):
        monkeypatch.setattr(owner, name, counting(called, name, getattr(owner, name)))
    for number in range(2 * _CHANGED):
        write(primary, number, 1)
        at_once(primary.commit(primary.sequence - 1))  # one group is never committed
    assert 0 < called["copy"] <= 2 * called["flush"] < _CHANGED


def test_what_is_committed_settles_at_once(primary: LmdbStore) -> None:
    """Groups that are committed are kept no longer, also while no checkpoint goes on."""
    uncommitted = primary._engine.replica.uncommitted
    assert uncommitted is not None
    for number in range(100):
        write(primary, number, 1)
        at_once(primary.commit(primary.sequence))
    assert len(uncommitted) <= 2
