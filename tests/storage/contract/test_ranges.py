"""What each kind of store makes of its ranges: what it owns is there, what is left over is nowhere."""

from __future__ import annotations

from storage.contract.ranges import (
    ABOVE,
    BELOW,
    CUT,
    FROM,
    HIGH,
    KEYS,
    LOW,
    check_visible,
    page_of,
    records_from,
    removed,
    rows_of,
    stage,
)
from stores import PLENTY, Bench, outcomes, task, weight

from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_answers import VERSION
from pyshard.protocol.batch_operations import Pop, Read, ReadItem, Remove, Touch, Write
from pyshard.protocol.store_ranges import StoreRanges


def test_a_new_store_owns_everything(bench: Bench) -> None:
    """Until it is told otherwise."""
    assert bench.store.ranges == StoreRanges()
    bench.fill(dict.fromkeys(KEYS, b"text"))
    check_visible(bench, KEYS)


def test_what_moves_away_is_nowhere(bench: Bench) -> None:
    """Reads, changes, pages, counts, histogram and snapshots know nothing of it, at once; sweeps remove it."""
    bench.fill(dict.fromkeys(KEYS, b"text"))
    before = bench.store.snapshot()
    bench.result(bench.store.own(BELOW))
    check_visible(bench, LOW)
    assert bench.store.ranges == StoreRanges(BELOW, {}, ABOVE)
    assert len(rows_of(before)) == len(KEYS)  # a snapshot has what was owned when it was opened
    some = [KEYS[0], HIGH[0]]
    refused = [True, "WRONG_SHARD"]
    assert bench.answers(Write("", some, [b"new"] * 2), Touch("", some, [0, 0])) == [refused, refused]
    assert bench.answers(Read("", some), Pop("", some)) == [[b"new", "WRONG_SHARD"]] * 2
    assert bench.applied(ReadItem("", some), Remove("", some)) == [[None, "WRONG_SHARD"]] * 2
    bench.fill({KEYS[0]: b"text"})
    bench.result(bench.store.sweep(7))
    check_visible(bench, LOW)
    assert bench.store.ranges.left == ABOVE
    assert bench.sweep(7) > 3
    check_visible(bench, LOW)
    assert bench.store.ranges == StoreRanges(BELOW)
    bench.result(bench.store.own(BELOW + ABOVE))
    check_visible(bench, LOW)


def test_what_is_left_over_leaves_room(bench: Bench) -> None:
    """It doesn't count against the limit, though it isn't removed yet."""
    bench.fill(dict.fromkeys(KEYS, b"text"))
    bench.result(bench.store.own(BELOW))
    limit = bench.store.used + weight(b"x", b"")
    key = next(b"%d" % each for each in range(1000, 2000) if slot_of(b"%d" % each) < CUT)
    assert bench.answers(Write("", [key], [b""]), limit=limit - 1 + len(key)) == [[True]]
    assert bench.answers(Write("", [key], [b"xy"]), limit=limit - 1 + len(key)) == [["SHARD_FULL"]]


def test_slots_without_records_are_free_at_once(bench: Bench) -> None:
    """A shard that is told its range for the first time has nothing left over, and neither has an empty copy."""
    bench.result(bench.store.own(BELOW))
    assert bench.store.ranges == StoreRanges(BELOW)
    bench.result(bench.store.stage("m", ABOVE, FROM))
    bench.result(bench.store.unstage("m"))
    assert bench.store.ranges == StoreRanges(BELOW)
    sequence = bench.store.sequence
    bench.result(bench.store.own(BELOW))
    bench.result(bench.store.unstage("m"))
    assert bench.store.sequence == sequence


