"""Hidden records that expire, in each kind of store: they stay, and visible ones are swept beside them."""

from __future__ import annotations

import pytest
from storage.contract.ranges import (
    ABOVE,
    BELOW,
    HIGH,
    LOW,
    check_visible,
    page_of,
    records_from,
    removed,
    rows_of,
    stage,
)
from storage.followers.following import everything
from stores import PLENTY, Bench

from pyshard.model.key_slots import slot_of
from pyshard.protocol.change_groups import Change
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage import LmdbStore


@pytest.mark.parametrize("hidden", ["staged", "left"])
def test_hidden_records_are_not_swept_when_they_expire(bench: Bench, hidden: str) -> None:
    """The store that they are copied of removes them. Visible ones are swept beside many of those."""
    store, expires = bench.store, bench.now + 1000
    bench.result(store.own(BELOW))
    stage(bench, records_from(HIGH, expires=expires))
    bench.fill(dict.fromkeys(LOW, b"text"), ttl=1000)
    check_visible(bench, LOW, expires=expires)
    bench.clock.advance(2)
    assert rows_of(store.snapshot()) == []  # a store in memory sweeps to count them
    bench.sweep(7)
    assert (store.documents, store.used, bench.scan()) == (0, 0, [])
    assert rows_of(store.snapshot()) == []
    assert len(everything(bench)[0]) == len(HIGH)
    if hidden == "left":
        bench.result(store.unstage("m"))
        bench.sweep(7)
        assert (everything(bench)[0], store.ranges) == ([], StoreRanges(BELOW))
        return
    bench.result(store.own(BELOW + ABOVE))
    assert (store.documents, bench.scan()) == (len(HIGH), [])  # expired ones count until they are swept away
    bench.sweep(7)
    assert (store.documents, store.used) == (0, 0)


def test_sweeps_come_by_while_a_copy_grows(bench: Bench) -> None:
    """However many hidden records have expired, and however often the copy goes on: what can be seen is swept."""
    store = bench.store
    bench.result(store.own(BELOW))
    stage(bench, records_from(HIGH, expires=bench.now + 500))
    bench.fill(dict.fromkeys(LOW, b"text"), ttl=1000)
    if isinstance(store, LmdbStore) and bench.kind != "lmdb with a thread":
        store._engine.flush_all()
    bench.clock.advance(2)
    for sequence in range(8, 40):
        bench.result(store.absorb_staged("m", page_of(records_from(HIGH[:1])), sequence, PLENTY))
        bench.result(store.sweep(4))
    assert store.documents == 0


def test_a_hidden_record_that_has_expired_changes(bench: Bench) -> None:
    """One that was passed over by a sweep can be removed, and can get another expiry, or none."""
    store = bench.store
    bench.result(store.own(BELOW))
    stage(bench, records_from(HIGH, expires=bench.now + 1000))
    bench.clock.advance(2)
    bench.sweep()
    later = [Change(0, slot_of(HIGH[0]), HIGH[0], 51, bench.now + 60_000, b"text")]
    never = [Change(0, slot_of(HIGH[1]), HIGH[1], 51, 0, b"text")]
    bench.result(store.absorb_staged("m", page_of([*later, *never, *removed(HIGH[2:20])]), 8, PLENTY))
    bench.result(store.own(BELOW + ABOVE))
    bench.sweep()
    assert bench.scan() == bench.in_order(HIGH[:2])
    assert store.documents == 2
