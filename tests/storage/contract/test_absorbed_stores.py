"""What each kind of store knows of another one that it absorbs as a whole."""

from __future__ import annotations

import pytest
from storage.contract.ranges import (
    ABOVE,
    BELOW,
    FROM,
    KEYS,
    LOW,
    check_visible,
    failed,
    page_of,
    records_from,
    removed,
    rows_of,
)
from storage.followers.following import everything
from stores import Bench, check_consistent

from pyshard.errors import BadRequest
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.store_ranges import Origin, StoreRanges
from pyshard.storage import LmdbStore


def test_the_version_floor_is_a_group(bench: Bench) -> None:
    """Whoever follows a store that absorbs is told that versions have risen."""
    follower = bench.store.follow("f", bench.store.sequence)
    at = bench.store.sequence
    bench.result(bench.store.absorb(page_of([], version=2 * 10**15)))
    assert bench.store.sequence == at + 1
    follower.close()


def test_how_far_a_whole_store_is_absorbed(bench: Bench) -> None:
    """It is saved with the group; a group that was absorbed is passed over, but for one of another incarnation."""
    store = bench.store
    at = Origin(FROM.identity, FROM.incarnation, 9)
    bench.result(store.absorb(page_of(records_from(KEYS)), at))
    bench.result(store.absorb(page_of(removed(KEYS)), at))
    bench.result(store.absorb(page_of(removed(KEYS)), Origin(FROM.identity, FROM.incarnation, 8)))
    assert store.origin == at
    check_visible(bench, KEYS)
    bench.result(store.absorb(page_of(removed(KEYS)), Origin(FROM.identity, "another", 8)))
    check_visible(bench, [])


def test_how_far_a_whole_store_is_absorbed_after_a_restart(durable: Bench) -> None:
    """It is what it was."""
    at = Origin(FROM.identity, FROM.incarnation, 9)
    durable.result(durable.store.absorb(page_of(records_from(KEYS)), at))
    durable.restart()
    assert durable.store.origin == at


def follow(bench: Bench, changes: list[Change], sequence: int, ranges: StoreRanges | None = None) -> None:
    """Absorb a group of another store as a whole."""
    group = ChangeGroup(sequence, 0, 60, changes, ranges=ranges)
    bench.result(bench.store.absorb(group, Origin(FROM.identity, FROM.incarnation, sequence)))


def test_a_follower_removes_nothing_by_itself(bench: Bench) -> None:
    """Neither what has expired nor what is left over: its source's groups do. Nobody sees it meanwhile."""
    store, expires = bench.store, bench.now + 1000
    bench.fill(dict.fromkeys(LOW[20:], b"text"), ttl=1000)  # from before it followed
    follow(bench, records_from(KEYS, expires=expires), 5)
    follow(bench, [], 6, StoreRanges(BELOW, {}, ABOVE))
    bench.clock.advance(2)
    sequence = store.sequence
    bench.sweep(7)
    assert bench.sweep(7) == 1  # it has nothing to look at any more
    assert (store.sequence, store.ranges.left, bench.scan()) == (sequence, ABOVE, [])
    assert store.documents == len(LOW)  # as the source counts them
    assert rows_of(store.snapshot()) == []
    assert len(everything(bench)[0]) == len(KEYS)
    assert store.sequence == sequence
    follow(bench, removed(KEYS[10:]), 7, StoreRanges(BELOW))
    assert (store.documents, store.ranges) == (10, StoreRanges(BELOW))
    if isinstance(store, LmdbStore):
        check_consistent(store)


@pytest.mark.parametrize("ranges", [StoreRanges(), StoreRanges(BELOW, {}, ABOVE)])
def test_a_follower_that_owns(bench: Bench, ranges: StoreRanges) -> None:
    """From then on it follows nobody: it removes what has expired, and what is left over."""
    store, expires = bench.store, bench.now + 1000
    follow(bench, records_from(KEYS, expires=expires), 5, ranges)
    bench.clock.advance(2)
    bench.sweep(7)
    bench.result(store.own(ranges.owned))
    assert store.origin is None
    bench.sweep(7)
    assert (store.documents, store.used, store.ranges) == (0, 0, StoreRanges(ranges.owned))
    assert everything(bench)[0] == []


def test_a_follower_that_lacks_records_owns_nothing(bench: Bench) -> None:
    """While the copy that it begins with is read it may not own anything."""
    follow(bench, records_from(KEYS[:5]), 0)
    failed(bench, bench.store.own(BELOW), BadRequest, "a copy of the store '1d1d.*that isn't complete")
    assert bench.store.origin == FROM
    assert bench.store.ranges == StoreRanges()
    follow(bench, records_from(KEYS[5:]), 9)
    bench.result(bench.store.own(BELOW))
    check_visible(bench, LOW)


def test_whom_a_store_follows_outlives_a_restart(durable: Bench) -> None:
    """So does that it follows nobody any more."""
    expires = durable.now + 1000
    follow(durable, records_from(KEYS, expires=expires), 5)
    durable.restart()
    durable.clock.advance(2)
    durable.sweep(7)
    assert len(everything(durable)[0]) == len(KEYS)
    durable.result(durable.store.own(durable.store.ranges.owned))
    durable.restart()
    assert durable.store.origin is None
    durable.sweep(7)
    assert durable.store.used == 0
