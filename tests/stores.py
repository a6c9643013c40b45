"""Each kind of store, opened for a test: with a clock, and with its data on a disk in memory if there is one."""

from __future__ import annotations

import queue
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pyshard.errors import PyshardError
from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_answers import ITEM, VERSION, Answer, Result
from pyshard.protocol.batch_operations import Pop, Read, ReadItem, Run, Write
from pyshard.settings import settings
from pyshard.storage import DataDirectory, Durability, IStore, LmdbStore, MemoryStore, Page, PageBounds, Task
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.logged_and_direct_updates import Update
from pyshard.storage.durable.saved_meta import Meta
from pyshard.storage.slot_histogram import BUCKET_BITS, BUCKETS

_T = TypeVar("_T")

OVERHEAD = settings.ITEM_OVERHEAD
PLENTY = 1 << 40

#: When the clocks of benches begin, in seconds since 1970.
START = 1_000_000

#: Bytes of a map that a few documents fill.
SMALL_MAP = 1 << 17

#: The indexes that tests use: name → id.
INDEXES = {"": DEFAULT_INDEX, "pages": 1, "links": 2, "gone": 3}
NAMED = {"pages": 1, "links": 2}

#: An outcome as tests compare it: a result, or the code of a refusal.
Outcome: TypeAlias = Result | str

_SHARED_MEMORY = Path("/dev/shm")


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder, in memory if the system has such a disk: there a sync costs nothing."""
    base = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=base, prefix="pyshard-test-") as made:
        yield Path(made)


class Calls:
    """Stands in for a reactor's `callFromThread`: calls wait here until the test makes them."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Callable[[], object]] = queue.Queue()

    def put(self, function: Callable[..., object], *arguments: object) -> None:
        """Have a function called."""
        self._waiting.put(lambda: function(*arguments))

    def next(self) -> None:
        """Wait for the next call, and make it."""
        self._waiting.get(timeout=30)()

    def make_waiting(self) -> None:
        """Make the calls that wait already."""
        while not self._waiting.empty():
            self.next()

    def result(self, deferred: Deferred[_T]) -> _T:
        """Make calls until a Deferred has fired, and return its result; its failure is raised."""
        found: list[_T | Failure] = []
        deferred.addBoth(found.append)
        while not found:
            self.next()
        return at_once(found)


def at_once(outcome: Deferred[_T] | list[_T | Failure]) -> _T:
    """The result of a Deferred that has fired, or of the list that its `addBoth` filled; its failure is raised."""
    found: list[_T | Failure] = []
    if isinstance(outcome, Deferred):
        outcome.addBoth(found.append)
    else:
        found = outcome
    assert found, "it has not fired"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]


