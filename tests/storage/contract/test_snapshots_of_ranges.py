"""Snapshots and copies of each kind of store, while its ranges change."""

from __future__ import annotations

import pytest
from storage.contract.ranges import (
    ABOVE,
    BELOW,
    CUT,
    HIGH,
    KEYS,
    LOW,
    check_visible,
    records_from,
    rows_of,
    stage,
)
from stores import Bench

from pyshard.errors import SnapshotEnded
from pyshard.model.key_slots import slot_of


@pytest.mark.parametrize("swept", ["before", "between", "after"])
def test_a_snapshot_counts_what_expired_and_is_hidden_since(bench: Bench, swept: str) -> None:
    """Records of slots that went after it was opened count as they were, also those that had expired by then."""
    bench.fill(dict.fromkeys(LOW, b"text"))
    bench.fill(dict.fromkeys(HIGH[:20], b"text"), ttl=1000)
    bench.fill(dict.fromkeys(HIGH[20:], b"text"), ttl=5000)
    bench.clock.advance(2)
    if swept == "before":
        bench.sweep(7)
    snapshot = bench.store.snapshot()
    bench.result(bench.store.own(BELOW))
    if swept == "between":
        bench.sweep(7)
        bench.clock.advance(10)
        bench.sweep(7)
        stage(bench, records_from(HIGH))
    try:
        assert sorted(row.key for row in rows_of(snapshot)) == sorted(LOW + HIGH[20:])
    except SnapshotEnded:
        assert bench.kind == "lmdb with a small map"  # which has grown
    snapshot.close()
    bench.sweep(7)
    check_visible(bench, LOW)


def test_what_is_owned_after_a_snapshot_was_opened(bench: Bench) -> None:
    """It isn't in the snapshot, though its records were there, hidden; nor are those that are written then."""
    bench.result(bench.store.own(BELOW))
    bench.fill(dict.fromkeys(LOW, b"text"))
    stage(bench, records_from(HIGH[:20]))
    snapshot = bench.store.snapshot()
    bench.result(bench.store.own(BELOW + ABOVE))
    bench.fill(dict.fromkeys(HIGH[10:], b"other"))
    assert sorted(row.key for row in rows_of(snapshot)) == sorted(LOW)
    snapshot.close()


def test_a_copy_has_hidden_records(bench: Bench) -> None:
    """All of them, or those of the slots that are wanted, as they were when it was made."""
    bench.result(bench.store.own(BELOW))
    bench.fill(dict.fromkeys(LOW, b"text"))
    bench.result(bench.store.own(((0, slot_of(LOW[15])),)))
    stage(bench, records_from(HIGH))
    everywhere, some = bench.result(bench.store.copy("a")), bench.result(bench.store.copy("b", ABOVE))
    bench.result(bench.store.unstage("m"))
    bench.sweep(100)
    for copy, keys in ((everywhere, KEYS), (some, HIGH)):
        found: list[bytes] = []
        while (page := copy.page(1 << 20)) != []:
            found += [change.key for change in page or []]
        assert sorted(found) == sorted(keys)
        assert copy.head.ranges is not None
        assert copy.head.ranges.left == ((slot_of(LOW[15]), CUT),)
        assert copy.head.ranges.staged.keys() == {"m"}
        copy.close()
