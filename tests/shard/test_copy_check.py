"""A copy is compared with its source, and may not be sealed before it was found equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, TypeAlias

import attrs
import pytest
from msgspec.structs import replace
from shard.pulling import INDEXES, KEYS, KINDS, MOVING, PAIRS, Pulling, records
from stores import folder
from twisted.internet.defer import CancelledError, Deferred

from pyshard.errors import SnapshotEnded
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.row_digests import RowDigests
from pyshard.settings import settings
from pyshard.shard import copy_check, digest_slices, served_digests
from pyshard.shard.copy_check import CopyCheck
from pyshard.shard.followed_shard import FollowedShard
from pyshard.storage import ICopy, LmdbStore

#: See `conftest.TakeErrors`.
TakeErrors: TypeAlias = Callable[..., list[BaseException]]

NAMES = [b"", b"pages"]  # of the indexes, by id


def placed(row: Change, key: bytes, index: int) -> Change | None:
    """The row with another key, or in another index; None: it isn't in the slots that move then."""
    slot = slot_of(key, NAMES[index])
    return replace(row, index=index, slot=slot, key=key) if in_ranges(slot, MOVING) else None


def renamed(row: Change) -> Change:
    """The row with a key that no other row has."""
    return next(found for n in range(100) if (found := placed(row, row.key + b" %d" % n, row.index)))


def elsewhere(page: list[Change]) -> list[Change]:
    """The page with one row in another index."""
    at, row = next((at, found) for at, row in enumerate(page) if (found := placed(row, row.key, 1 - row.index)))
    return [*page[:at], row, *page[at + 1 :]]


#: What becomes of the first row of a page, and of the page, before the target takes it.
FAULTS: dict[str, Callable[[list[Change]], list[Change]]] = {
    "key": lambda page: [renamed(page[0]), *page[1:]],
    "version": lambda page: [replace(page[0], version=page[0].version + 1), *page[1:]],
    "expiry": lambda page: [replace(page[0], expires=page[0].expires + 10**15), *page[1:]],
    "bytes": lambda page: [replace(page[0], record=(page[0].record or b"")[:-1] + b"?"), *page[1:]],
    "index": elsewhere,
    "missing": lambda page: page[1:],
    "additional": lambda page: [*page, renamed(page[0])],
    "exchanged": lambda page: [
        replace(page[0], record=page[1].record),
        replace(page[1], record=page[0].record),
        *page[2:],
    ],
}


@pytest.fixture(params=PAIRS)
def pulling(request: pytest.FixtureRequest) -> Iterator[Pulling]:
    """Each pair of stores."""
    with folder() as path:
        source, target = request.param
        made = Pulling(source, target, path)
        yield made
        made.close()


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are counted at a time, and each question is answered after some of them."""
    monkeypatch.setattr(digest_slices, "_ROWS", 40)
    monkeypatch.setattr(served_digests, "settings", attrs.evolve(settings, FOLLOW_WAIT=0))


def until_equal(pulling: Pulling, steps: int = 200) -> None:
    """Let the pull go on until the copy was found equal."""
    for _ in range(steps):
        if pulling.outcome:
            raise AssertionError(pulling.outcome[0])
        pulling.step()
        if pulling.pull.verdict.equal:
            return
    raise AssertionError(pulling.pull.verdict)


def compare_anew(pulling: Pulling) -> None:
    """A new process of the target compares what it has with the source."""
    pulling.interrupt()
    pulling.new_pull()
    assert not pulling.pull.verdict.equal
    pulling.run()
    until_equal(pulling)
    assert (pulling.pull.verdict.differed, pulling.pull.progress.copies) == (0, 0)


def check_released(pulling: Pulling) -> None:
    """Nothing is kept for a digest any more."""
    for bench in (pulling.source, pulling.target):
        if isinstance(bench.store, LmdbStore):
            assert not bench.store._snapshots
        else:
            assert not any(index._watchers for index in bench.store._indexes.values())  # type: ignore[attr-defined]


async def never_done(check: CopyCheck, copy: ICopy, digests: RowDigests) -> None:
    """Stands in for `CopyCheck._count`: the target's rows are never all counted."""
    del check, copy, digests
    await Deferred()


