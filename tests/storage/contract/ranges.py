"""What tests of ranges share: keys on both sides of a cut, copies of those above it, and what a store shows."""

from __future__ import annotations

import pytest
from stores import PLENTY, Bench, check_consistent, weight
from twisted.internet.defer import Deferred

from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.batch_operations import Has
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.pages import Row
from pyshard.protocol.store_ranges import Origin
from pyshard.storage import LmdbStore
from pyshard.storage.interface import ISnapshot

KEYS = sorted((b"%d" % each for each in range(60)), key=slot_of)
LOW, HIGH = KEYS[:30], KEYS[30:]
CUT = slot_of(HIGH[0])
BELOW: SlotRanges = ((0, CUT),)
ABOVE: SlotRanges = ((CUT, SLOTS),)
FROM = Origin("1d" * 16, "2e" * 16)


def rows_of(snapshot: ISnapshot) -> list[Row]:
    """All rows of a snapshot, as many as it counts."""
    while (count := snapshot.count()) is None:
        pass
    found: list[Row] = []
    while (page := snapshot.page(1 << 20)) != []:
        found += page or []
    assert count == len(found)
    return found


def check_visible(bench: Bench, keys: list[bytes], record: bytes = b"text", expires: int = 0) -> None:
    """The store shows these keys of the default index, and no others, wherever anybody may look."""
    store = bench.store
    assert (store.documents, store.count(0)) == (len(keys), len(keys))
    assert store.used == sum(weight(key, record, expires) for key in keys)
    assert bench.scan() == bench.in_order(keys)
    assert sum(store.histogram(0, SLOTS, 7)) == len(keys)
    owned = store.ranges.owned
    found = bench.answers(Has("", KEYS))[0]
    assert found == [key in keys if in_ranges(slot_of(key), owned) else "WRONG_SHARD" for key in KEYS]
    assert all(key in keys for key in KEYS if store.surely_has_all(0, [key]))
    assert all(key in keys for key in KEYS if store.read_at_hand(0, [key], 1 << 20))
    rows = rows_of(store.snapshot())
    assert sorted(row.key for row in rows) == sorted(keys)
    if isinstance(store, LmdbStore):
        check_consistent(store)


def records_from(keys: list[bytes], index: int = 0, version: int = 50, expires: int = 0) -> list[Change]:
    """Changes that put records, as another store has them."""
    return [Change(index, slot_of(key), key, version, expires, b"text") for key in keys]


def page_of(changes: list[Change], version: int = 50, sequence: int = 7) -> ChangeGroup:
    """A group of another store, which has given a version, and those of its records."""
    return ChangeGroup(sequence, 0, max([version, *(change.version for change in changes)]), changes)


def stage(bench: Bench, changes: list[Change], complete: bool = True) -> None:
    """Copy records of `ABOVE`."""
    store = bench.store
    bench.result(store.stage("m", ABOVE, FROM))
    bench.result(store.absorb_staged("m", page_of(changes), 0, PLENTY))
    if complete:
        bench.result(store.absorb_staged("m", page_of([]), 7, PLENTY))


def failed(bench: Bench, deferred: Deferred[None], error: type[Exception], why: str) -> None:
    """What is asked for is refused."""
    with pytest.raises(error, match=why):
        bench.result(deferred)


def removed(keys: list[bytes]) -> list[Change]:
    """Changes that remove records."""
    return [Change(0, slot_of(key), key, 0, 0, None) for key in keys]
