"""What each kind of store makes of its ranges: what it owns is there, what is staged or left over is nowhere."""

from __future__ import annotations

import pytest
from storage.followers.following import everything
from stores import PLENTY, Bench, check_consistent, outcomes, task, weight
from twisted.internet.defer import Deferred

from pyshard.errors import BadRequest, ShardBehind, SnapshotEnded
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.batch_answers import VERSION
from pyshard.protocol.batch_operations import Has, Pop, Read, ReadItem, Remove, Touch, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.pages import Row
from pyshard.protocol.store_ranges import Origin, Staging, StoreRanges
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
    bench.result(store.absorb_staged("m", page_of(changes), 0))
    if complete:
        bench.result(store.absorb_staged("m", page_of([]), 7))


def failed(bench: Bench, deferred: Deferred[None], error: type[Exception], why: str) -> None:
    """What is asked for is refused."""
    with pytest.raises(error, match=why):
        bench.result(deferred)


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
    high = 10**18
    stage(bench, [])
    bench.result(bench.store.absorb_staged("m", page_of([], version=high, sequence=9), 9))
    bench.result(bench.store.own(BELOW + ABOVE))
    bench.fill({HIGH[0]: b"text"})
    assert bench.version(HIGH[0]) > high


def test_the_version_floor_is_a_group(bench: Bench) -> None:
    """Whoever follows a store that absorbs is told that versions have risen."""
    follower = bench.store.follow("f", bench.store.sequence)
    at = bench.store.sequence
    bench.result(bench.store.absorb(page_of([], version=10**18)))
    assert bench.store.sequence == at + 1
    follower.close()


def test_how_far_a_copy_is(bench: Bench) -> None:
    """The place is saved with the records. What was absorbed is passed over, and so are other slots and all else."""
    bench.result(bench.store.own(BELOW))
    store = bench.store
    stage(bench, records_from(HIGH))
    assert store.ranges.staged == {"m": Staging(ABOVE, Origin(FROM.identity, FROM.incarnation, 7))}
    other = ChangeGroup(
        9, 0, 60, [*records_from([LOW[0]]), *_removed(HIGH[:5])], {"new": 9}, b"text", 10, StoreRanges()
    )
    bench.result(store.absorb_staged("m", other, 9))
    assert store.ranges.staged["m"].origin.sequence == 9
    bench.result(store.absorb_staged("m", page_of(records_from(HIGH)), 8))
    bench.result(store.own(BELOW + ABOVE))
    check_visible(bench, HIGH[5:])
    assert store.recall() is None
    with pytest.raises(BadRequest, match="no copy of the name 'm'"):
        bench.result(store.absorb_staged("m", page_of([]), 10))


def _removed(keys: list[bytes]) -> list[Change]:
    return [Change(0, slot_of(key), key, 0, 0, None) for key in keys]


def test_pages_after_a_copy_is_complete(bench: Bench) -> None:
    """A page of an older copy would bring back what was removed since, so it is refused."""
    bench.result(bench.store.own(BELOW))
    stage(bench, records_from(HIGH))
    failed(bench, bench.store.absorb_staged("m", page_of(records_from(HIGH)), 0), BadRequest, "which is complete")
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
    failed(bench, store.absorb_staged("m", page, 0), ShardBehind, "wasn't told of the index with id 5")
    bench.result(store.own(BELOW))
    check_visible(bench, [])
    names = {"pages": 1, "links": 2}
    bench.result(store.set_indexes({**names, "later": 6}))  # so the one with id 5 was dropped
    bench.result(store.absorb_staged("m", page, 7))
    bench.result(store.own(BELOW + ABOVE))
    check_visible(bench, HIGH)
    bench.result(store.set_indexes(names, 9))
    bench.result(store.own(BELOW))
    bench.sweep()
    bench.result(store.stage("n", ABOVE, FROM))
    bench.result(store.absorb_staged("n", page_of([Change(8, CUT, b"b", 5, 0, b"")]), 7))
    failed(bench, store.absorb_staged("n", page_of([Change(9, CUT, b"b", 5, 0, b"")]), 8), ShardBehind, "id 9")


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
        bench.result(store.absorb_staged("m", page_of(records_from(HIGH[:1])), sequence))
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
    bench.result(store.absorb_staged("m", page_of([*later, *never, *_removed(HIGH[2:20])]), 8))
    bench.result(store.own(BELOW + ABOVE))
    bench.sweep()
    assert bench.scan() == bench.in_order(HIGH[:2])
    assert store.documents == 2


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
    bench.result(store.absorb_staged("m", page_of([]), 7))
    check(LOW, False)
    check(HIGH, False)
    bench.result(store.own(BELOW + ABOVE))
    check(KEYS, known)


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
    bench.result(bench.store.absorb_staged("m", page_of(_removed(HIGH[:5]), sequence=9), 9))
    before = bench.store.ranges
    bench.restart()
    assert bench.store.ranges == before
    check_visible(bench, LOW)
    bench.result(bench.store.own(BELOW + ABOVE))
    check_visible(bench, LOW + HIGH[5:])
    bench.restart()
    check_visible(bench, LOW + HIGH[5:])


def test_how_far_a_whole_store_is_absorbed(bench: Bench) -> None:
    """It is saved with the group; a group that was absorbed is passed over, but for one of another incarnation."""
    store = bench.store
    at = Origin(FROM.identity, FROM.incarnation, 9)
    bench.result(store.absorb(page_of(records_from(KEYS)), at))
    bench.result(store.absorb(page_of(_removed(KEYS)), at))
    bench.result(store.absorb(page_of(_removed(KEYS)), Origin(FROM.identity, FROM.incarnation, 8)))
    assert store.origin == at
    check_visible(bench, KEYS)
    bench.result(store.absorb(page_of(_removed(KEYS)), Origin(FROM.identity, "another", 8)))
    check_visible(bench, [])


def test_how_far_a_whole_store_is_absorbed_after_a_restart(durable: Bench) -> None:
    """It is what it was."""
    at = Origin(FROM.identity, FROM.incarnation, 9)
    durable.result(durable.store.absorb(page_of(records_from(KEYS)), at))
    durable.restart()
    assert durable.store.origin == at


def test_an_index_id_that_comes_back(bench: Bench) -> None:
    """It was dropped, so records of it may still be in logs and copies: it is refused, and nothing changes."""
    store = bench.store
    bench.fill({b"a": b"text"}, "pages")
    bench.result(store.set_indexes({"links": 2}))
    for name, number in (("pages", 1), ("other", 1)):
        failed(bench, store.set_indexes({"links": 2, name: number}), BadRequest, f"'{name}': found the id 1")
    bench.result(store.set_indexes({"links": 2}, 7))
    failed(bench, store.set_indexes({"links": 2, "new": 6}), BadRequest, "expected 7 or a higher one")
    bench.result(store.set_indexes({"links": 2, "new": 7}))
    assert store.count(2) == store.count(7) == 0
    bench.sweep()
    assert store.used == 0


def test_dropped_ids_outlive_a_restart(durable: Bench) -> None:
    """A store knows after a restart which ids were given."""
    durable.result(durable.store.set_indexes({"links": 2}, 7))
    durable.restart()
    failed(durable, durable.store.set_indexes({"links": 2, "new": 6}), BadRequest, "expected 7")
