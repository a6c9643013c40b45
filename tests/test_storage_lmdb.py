"""What is the durable store's own: the map's growth, a disk that fails, jobs that fail, when it syncs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import pytest
from conftest import TakeErrors
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.batch import Answer, Read, Run, Write
from pyshard.errors import ConfigError, StorageFailed
from pyshard.hashing import slot_of
from pyshard.storage import DataDirectory, Durability, LmdbStore, Task

_LIMIT, _ROOM = 1 << 40, 1 << 30


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Environment:
    """An LMDB environment whose commits fail while `broken`, and which counts its syncs."""

    def __init__(self, real: lmdb.Environment) -> None:
        self._real = real
        self.broken = False
        self.syncs = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    @contextmanager
    def begin(self, write: bool = False, **options: Any) -> Iterator[lmdb.Transaction]:
        """A transaction; one that writes is aborted with an error at its end while the disk is broken."""
        with self._real.begin(write=write, **options) as transaction:
            yield transaction
            if write and self.broken:
                raise lmdb.DiskError("No space left on device")

    def sync(self, force: bool) -> None:
        """Count it."""
        self.syncs += 1
        self._real.sync(force)


def result(deferred: Deferred[Any]) -> Any:
    """What a Deferred that has fired fired with; it raises what it failed with."""
    outcome: list[Any] = []
    deferred.addBoth(outcome.append)
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


def apply(store: LmdbStore, *runs: Run) -> list[Answer]:
    """Apply runs on the default index."""
    tasks = [Task(run, 0, [slot_of(key) for key in run.keys]) for run in runs]
    answers: list[Answer] = result(store.apply(tasks, _LIMIT, _ROOM))
    return answers


def records(store: LmdbStore, keys: list[bytes]) -> list[bytes | None]:
    """The records of some keys, without their versions."""
    return [one[8:] if isinstance(one, bytes) else None for one in apply(store, Read("", keys))[0].results]


@pytest.fixture
def time() -> Time:
    """The stores' time."""
    return Time()


@pytest.fixture
def store(tmp_path: Path, time: Time) -> Iterator[LmdbStore]:
    """A store with a small map."""
    made = LmdbStore(DataDirectory(tmp_path / "data"), time, first_map=1 << 20)
    yield made
    result(made.close())


def broken(store: LmdbStore) -> Environment:
    """Put an environment that can fail in the place of a store's own."""
    environment = Environment(store._environment)
    store._environment = environment  # type: ignore[assignment]  # as much of one as the store uses
    return environment


def test_the_map_grows(store: LmdbStore) -> None:
    """More data than the map holds goes in, in batches and in one record, and all of it is there."""
    keys = [b"key%d" % number for number in range(3000)]
    for begin in range(0, len(keys), 500):
        part = keys[begin : begin + 500]
        apply(store, Write("", part, [b"x" * 1000 + key for key in part]))
    apply(store, Write("", [b"large"], [b"y" * (8 << 20)]))
    assert store._environment.info()["map_size"] >= 16 << 20
    assert records(store, keys) == [b"x" * 1000 + key for key in keys]
    assert records(store, [b"large"]) == [b"y" * (8 << 20)]
    assert store.documents == 3001
    assert store.used == sum(len(key) * 2 + 1000 + 128 for key in keys) + 5 + (8 << 20) + 128


def test_a_disk_that_fails(store: LmdbStore, logged_errors: TakeErrors) -> None:
    """The writer is told, nothing of the batch is there nor counted; reads go on, and writes once it is mended."""
    apply(store, Write("", [b"before"], [b"1"]))
    counted = store.documents, store.used
    environment = broken(store)
    environment.broken = True
    with pytest.raises(StorageFailed, match="No space left on device"):
        apply(store, Write("", [b"before", b"new"], [b"2", b"2"]))
    assert len(logged_errors()) == 1
    assert records(store, [b"before", b"new"]) == [b"1", None]
    assert (store.documents, store.used) == counted
    environment.broken = False
    apply(store, Write("", [b"before", b"new"], [b"3", b"3"]))
    assert records(store, [b"before", b"new"]) == [b"3", b"3"]


def test_a_job_that_fails_fails_alone(store: LmdbStore) -> None:
    """In a group, a job that raises leaves no trace, and the others are done."""

    def bad(transaction: lmdb.Transaction, state: Any) -> None:
        transaction.put(b"half", b"done", db=store._databases.records)
        state.used += 1000
        raise ZeroDivisionError

    def good(transaction: lmdb.Transaction, state: Any) -> str:
        state.used += 1
        return "done"

    outcomes = store._commit([good, bad, good])
    assert [outcomes[0], outcomes[2]] == ["done", "done"]
    assert isinstance(outcomes[1], Failure)
    assert outcomes[1].check(ZeroDivisionError)
    assert store.used == 2
    with store._environment.begin() as transaction:
        assert transaction.get(b"half", db=store._databases.records) is None


@pytest.mark.parametrize("durability", list(Durability))
def test_when_it_syncs(tmp_path: Path, time: Time, durability: Durability) -> None:
    """LMDB syncs each commit itself with `fsync`; with `async` the store does within a second; with `none` nobody."""
    store = LmdbStore(DataDirectory(tmp_path / "data"), time, durability=durability)
    environment = broken(store)
    flags = environment.flags()
    assert (flags["sync"], flags["metasync"]) == ((True, True) if durability is Durability.FSYNC else (False, False))
    apply(store, Write("", [b"a"], [b"1"]))
    time.now += 0.9
    result(store.sweep(10))
    before = environment.syncs
    time.now += 0.2
    result(store.sweep(10))  # nothing is written any more; the shard looks for something to sweep twice a second
    assert (before, environment.syncs) == ((0, 1) if durability is Durability.ASYNC else (0, 0))
    result(store.sweep(10))
    assert environment.syncs == (1 if durability is Durability.ASYNC else 0)
    result(store.close())


def test_data_that_is_no_data(tmp_path: Path, time: Time) -> None:
    """A damaged environment is refused in one line."""
    directory = DataDirectory(tmp_path / "data")
    directory.records.mkdir()
    (directory.records / "data.mdb").write_bytes(b"no LMDB" * 10_000)
    with pytest.raises(ConfigError, match="the data can't be opened") as refused:
        LmdbStore(directory, time)
    assert "\n" not in str(refused.value)
    directory.close()


def test_another_key_with_the_same_digest(store: LmdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should two long keys ever have one digest, neither is taken for the other."""
    mine, other = b"a" * 600, b"b" * 600
    monkeypatch.setattr("pyshard.storage.layout.blake2b", lambda *_, digest_size: _Digest(digest_size))
    apply(store, Write("", [other], [b"theirs"]))
    slot = slot_of(other)
    answers = result(store.apply([Task(Read("", [mine]), 0, [slot])], _LIMIT, _ROOM))
    assert answers[0].results == [None]


class _Digest:
    def __init__(self, size: int) -> None:
        self._size = size

    def digest(self) -> bytes:
        """The same for everything."""
        return b"d" * self._size