def at_each_slice(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Have something done before each slice that either side counts."""
    before = digest_slices.digest_slice

    def slice_then(copy: ICopy, digests: Any) -> bool:
        act()
        return before(copy, digests)

    monkeypatch.setattr(copy_check, "digest_slice", slice_then)
    monkeypatch.setattr(served_digests, "digest_slice", slice_then)


def tamper(pulling: Pulling, monkeypatch: pytest.MonkeyPatch, fault: str, times: int = 1) -> None:
    """Have pages of a copy, of some rows, be changed on their way into the target's store."""
    store, left = pulling.target.store, [times]
    absorb = store.absorb_staged

    def changed(name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        if sequence == 0 and len(group.changes) > 1 and left[0]:
            left[0] -= 1
            group = replace(group, changes=FAULTS[fault](group.changes))
        return absorb(name, group, sequence, limit)

    monkeypatch.setattr(store, "absorb_staged", changed)


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


def test_a_copy_that_is_begun_anew(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the one before was equal says nothing about it."""
    pulling_in_memory.run()
    until_equal(pulling_in_memory)
    pulling_in_memory.interrupt()
    pulling_in_memory.source.store.forget("m")
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"other"))
    count = CopyCheck._count
    monkeypatch.setattr(CopyCheck, "_count", never_done)
    pulling_in_memory.run()
    pulling_in_memory.catch_up()
    assert pulling_in_memory.pull.progress.copies == 2
    assert not pulling_in_memory.pull.verdict.equal
    monkeypatch.setattr(CopyCheck, "_count", count)
    pulling_in_memory.interrupt()
    pulling_in_memory.run()
    until_equal(pulling_in_memory)


def test_expired_rows(pulling: Pulling) -> None:
    """Those that have expired count alike on both sides, whether the source has swept none, some or all of them."""
    pulling.source.fill(dict.fromkeys(KEYS, b"record"), ttl=5000)
    pulling.source.fill(dict.fromkeys(KEYS[:50], b"page"), "pages")
    for bench in (pulling.source, pulling.target):
        bench.clock.advance(60)
    before = len(records(pulling.source, MOVING))
    pulling.run()
    until_equal(pulling)
    pulling.source.result(pulling.source.store.sweep(20))
    compare_anew(pulling)
    assert len(records(pulling.source, MOVING)) < before
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
def test_lost_connections(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the connection is lost, it is compared again, with nothing left of the first time."""
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    lose = [3, 9, 20]

    def cut() -> None:
        lose[:] = [each - 1 for each in lose]
        if 0 in lose:
            assert pulling.served is not None
            pulling.served.network.cut(*("127.0.0.1", 5050))

    at_each_slice(monkeypatch, cut)
    pulling.run()
    losses = 0
    for _ in range(100):
        pulling.step()
        if pulling.pull.verdict.equal:
            break
        if pulling.outcome:
            pulling.ended()
            losses += 1
            check_released(pulling)
            pulling.run()
    assert pulling.pull.verdict.equal
    assert losses >= 2
    assert (pulling.pull.verdict.differed, pulling.pull.progress.copies) == (0, 1)


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", ["lmdb", "lmdb with a small map"])
def test_a_source_that_restarts(source: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its rows, but not the digest; so both begin anew."""
    with folder() as path:
        pulling = Pulling(source, target, path)
        pulling.source.fill(dict.fromkeys(KEYS, b"record"))
        count = CopyCheck._count
        monkeypatch.setattr(CopyCheck, "_count", never_done)
        pulling.run()
        pulling.catch_up()
        pulling.step()
        assert not pulling.pull.verdict.equal
        monkeypatch.setattr(CopyCheck, "_count", count)
        pulling.interrupt()
        check_released(pulling)
        pulling.source.restart()
        pulling.serve()
        pulling.run()
        until_equal(pulling)
        assert (pulling.pull.verdict.differed, pulling.pull.progress.copies) == (0, 0)
        pulling.check()
        pulling.close()


def test_a_digest_that_ends(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that ends on either side, as when a map grows, says nothing about the copy."""
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))
    before, left, counted = digest_slices.digest_slice, [5], list[int]()

    def ending(copy: ICopy, digests: Any) -> bool:
        left[0] -= 1
        counted.append(pulling_in_memory.pull.verdict.ended)
        if left[0] > 0:
            raise SnapshotEnded("the map grows")
        return before(copy, digests)

    for module in (copy_check, served_digests):
        left[0] = 5
        monkeypatch.setattr(module, "digest_slice", ending)
        if pulling_in_memory.running is None:
            pulling_in_memory.run()
            until_equal(pulling_in_memory)
        else:
            compare_anew(pulling_in_memory)
        assert left[0] <= 0
        assert max(counted) >= 4
        assert pulling_in_memory.pull.verdict.ended == 0  # of one that came to its end
        counted.clear()
        assert (pulling_in_memory.pull.verdict.differed, pulling_in_memory.pull.progress.copies) in {(0, 1), (0, 0)}
        monkeypatch.setattr(module, "digest_slice", before)
    check_released(pulling_in_memory)


def test_digests_that_end_now_and_then(
    pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors
) -> None:
    """Those in a row count. One that comes to its end is the end of that row, also if it finds a difference."""
    pulling_in_memory.source.fill({b"%d" % each: b"record" for each in range(5000)})
    monkeypatch.setitem(FAULTS, "half", lambda page: page[::2])
    tamper(pulling_in_memory, monkeypatch, "half", times=8)
    count, ends, seen = CopyCheck._count, [True, False] * 5, list[tuple[int, int]]()

    async def ending(check: CopyCheck, copy: ICopy, digests: RowDigests) -> None:
        seen.append((check._verdict.differed, check._verdict.ended))
        if ends and ends.pop(0):
            raise SnapshotEnded("the map grows")
        await count(check, copy, digests)

    monkeypatch.setattr(CopyCheck, "_count", ending)
    pulling_in_memory.run()
    until_equal(pulling_in_memory)
    assert seen == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    logged_errors()


def test_cancelled_while_a_view_is_opened(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes when nobody waits for it any more is closed."""
    pulling_in_memory.source.fill(dict.fromkeys(KEYS, b"record"))
    store = pulling_in_memory.target.store
    waiting: list[tuple[Deferred[ICopy], Deferred[ICopy]]] = []
    opened = store.copy

    def later(*arguments: Any) -> Deferred[ICopy]:
        waiting.append((Deferred(), opened(*arguments)))
        return waiting[-1][0]

    monkeypatch.setattr(store, "copy", later)
    pulling_in_memory.run()
    pulling_in_memory.step()
    assert pulling_in_memory.running is not None
    pulling_in_memory.running.cancel()
    (found,) = pulling_in_memory.outcome
    assert found.check(CancelledError)
    ((deferred, copied),) = waiting
    copied.chainDeferred(deferred)
    assert not any(index._watchers for index in store._indexes.values())  # type: ignore[attr-defined]


def test_a_restarted_target_asks_nothing_of_a_seal(pulling: Pulling) -> None:
    """What has reached a seal is left as it is; when that is taken back, the copy is compared again."""
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.run()
    until_equal(pulling)
    pulling.source.result(pulling.source.store.seal("m", MOVING, 3))
    pulling.held = 3
    pulling.catch_up()
    assert pulling.running is not None
    pulling.running.cancel()
    pulling.new_pull()
    pulling.run()
    for _ in range(5):
        pulling.step()
    assert not pulling.pull.verdict.equal
    pulling.source.result(pulling.source.store.unseal("m"))
    pulling.held = 0
    until_equal(pulling)
    assert pulling.pull.progress.copies == 0
