"""What has expired and may not be removed yet: to have sweeps look at it again takes no time, however much it is."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from sys import getsizeof

import pytest
from storage.contract.ranges import page_of, records_from
from stores import PLENTY, Bench, at_once, folder
from work import growth

from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.store_ranges import Origin
from pyshard.storage import MemoryStore
from pyshard.storage.memory.expiry_schedule import ExpirySchedule

LOW, NEXT, HIGH = ((0, SLOTS // 2),), ((SLOTS // 2, SLOTS - 9),), ((SLOTS - 9, SLOTS),)
OTHER = Origin("2e", "2e")


def expired(documents: int) -> Bench:
    """A store in memory with that many documents of its lower half, which have expired."""
    with folder() as path:
        bench = Bench("memory", path)
    bench.fill(dict.fromkeys(keys(documents), b"text"), ttl=1000)
    bench.clock.advance(2)
    return bench


def keys(documents: int) -> list[bytes]:
    """Keys of the lower half."""
    return [key for key in (b"%d" % number for number in range(3 * documents)) if slot_of(key) < SLOTS // 2][:documents]


def member(documents: int) -> MemoryStore:
    """A member of which somebody took a snapshot, and counted what has expired."""
    store = expired(documents).store
    assert isinstance(store, MemoryStore)
    at_once(store.be_member())
    count_all(store)
    return store


def target(documents: int) -> MemoryStore:
    """The target of a move of the lower half, all of which has expired, and was passed over."""
    with folder() as path:
        bench = Bench("memory", path)
    store = bench.store
    assert isinstance(store, MemoryStore)
    at_once(store.own(HIGH))
    at_once(store.stage("m", LOW, OTHER))
    at_once(store.absorb_staged("m", page_of(records_from(keys(documents), expires=bench.now + 1000)), 7, PLENTY))
    bench.clock.advance(2)
    bench.sweep()
    return store


def follower(documents: int) -> MemoryStore:
    """A store that absorbs another one as a whole, of which all has expired."""
    store = expired(documents).store
    assert isinstance(store, MemoryStore)
    at_once(store.absorb(page_of([]), OTHER))
    at_once(store.sweep(PLENTY))
    return store


def count_all(store: MemoryStore) -> int:
    """Open a snapshot, and close it when it knows how many documents it has."""
    snapshot = store.snapshot()
    while (found := snapshot.count()) is None:
        pass
    snapshot.close()
    return found


def open_snapshot(store: MemoryStore) -> object:
    """Open one more snapshot."""
    return store.snapshot()


def lead(store: MemoryStore) -> object:
    """Have a member lead."""
    at_once(store.promise(1))
    return at_once(store.lead(1))


def own_all(store: MemoryStore) -> object:
    """Take over what was copied."""
    return at_once(store.own(LOW + HIGH))


def stage_more(store: MemoryStore) -> object:
    """Begin a second move, so that other slots are hidden, too."""
    return at_once(store.stage("n", NEXT, OTHER))


@pytest.mark.parametrize(
    ("prepare", "work"),
    [(member, open_snapshot), (member, lead), (target, own_all), (target, stage_more), (follower, open_snapshot)],
)
def test_to_look_again_takes_no_time(
    prepare: Callable[[int], MemoryStore], work: Callable[[MemoryStore], object]
) -> None:
    """Whatever has sweeps look again at all that they have passed over: in that step none of it is looked at."""

    def prepared(documents: int) -> Callable[[], object]:
        store = prepare(documents)
        assert len(store._indexes[0]._schedule._passed_over) == documents
        return lambda: work(store)

    assert growth(prepared, 50) < 1.5


def test_each_snapshot_counts_anew() -> None:
    """Every snapshot of a member leaves out what has expired, however often that was counted already."""
    store = member(20)
    assert [count_all(store) for _ in range(3)] == [0, 0, 0]
    lead(store)
    assert not at_once(store.sweep(100))
    assert len(store._indexes[0].records) == 0


def test_a_snapshot_looks_at_each_document_once() -> None:
    """Whether it was passed over before or not, it isn't looked at again in the same count."""
    store = expired(20).store
    at_once(store.be_member())
    for _ in range(3):
        snapshot = store.snapshot()
        assert next(looks for looks in count() if snapshot.count(1) is not None) == 21
        snapshot.close()


def test_a_count_ends_beside_others() -> None:
    """However often somebody opens another snapshot, and has sweeps look again, a count ends, and is right."""
    store = expired(500).store
    at_once(store.be_member())
    snapshot, looked_at = store.snapshot(), 0
    while (found := snapshot.count(100)) is None:
        looked_at += 100
        store.snapshot().close()
        assert looked_at <= 2500
    assert found == 0


def test_what_was_passed_over_is_due_behind_all_else() -> None:
    """What has expired since comes first; then all others once more, and none that has gone or was replaced."""
    schedule = ExpirySchedule(0)
    for key in (b"a", b"b", b"c", b"d"):
        schedule.add(key, 10)
    for _ in range(4):
        schedule.pass_over(schedule.next_due(20) or b"")
    assert (schedule.next_due(20), schedule.is_due(20)) == (None, False)
    schedule.remove(b"a", 10)
    schedule.look_again()
    schedule.add(b"new", 15)
    assert schedule.is_due(0)
    assert schedule.next_due(20) == b"new"
    found = {schedule.next_due(20)}
    for key in {b"b", b"c", b"d"} - found:
        schedule.replace(key, 10, bytes(memoryview(key)))
    schedule.remove(min({b"b", b"c", b"d"} - found), 10)
    found.add(schedule.next_due(20))
    assert len(found) == 2
    assert (schedule.next_due(20), schedule.is_due(20)) == (None, False)


@pytest.mark.parametrize("again", [False, True])
def test_what_goes_meanwhile_leaves_no_room_behind(again: bool) -> None:
    """Of many keys that were passed over, and have gone, next to nothing is kept, whether they are due again or not."""
    schedule, keys = ExpirySchedule(0), {b"%d" % number for number in range(5000)}
    for key in keys:
        schedule.add(key, 10)
    for _ in keys:
        schedule.pass_over(schedule.next_due(20) or b"")
    if again:
        schedule.look_again()
        keys.remove(schedule.next_due(20) or b"")
    for key in keys:
        schedule.remove(key, 10)
    assert (schedule._passed_over, schedule._again) == (set(), set())
    assert getsizeof(schedule._passed_over) + getsizeof(schedule._again) < 2048
