"""A copy is compared with its source, and may not be sealed before it was found equal."""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace
from shard.compared_copies import (
    FAULTS,
    TakeErrors,
    at_each_slice,
    check_released,
    compare_anew,
    tamper,
    until_equal,
)
from shard.pulling import INDEXES, KEYS, MOVING, Pulling, records
from stores import folder
from twisted.internet.defer import Deferred

from pyshard.errors import SnapshotEnded
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.row_digests import BucketDigest, RowDigests
from pyshard.shard import copy_check, digest_slices
from pyshard.shard.followed_shard import FollowedShard
from pyshard.storage import ICopy


@pytest.mark.usefixtures("small_slices")
def test_equal_while_all_changes(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of several indexes, some with long keys, large, or expiring, while writes go on before each slice."""
    random, slices = Random(pulling.source.kind + pulling.target.kind), [0]

    def change() -> None:
        slices[0] += 1
        if slices[0] < 60:  # a small map that grows ends all digests, so at some time it must not
            pulling.change(random)

    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.source.fill(dict.fromkeys(KEYS[:100], b"page"), "pages")
    pulling.source.fill({KEYS[7]: b"large" * 100_000, KEYS[8]: b"large" * 100_000}, ttl=500_000)
    at_each_slice(monkeypatch, change)
    pulling.run()
    until_equal(pulling)
    assert slices[0] > 10
    assert (pulling.pull.verdict.differed, pulling.pull.progress.copies) == (0, 1)
    pulling.catch_up()
    check_released(pulling)
    pulling.check()


def test_changes_around_the_moment(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer has groups before and behind the moment of the digest, some of them with nothing that moves."""
    random, opened = Random(5), FollowedShard.open_digest
    there = [key for key in KEYS if not in_ranges(slot_of(key), MOVING)]

    def change() -> None:
        for _ in range(3):
            pulling.change(random)
        pulling.source.fill(dict.fromkeys(there[:5], b"elsewhere"))

    async def between(source: FollowedShard, ranges: SlotRanges) -> ChangeGroup:
        change()
        head = await opened(source, ranges)
        assert head.sequence == pulling.source.store.sequence
        change()
        return head

    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    monkeypatch.setattr(FollowedShard, "open_digest", between)
    pulling.run()
    until_equal(pulling)
    for _ in range(3):
        compare_anew(pulling)
    pulling.catch_up()
    pulling.check()


def test_expired_rows(pulling: Pulling) -> None:
    """Those that have expired count alike on both sides, whether the source has swept none, some or all of them."""
    pulling.source.fill(dict.fromkeys(KEYS, b"record"), ttl=5000)
    pulling.source.fill(dict.fromkeys(KEYS[:50], b"page"), "pages")
    for bench in (pulling.source, pulling.target):
        bench.clock.advance(60)
    before = len(records(pulling.source, MOVING))
    pulling.run()
    until_equal(pulling)
    pulling.source.result(pulling.source.store.sweep(len(KEYS) // 4))
    compare_anew(pulling)
    assert len(records(pulling.source, MOVING)) < before
    assert records(pulling.source, MOVING)
    pulling.source.sweep()
    compare_anew(pulling)
    assert pulling.pull.verdict.differed == 0
    assert records(pulling.target, MOVING) == records(pulling.source, MOVING)


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("first", ["source", "target"])
def test_indexes_come_and_go(pulling: Pulling, first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that one side was told of, or has dropped, and the other hasn't, is no difference."""
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.source.fill(dict.fromkeys(KEYS[:50], b"page"), "pages")
    pulling.run()
    until_equal(pulling)
    one, other = (pulling.source, pulling.target) if first == "source" else (pulling.target, pulling.source)
    both = {**INDEXES, "links": 2}
    one.result(one.store.set_indexes(both))
    compare_anew(pulling)
    other.result(other.store.set_indexes(both))
    pulling.source.fill({key: b"link" for key in KEYS if in_ranges(slot_of(key, b"links"), MOVING)}, "links")
    compare_anew(pulling)
    one.result(one.store.set_indexes({"links": 2}, 3))
    compare_anew(pulling)
    other.result(other.store.set_indexes({"links": 2}, 3))
    compare_anew(pulling)

    def drop() -> None:
        one.result(one.store.set_indexes({}, 3))
        one.result(one.store.sweep(10))

    at_each_slice(monkeypatch, drop)  # the views of both have it still
    compare_anew(pulling)
    check_released(pulling)


def test_an_index_dropped_between_the_views(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source's view has it, the target's hasn't: that is no difference."""
    pulling.source.fill(dict.fromkeys(KEYS[:50], b"page"), "pages")
    pulling.run()
    until_equal(pulling)
    store = pulling.target.store
    done: list[None] = []
    opened = store.copy

    def dropped(*arguments: Any) -> Deferred[ICopy]:
        done.append(pulling.target.result(store.set_indexes({}, 2)))
        return opened(*arguments)

    monkeypatch.setattr(store, "copy", dropped)
    compare_anew(pulling)
    assert done


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kinds", [("memory", "lmdb"), ("lmdb", "memory")], ids=" to ".join)
def test_a_difference_is_found(
    kinds: tuple[str, str], fault: str, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors
) -> None:
    """Whatever it is. What differs is fetched again, and then the copy is equal."""
    with folder() as path:
        pulling = Pulling(*kinds, path)
        numbered = {key: b"number %d" % number for number, key in enumerate(KEYS)}
        pulling.source.fill(numbered, ttl=500_000)
        pulling.source.fill({**numbered, **dict.fromkeys(KEYS[:100], b"page")}, "pages")
        tamper(pulling, monkeypatch, fault)
        pulling.run()
        until_equal(pulling)
        verdict = pulling.pull.verdict
        assert verdict.differed == 1
        (logged,) = logged_errors()
        assert verdict.why.startswith("the copy isn't equal to what the source has: ")
        assert verdict.why in str(logged)
        assert pulling.pull.progress.copies == 1
        assert verdict.refetched == (2 if fault in {"key", "exchanged"} else 1)
        pulling.catch_up()
        check_released(pulling)
        pulling.check()
        pulling.close()


def test_a_group_that_was_left_out(
    pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors
) -> None:
    """What is lost behind the copy is found as well as what is lost in it."""
    pulling, store = pulling_in_memory, pulling_in_memory.target.store
    absorb = store.absorb_staged
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))

    def lost(name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        emptied = replace(group, changes=[]) if sequence and not pulling.pull.verdict.differed else group
        return absorb(name, emptied, sequence, limit)

    read = digest_slices.digest_slice
    monkeypatch.setattr(copy_check, "digest_slice", lambda *_: (_ for _ in ()).throw(SnapshotEnded("not yet")))
    monkeypatch.setattr(store, "absorb_staged", lost)
    pulling.run()
    pulling.catch_up()
    pulling.source.fill({KEYS[n]: b"later" for n in range(60)})
    pulling.catch_up()
    monkeypatch.setattr(copy_check, "digest_slice", read)
    until_equal(pulling)
    assert (pulling.pull.verdict.differed, pulling.pull.progress.copies) == (1, 1)
    assert pulling.pull.verdict.refetched > 10
    assert len(logged_errors()) == 1
    pulling.check()


def test_again_and_again(
    pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors
) -> None:
    """Each copy that differs counts. One of which too much differs is given up as a whole."""
    pulling_in_memory.source.fill({b"%d" % each: b"record" for each in range(5000)})
    monkeypatch.setitem(FAULTS, "half", lambda page: page[::2])
    tamper(pulling_in_memory, monkeypatch, "half", times=16)
    pulling_in_memory.run()
    until_equal(pulling_in_memory)
    assert (pulling_in_memory.pull.verdict.differed, pulling_in_memory.pull.progress.copies) == (4, 5)
    assert len(logged_errors()) == 4


@pytest.mark.usefixtures("small_slices")
def test_counts_no_faster_than_the_source(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source leaves its clients time, and both may be on one machine: so the target waits for it, row by row."""
    pulling, counting, rows = pulling_in_memory, list[RowDigests](), list[Callable[[int], object]]()
    done: Deferred[list[BucketDigest]] = Deferred()
    count, digests = digest_slices.digest_slice, FollowedShard.digests

    def noted(copy: ICopy, of: RowDigests) -> bool:
        counting[:] = [of]
        return count(copy, of)

    async def waiting(
        source: FollowedShard, indexes: Collection[int], counted: Callable[[int], object]
    ) -> list[BucketDigest]:
        rows.append(counted)
        await done
        return await digests(source, indexes, counted)

    monkeypatch.setattr(copy_check, "digest_slice", noted)
    monkeypatch.setattr(FollowedShard, "digests", waiting)
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.run()
    for ahead, slices in ((0, 0), (1, 1), (40, 1), (41, 2), (100, 3)):
        for _ in range(5):
            pulling.step()
            if ahead and rows:
                rows[0](ahead)
        assert (counting[0].rows if counting else 0) == 40 * slices
    done.callback([])
    until_equal(pulling)
