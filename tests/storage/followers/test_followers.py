"""What every store promises those who follow it, beside that they get the same store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from storage.followers.following import bring_to_the_disk, waiting_for
from stores import KINDS, Bench, prepared
from twisted.internet.defer import CancelledError, Deferred

from pyshard.errors import FollowerBehind, StorageFailed
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_operations import Has, Pop, Read, Touch, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.store_ranges import StoreRanges


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """An empty store of each kind."""
    with prepared(request.param) as made:
        yield made


def groups(bench: Bench, deferred: Deferred[list[ChangeGroup]]) -> list[ChangeGroup]:
    """Groups that are there already."""
    bring_to_the_disk(bench)
    return bench.result(deferred)


def test_reads_have_no_number(bench: Bench) -> None:
    """What changes nothing doesn't raise the sequence, and whatever changes something raises it by one."""
    bench.fill({b"a": b""})
    before = bench.store.sequence
    bench.applied(Has("", [b"a"]), Read("", [b"a"]), Pop("", [b"x"]), Touch("", [b"x"], [5]))
    bench.page()
    bench.result(bench.store.sweep(10))
    bench.result(bench.store.set_indexes({"pages": 1, "links": 2}))
    assert bench.store.sequence == before
    bench.fill({b"b": b"", b"c": b""})
    bench.applied(Pop("", [b"b"]), Write("", [b"b"], [b""]))
    bench.result(bench.store.remember(b"text"))
    bench.result(bench.store.set_indexes({"pages": 1}))
    assert bench.store.sequence == before + 4


def test_groups_say_what_has_become_of_records(bench: Bench) -> None:
    """Each has index, slot, key, version, expiry and record; of what was removed the key, however long."""
    long_key = b"long" * 200
    bench.fill({b"a": b"old", long_key: b"old"})
    copy = bench.result(bench.store.copy("f"))
    assert copy.head.indexes == {"pages": 1, "links": 2}
    copy.close()
    bench.applied(Write("pages", [b"a"], [b"one"], None, [500]), Pop("", [b"a", long_key]))
    bench.result(bench.store.remember(b"text"))
    bench.result(bench.store.set_indexes({"pages": 1}))
    follower = bench.store.follow("f", copy.head.sequence)
    found = [group for _ in range(3) for group in groups(bench, follower.groups(1))]
    version = bench.version(b"a", "pages")
    assert sorted(found[0].changes, key=lambda change: (change.index, change.key)) == [
        Change(0, slot_of(b"a"), b"a", 0, 0, None),
        Change(0, slot_of(long_key), long_key, 0, 0, None),
        Change(1, slot_of(b"a", b"pages"), b"a", version, bench.now + 500, b"one"),
    ]
    first = copy.head.sequence + 1
    assert [(group.sequence, group.indexes, group.text) for group in found] == [
        (first, None, None),
        (first + 1, None, b"text"),
        (first + 2, {"pages": 1}, None),
    ]
    assert (found[0].version, found[0].ballot) == (version, 0)


