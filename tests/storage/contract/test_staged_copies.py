"""A copy of a range that each kind of store absorbs: it is nowhere until it is owned."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from storage.contract.ranges import (
    ABOVE,
    BELOW,
    CUT,
    FROM,
    HIGH,
    KEYS,
    LOW,
    check_visible,
    failed,
    page_of,
    records_from,
    removed,
    stage,
)
from stores import PLENTY, Bench, weight

from pyshard.errors import BadRequest, ShardBehind, ShardFull
from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_operations import Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.store_ranges import Origin, Staging, StoreRanges


def test_a_copy_is_nowhere_until_it_is_owned(bench: Bench) -> None:
    """Its rows are nowhere, but count against the limit. Owned, they are there with their versions."""
    bench.result(bench.store.own(BELOW))
    bench.fill(dict.fromkeys(LOW, b"text"))
    version = bench.version(LOW[0])
    stage(bench, records_from(HIGH, version=version + 1000))
    check_visible(bench, LOW)
    limit = bench.store.used + weight(b"x", b"")
    assert bench.answers(Write("", [LOW[0]], [b"texts"]), limit=limit) == [["SHARD_FULL"]]
    bench.result(bench.store.own(BELOW + ABOVE))
    check_visible(bench, KEYS)
    assert bench.version(HIGH[3]) == version + 1000
    assert bench.store.ranges == StoreRanges()


def test_documents_of_a_copy(bench: Bench) -> None:
    """Each counts once, however often it comes, and those of the store and of other copies not at all."""
    bench.result(bench.store.own(BELOW))
    bench.fill(dict.fromkeys(LOW, b"text"))
    assert bench.store.staged_documents("m") == 0
    stage(bench, records_from(HIGH[:5]), complete=False)
    assert bench.store.staged_documents("m") == 5
    for again in (HIGH[:5], HIGH[2:8], HIGH[:5]):
        bench.result(bench.store.absorb_staged("m", page_of(records_from(again)), 0, PLENTY))
    assert bench.store.staged_documents("m") == 8
    assert bench.store.staged_documents("other") == 0
    bench.result(bench.store.unstage("m"))
    assert bench.store.staged_documents("m") == 0


def test_a_copy_that_is_given_up(bench: Bench) -> None:
    """It is left over, and gone after some sweeps; then the same range may be copied again."""
    bench.result(bench.store.own(BELOW))
    bench.fill(dict.fromkeys(LOW, b"text"))
    stage(bench, records_from(HIGH), complete=False)
    bench.result(bench.store.unstage("m"))
    check_visible(bench, LOW)
    failed(bench, bench.store.stage("m", ABOVE, FROM), BadRequest, "which this store has")
    failed(bench, bench.store.own(BELOW + ABOVE), BadRequest, "old records are being removed")
    bench.sweep(7)
    stage(bench, records_from(HIGH[:5]))
    bench.result(bench.store.own(BELOW + ABOVE))
    check_visible(bench, LOW + HIGH[:5])


def test_versions_rise_above_those_of_a_copy(bench: Bench) -> None:
    """A write after the move has a version above all that the other store gave, also to what it removed."""
    bench.result(bench.store.own(BELOW))
    high = 2 * 10**15
    stage(bench, [])
    bench.result(bench.store.absorb_staged("m", page_of([], version=high, sequence=9), 9, PLENTY))
    bench.result(bench.store.own(BELOW + ABOVE))
    bench.fill({HIGH[0]: b"text"})
    assert bench.version(HIGH[0]) > high


def test_how_far_a_copy_is(bench: Bench) -> None:
    """The place is saved with the records. What was absorbed is passed over, and so are other slots and all else."""
    bench.result(bench.store.own(BELOW))
    store = bench.store
    stage(bench, records_from(HIGH))
    assert store.ranges.staged == {"m": Staging(ABOVE, Origin(FROM.identity, FROM.incarnation, 7))}
    other = ChangeGroup(9, 0, 60, [*records_from([LOW[0]]), *removed(HIGH[:5])], {"new": 9}, b"text", 10, StoreRanges())
    bench.result(store.absorb_staged("m", other, 9, PLENTY))
    assert store.ranges.staged["m"].origin.sequence == 9
    bench.result(store.absorb_staged("m", page_of(records_from(HIGH)), 8, PLENTY))
    bench.result(store.own(BELOW + ABOVE))
    check_visible(bench, HIGH[5:])
    assert store.recall() is None
    with pytest.raises(BadRequest, match="no copy of the name 'm'"):
        bench.result(store.absorb_staged("m", page_of([]), 10, PLENTY))


def test_what_differed_is_put_right(bench: Bench) -> None:
    """A group with the number that the copy has is put once more, and counted once, over what is lacking or other.

    One with a lower number would bring back what was there before, and is passed over.
    """
    store, row = bench.store, records_from(HIGH[:1])[0]
    bench.result(store.own(BELOW))
    bench.fill(dict.fromkeys(LOW, b"text"))
    others = [
        replace(row, key=HIGH[1], slot=slot_of(HIGH[1]), record=b"another text"),
        replace(row, key=HIGH[2], slot=slot_of(HIGH[2]), version=99),
        replace(row, key=HIGH[3], slot=slot_of(HIGH[3]), version=3, record=b""),
        replace(row, key=HIGH[4], slot=slot_of(HIGH[4]), expires=10**15),
    ]
    stage(bench, [*others, *records_from(HIGH[5:])])
    bench.result(store.absorb_staged("m", page_of([], sequence=9), 9, PLENTY))
    right = [*records_from(HIGH[:5]), *removed(HIGH[20:])]
    for _ in range(2):
        bench.result(store.absorb_staged("m", page_of(right, sequence=9), 9, PLENTY))
    bench.result(store.absorb_staged("m", page_of(others, sequence=8), 8, PLENTY))
    assert store.ranges.staged["m"].origin.sequence == 9
    copy = bench.result(store.copy(None, ABOVE))
    found = []
    while (page := copy.page(1 << 20)) != []:
        found += page or []
    copy.close()
    assert sorted(found, key=lambda change: change.slot) == records_from(HIGH[:20])
    bench.result(store.own(BELOW + ABOVE))
    check_visible(bench, LOW + HIGH[:20])


def test_pages_after_a_copy_is_complete(bench: Bench) -> None:
    """A page of an older copy would bring back what was removed since, so it is refused."""
    bench.result(bench.store.own(BELOW))
    stage(bench, records_from(HIGH))
    failed(
        bench, bench.store.absorb_staged("m", page_of(records_from(HIGH)), 0, PLENTY), BadRequest, "which is complete"
    )
    failed(bench, bench.store.stage("m", ((CUT, CUT + 5),), FROM), BadRequest, "another copy")
    bench.result(bench.store.stage("m", ABOVE, FROM))  # it goes on
    assert bench.store.ranges.staged["m"].origin.sequence == 7


def test_a_copy_of_an_index_that_the_store_was_not_told_of(bench: Bench) -> None:
    """Its records are refused until the store knows the index. Those of a dropped one are passed over."""
    store = bench.store
    bench.result(store.own(BELOW))
    bench.result(store.stage("m", ABOVE, FROM))
    row = Change(5, CUT + 1, b"a", 50, 0, b"text")
    page = page_of([*records_from(HIGH), row])
    failed(bench, store.absorb_staged("m", page, 0, PLENTY), ShardBehind, "wasn't told of the index with id 5")
    bench.result(store.own(BELOW))
    check_visible(bench, [])
    names = {"pages": 1, "links": 2}
    bench.result(store.set_indexes({**names, "later": 6}))  # so the one with id 5 was dropped
    bench.result(store.absorb_staged("m", page, 7, PLENTY))
    bench.result(store.own(BELOW + ABOVE))
    check_visible(bench, HIGH)
    bench.result(store.set_indexes(names, 9))
    bench.result(store.own(BELOW))
    bench.sweep()
    bench.result(store.stage("n", ABOVE, FROM))
    bench.result(store.absorb_staged("n", page_of([Change(8, CUT, b"b", 5, 0, b"")]), 7, PLENTY))
    failed(bench, store.absorb_staged("n", page_of([Change(9, CUT, b"b", 5, 0, b"")]), 8, PLENTY), ShardBehind, "id 9")


def test_an_index_is_dropped_under_a_copy(bench: Bench) -> None:
    """What is hidden of it is no longer counted as hidden, and goes with the index."""
    store = bench.store
    bench.result(store.own(BELOW))
    keys = [key for key in KEYS if slot_of(key, b"pages") >= CUT]
    changes = [Change(1, slot_of(key, b"pages"), key, 50, 0, b"text") for key in keys]
    stage(bench, [*records_from(HIGH), *changes])
    check_visible(bench, [])
    bench.result(store.set_indexes({"links": 2}))
    assert store.used == sum(
        weight(key, b"text") for key in keys
    )  # as those of any dropped index, until they are swept
    bench.sweep()
    check_visible(bench, [])
    bench.result(store.own(BELOW + ABOVE))
    check_visible(bench, HIGH)


def test_a_copy_that_has_no_room(bench: Bench) -> None:
    """What is staged counts against the limit once, before it is owned and after; what would pass it is refused."""
    store = bench.store
    bench.result(store.own(BELOW))
    bench.fill(dict.fromkeys(LOW, b"text"))
    bench.result(store.stage("m", ABOVE, FROM))
    alike = [key for key in HIGH if len(key) == 2]
    own, each = store.used, weight(alike[0], b"text")
    limit = own + 10 * each
    sequence = store.sequence
    for too_many in (alike[:11], alike):
        page = page_of(records_from(too_many))
        failed(bench, store.absorb_staged("m", page, 0, limit), ShardFull, f"holds {own:,} of {limit:,} bytes.*'m'")
    assert (store.sequence, store.ranges.staged["m"].origin.sequence) == (sequence, 0)
    for _ in range(2):  # the same rows once more take no more room
        bench.result(store.absorb_staged("m", page_of(records_from(alike[:10])), 0, limit))
    assert store.used == own
    failed(bench, store.absorb_staged("m", page_of(records_from(alike[10:11])), 7, limit), ShardFull, "move less to it")
    assert store.ranges.staged["m"].origin.sequence == 0
    elsewhere = page_of(records_from(LOW))  # other slots take no room, as they are passed over
    bench.result(store.absorb_staged("m", elsewhere, 7, limit))
    swapped = page_of([*records_from(alike[10:12]), *removed(alike[:2])], sequence=8)
    bench.result(store.absorb_staged("m", swapped, 8, limit))
    shrinks = page_of(removed(alike[2:3]), sequence=9)
    bench.result(store.absorb_staged("m", shrinks, 9, 0))  # one that gives room is taken, though the limit is lower now
    write = Write("", [LOW[0]], [b"text" + b"x" * (each + 1)])
    assert bench.answers(write, limit=limit) == [["SHARD_FULL"]]
    bench.result(store.own(BELOW + ABOVE))
    check_visible(bench, LOW + alike[3:12])
    assert store.used == limit - each
    assert bench.answers(write, limit=limit) == [["SHARD_FULL"]]
    assert bench.answers(Write("", [LOW[0]], [b"text" + b"x" * each]), limit=limit) == [[True]]


def test_expiries_of_a_copy_take_room(bench: Bench) -> None:
    """As they do of any record."""
    bench.result(bench.store.own(BELOW))
    bench.result(bench.store.stage("m", ABOVE, FROM))
    page, size = page_of(records_from(HIGH[:1], expires=bench.now + 5)), weight(HIGH[0], b"text", 1)
    failed(bench, bench.store.absorb_staged("m", page, 0, size - 1), ShardFull, f"needs {size} more")
    bench.result(bench.store.absorb_staged("m", page, 0, size))


def test_what_was_given_up_leaves_room_for_a_copy(bench: Bench) -> None:
    """What is left over doesn't count, though it isn't removed yet."""
    store, few = bench.store, ((0, slot_of(LOW[15])),)
    bench.result(store.own(BELOW))
    bench.fill(dict.fromkeys(LOW, b"text"))
    bench.result(store.own(few))
    bench.result(store.stage("m", ABOVE, FROM))
    limit = sum(weight(key, b"text") for key in LOW[:15] + HIGH)
    failed(bench, store.absorb_staged("m", page_of(records_from(HIGH)), 7, limit - 1), ShardFull, "needs")
    bench.result(store.absorb_staged("m", page_of(records_from(HIGH)), 7, limit))
    bench.result(store.own(few + ABOVE))
    check_visible(bench, LOW[:15] + HIGH)
