"""What each kind of store knows of another one that it absorbs as a whole."""

from __future__ import annotations

from storage.contract.ranges import (
    FROM,
    KEYS,
    check_visible,
    page_of,
    records_from,
    removed,
)
from stores import Bench

from pyshard.protocol.store_ranges import Origin


def test_the_version_floor_is_a_group(bench: Bench) -> None:
    """Whoever follows a store that absorbs is told that versions have risen."""
    follower = bench.store.follow("f", bench.store.sequence)
    at = bench.store.sequence
    bench.result(bench.store.absorb(page_of([], version=10**18)))
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
