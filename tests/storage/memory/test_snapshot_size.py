"""What a store in memory counts for its snapshots is what they take."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from stores import PLENTY, at_once

from pyshard.model.key_slots import slots_of
from pyshard.protocol.batch_operations import Remove, Run, Write, part
from pyshard.settings import settings
from pyshard.storage import ISnapshot, MemoryStore, Task

DOCUMENTS = 5_000
_AT_A_TIME = settings.BATCH_ONE_BY_ONE // 2  # with times to live
SLOTS_OF_KEYS = slots_of(b"%d" % number for number in range(DOCUMENTS))


@pytest.fixture(autouse=True)
def traced() -> Iterator[None]:
    """All memory is counted."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


def taken(work: Callable[[], ISnapshot]) -> tuple[ISnapshot, int]:
    """What some work gives, and how much memory it keeps."""
    before = tracemalloc.get_traced_memory()[0]
    made = work()
    return made, tracemalloc.get_traced_memory()[0] - before


def keys() -> list[bytes]:
    """The keys of all documents, which are nobody else's."""
    return [b"%d" % number for number in range(DOCUMENTS)]


def apply(store: MemoryStore, run: Run) -> None:
    """Apply one run on all keys, as many at a time as a batch may have."""
    for begin in range(0, DOCUMENTS, _AT_A_TIME):
        places = range(begin, min(begin + _AT_A_TIME, DOCUMENTS))
        (answer,) = at_once(
            store.apply([Task(part(run, places), 0, [SLOTS_OF_KEYS[at] for at in places])], PLENTY, PLENTY)
        )
        assert answer.errors == {}


def write(store: MemoryStore, size: int, ttl: bool = False) -> None:
    """Write all documents, with new records."""
    records = [bytes(bytearray(size)) for _ in range(DOCUMENTS)]
    apply(store, Write("", keys(), records, None, [10**9 + number for number in range(DOCUMENTS)] if ttl else None))


def test_how_many_were_kept() -> None:
    """Each document counts once that is written or removed, whether it is still kept or not; new ones don't."""
    store = MemoryStore("1d", lambda: 1.7e9)
    write(store, 6)
    snapshot = store.snapshot()
    some = [b"new", b"1", b"2"]
    for run in (Write("", some, [b"\x01"] * 3), Write("", some[1:], [b"\x01"] * 2), Remove("", [b"2", b"3", b"new"])):
        at_once(store.apply([Task(run, 0, list(slots_of(run.keys)))], PLENTY, PLENTY))
    assert snapshot.kept == 3
    while snapshot.count() is None or snapshot.page(PLENTY) != []:
        pass
    snapshot.close()
    assert snapshot.kept == 3


@pytest.mark.parametrize("ttl", [False, True], ids=["for ever", "with times to live"])
def test_opening(ttl: bool) -> None:
    """To open one costs the same however many documents there are: nothing of them is copied."""
    store = MemoryStore("1d", lambda: 1.7e9)
    write(store, 6, ttl)
    snapshot, size = taken(store.snapshot)
    assert size < 4096
    assert snapshot.pinned < 4096
    snapshot, size = taken(lambda: cast("ISnapshot", at_once(store.copy("follower"))))
    assert size < 8192
    assert snapshot.pinned < 4096


@pytest.mark.parametrize("size", [6, 100, 1000])
@pytest.mark.parametrize("removed", [False, True], ids=["replaced", "removed"])
@pytest.mark.parametrize("ttl", [False, True], ids=["for ever", "with times to live"])
def test_what_is_replaced(size: int, removed: bool, ttl: bool) -> None:
    """What a snapshot keeps since its documents were replaced, or removed, is counted within a fifth, once."""
    store = MemoryStore("1d", lambda: 1.7e9)
    write(store, size, ttl)

    def work() -> ISnapshot:
        snapshot = store.snapshot()
        if removed:
            apply(store, Remove("", keys()))
        else:
            write(store, size)
            write(store, size)
        return snapshot

    before = tracemalloc.get_traced_memory()[0]
    snapshot = work()
    counted = snapshot.pinned
    with_it = tracemalloc.get_traced_memory()[0]
    snapshot.close()
    assert snapshot.pinned == 0
    kept = with_it - tracemalloc.get_traced_memory()[0]
    assert 0.8 * kept <= counted <= 1.25 * kept
    assert removed or ttl or 0.8 * kept <= with_it - before <= 1.25 * kept


def test_what_was_read_is_let_go() -> None:
    """The more of a snapshot was read, the less it keeps; at its end it keeps nothing, before anybody closes it."""
    store = MemoryStore("1d", lambda: 1.7e9)
    write(store, 100)
    empty = tracemalloc.get_traced_memory()[0]
    snapshot = store.snapshot()
    write(store, 100)
    sizes, counted, rows = [], [], 0
    while page := snapshot.page(100_000):
        rows += len(page)
        del page
        sizes.append(tracemalloc.get_traced_memory()[0] - empty)
        counted.append(snapshot.pinned)
    assert rows == DOCUMENTS
    assert (sizes, counted) == (sorted(sizes, reverse=True), sorted(counted, reverse=True))
    assert sizes[-1] < sizes[0] / 5  # the table of what was kept goes at the end
    assert (snapshot.pinned, snapshot.page(1000)) == (0, [])


@pytest.mark.parametrize("expired", [False, True], ids=["since", "before, and expired"])
def test_keys_that_have_gone(expired: bool) -> None:
    """Of keys that aren't to be given and have gone, a snapshot keeps nothing, however many there are."""
    now = [1.7e9]
    store = MemoryStore("1d", lambda: now[0])
    if expired:
        write(store, 6, ttl=True)
        now[0] += 10**7
    snapshot = store.snapshot()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(DOCUMENTS):
        key = b"%d" % number + bytes(0 if expired else 1000)
        tasks = [Task(run, 0, slots_of([key])) for run in (Write("", [key], [b"1"]), Remove("", [key]))]
        at_once(store.apply(tasks, PLENTY, PLENTY))
    assert store.documents == 0
    assert tracemalloc.get_traced_memory()[0] - before < 50_000
    assert snapshot.pinned < 4096
    assert snapshot.page(PLENTY) == []