def test_what_is_known_without_slots(bench: Bench) -> None:
    """While anything is hidden, nothing is said of a key without its slot: it may be the key of a hidden record."""
    store, known = bench.store, not bench.durable

    def check(keys: list[bytes], wanted: bool) -> None:
        """Whether the store says of these keys, together and one by one, that it has them, and reads them at hand."""
        read = bench.answers(Read("", keys))[0] if wanted else None
        for some in (keys, *([key] for key in keys)):
            assert store.surely_has_all(0, some) is wanted
            at_hand = store.read_at_hand(0, some, 1 << 20)
            assert (at_hand is not None) is wanted
        if read is not None:
            values = store.read_at_hand(0, keys, 1 << 20)
            assert values is not None
            assert [value[VERSION.size :] for value in values if isinstance(value, bytes)] == read

    bench.fill(dict.fromkeys(KEYS, b"text"))
    check(KEYS, known)
    bench.result(store.own(BELOW))
    assert store.ranges.left == ABOVE
    check(LOW, False)
    check(HIGH, False)
    bench.sweep(100)
    assert store.ranges == StoreRanges(BELOW)
    check(LOW, known)
    check(HIGH, False)
    stage(bench, records_from(HIGH), complete=False)
    check(HIGH, False)
    bench.result(store.absorb_staged("m", page_of([]), 7, PLENTY))
    check(LOW, False)
    check(HIGH, False)
    bench.result(store.own(BELOW + ABOVE))
    check(KEYS, known)


def test_a_batch_that_waited_while_the_range_went(bench: Bench) -> None:
    """It was looked at before the ranges changed, and is done after: it is refused then, each key for itself."""
    bench.fill(dict.fromkeys(KEYS, b"text"))
    owned = bench.store.ranges.owned
    run = Write("", [KEYS[0], HIGH[0]], [b"new"] * 2)
    checked = task(run)
    checked = type(checked)(checked.run, checked.index, checked.slots, owned)
    went = bench.store.own(BELOW)
    late = bench.store.apply([checked], PLENTY, PLENTY)
    bench.result(went)
    assert outcomes(bench.result(late)[0]) == [True, "WRONG_SHARD"]
    assert bench.result(bench.store.apply([task(Read("", [HIGH[0]]))], PLENTY, PLENTY))[0].errors[0][0] == "WRONG_SHARD"


def test_pages_of_several_ranges(bench: Bench) -> None:
    """A page goes over gaps, and begins behind a key of any range."""
    bench.fill(dict.fromkeys(KEYS, b"text"))
    cuts = [slot_of(KEYS[at]) for at in (10, 20, 30, 50)]
    bench.result(bench.store.own(((cuts[0], cuts[1]), (cuts[2], cuts[3]))))
    expected = KEYS[10:20] + KEYS[30:50]
    check_visible(bench, expected)
    for most in (1, 3, 1000):
        assert bench.scan(most=most) == bench.in_order(expected)
    assert bench.scan(start=cuts[1] - 1, end=cuts[2] + 1) == bench.in_order([KEYS[30]])
    bench.result(bench.store.own(()))
    check_visible(bench, [])


def test_ranges_outlive_a_restart(durable: Bench) -> None:
    """So do hidden records, how far a copy is, and counts; what is being removed is removed on."""
    bench = durable
    bench.fill(dict.fromkeys(KEYS, b"text"))
    bench.result(bench.store.own(BELOW))
    bench.result(bench.store.sweep(7))
    before = bench.store.ranges
    assert before.left == ABOVE
    bench.restart()
    assert bench.store.ranges == before
    check_visible(bench, LOW)
    bench.sweep(7)
    stage(bench, records_from(HIGH))
    bench.result(bench.store.absorb_staged("m", page_of(removed(HIGH[:5]), sequence=9), 9, PLENTY))
    before = bench.store.ranges
    bench.restart()
    assert bench.store.ranges == before
    check_visible(bench, LOW)
    bench.result(bench.store.own(BELOW + ABOVE))
    check_visible(bench, LOW + HIGH[5:])
    bench.restart()
    check_visible(bench, LOW + HIGH[5:])