class Bench:
    """A store, its clock, and how to wait for its Deferreds.

    :param kind: one of `KINDS`.
    :param path: an empty folder.
    :param clock: default: one that begins at `START`.
    """

    store: IStore

    def __init__(self, kind: str, path: Path, clock: Clock | None = None) -> None:
        self.kind = kind
        self._path = path
        self._crashes = 0
        self.killed = False
        self.calls = Calls()
        self.clock = clock or Clock()
        self.clock.rightNow = max(self.clock.rightNow, START)
        self.open()

    @property
    def durable(self) -> bool:
        """Whether the store has its data after a restart."""
        return self.kind != "memory"

    @property
    def now(self) -> int:
        """The time in milliseconds since 1970."""
        return int(self.clock.seconds() * 1000)

    def open(self) -> None:
        """Open the store; a durable one has the data that it had."""
        if not self.durable:
            self.store = MemoryStore("1d", self.clock.seconds)
            return
        directory = DataDirectory(self._path / f"data{self._crashes}")
        calls = self.calls.put if self.kind == "lmdb with a thread" else None
        few: dict[str, dict[str, Any]] = {
            "lmdb with a small map": {"first_map": SMALL_MAP, "most_changed": 3},
            "lmdb with a thread": {"most_changed": 20},
        }
        self.store = LmdbStore(directory, self.clock.seconds, calls, Durability.NONE, **few.get(self.kind, {}))

    def close(self) -> None:
        """Close the store."""
        self.result(self.store.close())

    def crash(self) -> None:
        """Kill the process of a durable store, and open the store again with the files as they are at that moment."""
        before = self._path / f"data{self._crashes}"
        self._crashes += 1
        shutil.copytree(before, self._path / f"data{self._crashes}")
        self.close()
        self.open()

    def restart(self) -> None:
        """Open the store again, after it was closed; or, for a bench that is `killed`, was not."""
        if self.killed:
            self.crash()
        else:
            self.close()
            self.open()

    def result(self, deferred: Deferred[_T]) -> _T:
        """Wait for the result of a Deferred; its failure is raised."""
        return self.calls.result(deferred) if self.kind == "lmdb with a thread" else at_once(deferred)

    def applied(self, *runs: Run, limit: int = PLENTY, room: int = PLENTY) -> list[list[Outcome]]:
        """Apply runs as one batch; for each, results and codes of refusals in the order of its keys."""
        tasks = [task(run) for run in runs]
        return [outcomes(answer) for answer in self.result(self.store.apply(tasks, limit, room))]

    def answers(self, *runs: Run, limit: int = PLENTY, room: int = PLENTY) -> list[list[Outcome]]:
        """As `applied`, with records alone, without what stands before them."""
        found = self.applied(*runs, limit=limit, room=room)
        return [[bare(run, one) for one in each] for run, each in zip(runs, found, strict=True)]

    def one(self, run: Run, limit: int = PLENTY) -> Outcome:
        """Apply a run of one key; as `answers`."""
        ((found,),) = self.answers(run, limit=limit)
        return found

    def version(self, key: bytes, index: str = "") -> int:
        """The version of a key that exists."""
        ((found,),) = self.applied(ReadItem(index, [key]))
        assert isinstance(found, bytes)
        version: int = ITEM.unpack_from(found)[0]
        return version

    def fill(self, records: Mapping[bytes, bytes], index: str = "", ttl: int = 0) -> None:
        """Store records."""
        stored = self.answers(
            Write(index, list(records), list(records.values()), None, [ttl] * len(records) if ttl else None)
        )
        assert stored == [[True] * len(records)]

    def sweep(self, most: int = 1000) -> int:
        """Sweep until nothing is left to sweep; return how many sweeps that took."""
        steps = 1
        while self.result(self.store.sweep(most)):
            steps += 1
            assert steps < 1000, "sweeping never ends"
        return steps

    def page(
        self,
        start: int = 0,
        after: bytes | None = None,
        end: int = SLOTS,
        most: int = 1000,
        most_bytes: int = PLENTY,
        index: str = "",
        most_steps: int = settings.PAGE_STEPS,
    ) -> Page:
        """One page of an index."""
        return self.result(self.store.page(INDEXES[index], start, after, end, PageBounds(most, most_bytes, most_steps)))

    def scan(
        self, start: int = 0, end: int = SLOTS, most: int = 1000, most_bytes: int = PLENTY, index: str = ""
    ) -> list[bytes]:
        """All keys of an index, page after page."""
        pages = list(self.pages(start, end, most, most_bytes, index))
        return [key for page in pages for key in page.keys]

    def pages(
        self,
        start: int,
        end: int,
        most: int,
        most_bytes: int,
        index: str,
        most_steps: int = settings.PAGE_STEPS,
    ) -> Iterator[Page]:
        """The pages of an index, each asked for when it is wanted."""
        after: bytes | None = None
        while True:
            page = self.page(start, after, end, most, most_bytes, index, most_steps)
            yield page
            if page.more:
                assert page.keys, "a page that isn't the last one has keys"
                after = page.keys[-1]
                start = slot_of(after, index.encode())
            elif page.slot is not None:
                assert (page.slot, page.after) != (start, after), "a page leads on"
                start, after = page.slot, page.after
            else:
                return

    def in_order(self, keys: Iterator[bytes] | list[bytes] | set[bytes], index: str = "") -> list[bytes]:
        """Keys in slot order, and within a slot in the store's own."""
        name = index.encode()
        if self.durable:
            return sorted(keys, key=lambda key: lmdb_encoding.database_key(0, slot_of(key, name), key))
        return sorted(keys, key=lambda key: (slot_of(key, name), key))