def test_groups_have_ranges(bench: Bench) -> None:
    """Each change of ranges is a group of its own, for followers of some slots, too; so is what is free at last."""
    store = bench.store
    bench.fill({b"a": b""})
    half = ((0, SLOTS // 2),) if slot_of(b"a") >= SLOTS // 2 else ((SLOTS // 2, SLOTS),)
    place, found = store.sequence, list[ChangeGroup]()
    follower = store.follow("f", place, ((5, 6),))
    bench.result(store.own(half))
    left = store.ranges
    bench.result(store.sweep(10))
    while not found or found[-1].sequence < store.sequence:
        found += groups(bench, follower.groups(1))
    assert [group.ranges for group in found] == [left, StoreRanges(half)]
    copy = bench.result(store.copy("g"))
    copy.close()
    assert copy.head.ranges == StoreRanges(half)


def test_whoever_waits_is_told(bench: Bench) -> None:
    """The Deferred fires when there is a group; one group behind another, each once."""
    follower = bench.store.follow("f", bench.store.sequence)
    for key in (b"a", b"b"):
        asked = follower.groups(1000)
        found = waiting_for(asked)
        assert not found
        bench.fill({key: b""})
        bring_to_the_disk(bench)
        bench.calls.make_waiting()
        (given,) = found
        assert isinstance(given, list)
        assert [change.key for group in given for change in group.changes] == [key]
    waiting = follower.groups(1000)
    outcome = waiting_for(waiting)
    waiting.cancel()
    assert outcome[0].check(CancelledError)  # type: ignore[attr-defined]  # a Failure
    asked = follower.groups(1000)
    bench.fill({b"c": b""})
    assert [change.key for group in groups(bench, asked) for change in group.changes] == [b"c"]


def test_some_slots_alone(bench: Bench) -> None:
    """A follower of some slots is given changes there, and is told how far groups go that have none."""
    keys = sorted((b"%d" % each for each in range(40)), key=slot_of)
    ranges = ((0, slot_of(keys[10])), (slot_of(keys[30]), SLOTS))
    wanted = {*keys[:10], *keys[30:]}
    bench.fill(dict.fromkeys(keys, b""))
    copy = bench.result(bench.store.copy("f", ranges))
    rows: list[Change] = []
    while (page := copy.page(200, 7)) != []:
        rows += page or []
    copy.close()
    assert {change.key for change in rows} == wanted
    follower = bench.store.follow("f", copy.head.sequence, ranges)
    for key in keys:
        bench.fill({key: b"new"})
    given: list[ChangeGroup] = []
    while not given or given[-1].sequence < bench.store.sequence:
        given += groups(bench, follower.groups(300))
    assert {change.key for group in given for change in group.changes} == wanted
    assert given[-1].sequence == bench.store.sequence


def test_a_follower_that_is_closed(bench: Bench) -> None:
    """It is given nothing more, and its place stays; one that follows anew, or is forgotten, ends it."""
    place = bench.store.sequence
    for how in ("closed", "anew", "forgotten"):
        follower = bench.store.follow("f", place)
        found = waiting_for(follower.groups(1000))
        if how == "closed":
            follower.close()
        elif how == "anew":
            bench.store.follow("f", place)
        else:
            bench.store.forget("f")
        assert found[0].check(StorageFailed)  # type: ignore[attr-defined]  # a Failure
        with pytest.raises(StorageFailed):
            bench.result(follower.groups(1000))


@pytest.mark.parametrize("off", [1, 1000])
def test_a_place_that_never_was(bench: Bench, off: int) -> None:
    """A number above that of the last group is another store's: the follower begins anew."""
    bench.fill({b"a": b""})
    with pytest.raises(FollowerBehind, match=r"f: the changes behind number .* begin anew, with a copy"):
        bench.store.follow("f", bench.store.sequence + off)


def test_copies_show_one_moment(bench: Bench) -> None:
    """What changes after a copy was taken isn't in it, and is in the groups behind it."""
    bench.fill({b"%d" % each: b"old" for each in range(20)})
    copy = bench.result(bench.store.copy("f"))
    bench.fill({b"%d" % each: b"new" for each in range(10, 30)})
    rows: list[Change] = []
    while (page := copy.page(1)) != []:
        rows += page or []
    assert (len(rows), {change.record for change in rows}) == (20, {b"old"})
    follower = bench.store.follow("f", copy.head.sequence)
    (group,) = groups(bench, follower.groups(1 << 20))
    assert {change.record for change in group.changes} == {b"new"}


def test_the_store_is_closed(bench: Bench) -> None:
    """Whoever waits is told."""
    found = waiting_for(bench.store.follow("f", bench.store.sequence).groups(1000))
    bench.close()
    assert str(found[0].value) == "the store was closed"  # type: ignore[attr-defined]  # a Failure
    bench.open()