#: Each kind of store.
KINDS = ["memory", "lmdb", "lmdb with a small map", "lmdb with a thread"]

#: Those for tests with many examples.
FAST_KINDS = ["memory", "lmdb with a small map"]


@contextmanager
def prepared(kind: str) -> Iterator[Bench]:
    """An empty store of a kind, with the indexes `NAMED`."""
    with folder() as path:
        bench = Bench(kind, path)
        bench.result(bench.store.set_indexes(NAMED))
        yield bench
        bench.close()


def commit(store: LmdbStore, updates: Sequence[Update]) -> list[object]:
    """Have a store's engine do updates, in order; the outcome of each."""
    outcomes: list[object] = []
    while len(outcomes) < len(updates):
        outcomes += store._engine.commit_first(updates[len(outcomes) :]).outcomes
    return outcomes


def check_consistent(store: LmdbStore) -> None:
    """Count all records, and those of LMDB, one by one; compare with the counters and with LMDB's expiries."""
    engine = store._engine
    with engine.reading() as view:
        records = {db_key: bytes(value) for db_key, value in view.between(b"", b"\xff" * 600)}
        earliest = view.first_expiry()
    _check_counters(engine.counters, records)
    expiries = {expiry for value in records.values() if (expiry := lmdb_encoding.expiry_of(value))}
    assert not expiries or 0 < earliest <= min(expiries)
    with engine.environment.begin() as transaction:
        in_lmdb = dict(transaction.cursor(db=engine.databases.records))
        listed = set(transaction.cursor(db=engine.databases.expiries))
        saved = Meta.read(transaction, engine.databases).counters
    assert saved is not None
    _check_counters(Counters.unpacked(saved), in_lmdb)
    expiring = [(lmdb_encoding.expiry_of(value), db_key) for db_key, value in in_lmdb.items()]
    assert listed == {(lmdb_encoding.expiry_key(expiry, db_key), db_key) for expiry, db_key in expiring if expiry}


def _check_counters(counters: Counters, records: Mapping[bytes, bytes]) -> None:
    documents: Counter[int] = Counter()
    buckets: Counter[int] = Counter()
    used, newest = 0, 0
    for db_key, value in records.items():
        key = lmdb_encoding.whole_key(memoryview(db_key), memoryview(value))
        stored = lmdb_encoding.unpack(key, memoryview(value))
        assert stored is not None
        index, slot = lmdb_encoding.PREFIX.unpack_from(db_key)
        assert db_key == lmdb_encoding.database_key(index, slot, key)
        documents[index] += 1
        buckets[slot >> BUCKET_BITS] += 1
        used += weight(key, stored.record, stored.expires)
        newest = max(newest, stored.version)
    assert {index: documents[index] for index in counters.documents} == counters.documents
    dropped = sum(documents[index] for index in counters.dropped)
    assert sum(documents.values()) == sum(counters.documents.values()) + dropped
    assert (counters.used, list(counters.bucket_counts)) == (used, [buckets[bucket] for bucket in range(BUCKETS)])
    assert counters.version >= newest


def task(run: Run) -> Task:
    """The task of a run, in one of `INDEXES`."""
    return Task(run, INDEXES[run.index], [slot_of(key, run.index.encode()) for key in run.keys])


def outcomes(answer: Answer) -> list[Outcome]:
    """Results, with the code of the refusal where there is one."""
    return [one.code if isinstance(one, PyshardError) else one for one in answer.outcomes()]


def bare(run: Run, outcome: Outcome) -> Outcome:
    """An outcome without what stands before its record."""
    before = VERSION.size if isinstance(run, Read | Pop) else ITEM.size if isinstance(run, ReadItem) else 0
    return outcome[before:] if isinstance(outcome, bytes) else outcome


def weight(key: bytes, record: bytes | memoryview, expires: int = 0) -> int:
    """Bytes that a document counts.

    :param expires: its expiry or time to live; 0: none.
    """
    return len(key) + len(record) + OVERHEAD + (settings.EXPIRY_OVERHEAD if expires else 0)
