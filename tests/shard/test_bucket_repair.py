"""Buckets of a copy that differ from the source are put right, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, TypeAlias

import attrs
import pytest
from msgspec.structs import replace
from shard.pulling import KEYS, MOVING, Pulling, records
from shard.test_copy_check import check_released, until_equal
from stores import PLENTY, folder
from twisted.internet.defer import CancelledError, Deferred

from pyshard.errors import ShardFull, SnapshotEnded
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol import row_digests
from pyshard.protocol.batch_operations import Pop, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.row_digests import RowDigests
from pyshard.settings import settings
from pyshard.shard import range_pull, repair_plan, served_digests
from pyshard.shard.copy_check import CopyCheck
from pyshard.shard.followed_shard import FollowedShard
from pyshard.storage import ICopy, LmdbStore

#: See `conftest.TakeErrors`.
TakeErrors: TypeAlias = Callable[..., list[BaseException]]

PAIRS = [("memory", "lmdb"), ("lmdb", "memory")]
GROWING = ("lmdb with a small map", "lmdb with a small map")
BUCKETS = 64
FIRST: SlotRanges = ((MOVING[0][0], MOVING[0][0] + 600_000),)  # ten of them
MORE = [b"more %d" % number for number in range(1500)]
SPOILED = [key for key in MORE if in_ranges(slot_of(key), FIRST)][:40]
ADDITIONAL = [key for number in range(200) if in_ranges(slot_of(key := b"additional %d" % number), FIRST)]


def changed(row: Change, number: int) -> Change:
    """The row with some difference."""
    return (
        replace(row, version=0, expires=0, record=None),
        replace(row, version=row.version + 1),
        replace(row, version=row.version - 1),
        replace(row, expires=row.expires + 10**14),
        replace(row, record=b"other bytes"),
    )[number % 5]


def removal(row: Change) -> Change:
    """The row's removal."""
    return Change(row.index, row.slot, row.key, 0, 0, None)


def spoil(pulling: Pulling) -> list[Change]:
    """Have a complete copy differ: rows that are missing, too many, or have another version, expiry or record.

    :return: what makes it right again.
    """
    store, wanted = pulling.target.store, {row.key: row for row in records(pulling.source, MOVING) if not row.index}
    rows = [wanted[key] for key in SPOILED]
    more = [Change(0, slot_of(key), key, 5, 0, b"more") for key in ADDITIONAL]
    spoiled = [changed(row, number) for number, row in enumerate(rows)] + more
    sequence = store.ranges.staged["m"].origin.sequence
    pulling.target.result(store.absorb_staged("m", ChangeGroup(0, 0, 0, spoiled), sequence, PLENTY))
    return [*rows, *map(removal, more)]


def in_order(rows: list[Change]) -> list[Change]:
    """The rows by index and key."""
    return sorted(rows, key=lambda row: (row.index, row.key))


@pytest.fixture(params=PAIRS, ids=" to ".join)
def pulling(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors
) -> Iterator[Pulling]:
    """A complete copy that follows, of several pairs of stores. Few rows are fetched again at a time."""
    monkeypatch.setattr(served_digests, "settings", attrs.evolve(settings, SNAPSHOT_BYTES=600))
    monkeypatch.setattr(row_digests, "MOST_BUCKETS", BUCKETS)
    monkeypatch.setattr(repair_plan, "_MOST_ROWS", 30)
    with folder() as path:
        source, target = request.param
        made = Pulling(source, target, path)
        made.source.fill(dict.fromkeys(KEYS[:100], b"record"))
        made.source.fill(dict.fromkeys(KEYS[:100], b"page"), "pages")
        made.source.fill(dict.fromkeys(MORE, b"more"), ttl=900_000)
        made.run()
        until_equal(made)
        made.catch_up()
        made.interrupt()
        made.new_pull()
        monkeypatch.setattr(range_pull, "_PIECE", 3)
        yield made
        logged_errors()
        made.close()


def mended(pulling: Pulling) -> None:
    """The copy differed once, and was put right without being begun anew."""
    until_equal(pulling)
    verdict = pulling.pull.verdict
    assert (verdict.differed, verdict.portions, pulling.pull.progress.copies) == (1, [], 0)
    assert 5 <= verdict.refetched <= 10
    pulling.catch_up()
    check_released(pulling)
    pulling.check()


def at_each_repair(monkeypatch: pytest.MonkeyPatch, pulling: Pulling, act: Callable[[str], None]) -> list[Change]:
    """Have something done before and after each step of a repair: what was put right by then."""
    opened, read, store = FollowedShard.open_digest, FollowedShard.digest_rows, pulling.target.store
    absorb, put = store.absorb_staged, list[Change]()

    async def open_digest(source: FollowedShard, ranges: SlotRanges) -> ChangeGroup:
        if not pulling.pull.verdict.portions:
            return await opened(source, ranges)
        act("before the digest")
        head = await opened(source, ranges)
        act("after the digest")
        return head

    async def digest_rows(source: FollowedShard) -> list[Change]:
        act("before a page")
        page = await read(source)
        act("after a page")
        return page

    def absorb_staged(name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        if not (pulling.pull.verdict.portions and group.changes and group.sequence == sequence):
            return absorb(name, group, sequence, limit)
        act("before rows")
        put.extend(group.changes)
        absorbed = absorb(name, group, sequence, limit)
        act("after rows")
        return absorbed

    monkeypatch.setattr(FollowedShard, "open_digest", open_digest)
    monkeypatch.setattr(FollowedShard, "digest_rows", digest_rows)
    monkeypatch.setattr(store, "absorb_staged", absorb_staged)
    return put


def test_only_what_differs(pulling: Pulling, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]) -> None:
    """No other row is given by the source but those of the buckets that differ, and no other one is changed."""
    right, given = spoil(pulling), list[int]()
    put = at_each_repair(monkeypatch, pulling, lambda _: None)
    rows = served_digests.ServedDigests.rows

    async def counted(*arguments: Any) -> list[Change]:
        page = await rows(*arguments)
        given.append(len(page))
        return page

    monkeypatch.setattr(served_digests.ServedDigests, "rows", counted)
    pulling.run()
    mended(pulling)
    assert in_order(put) == in_order(right)
    assert max(given) < 20
    assert len(SPOILED) <= sum(given) < 150
    assert any("They are fetched again (found so 1 times)" in line for line in log_lines)
    assert any("buckets that differed were fetched again: " in line for line in log_lines)


@pytest.mark.parametrize("pulling", [*PAIRS, GROWING], ids=" to ".join, indirect=True)
@pytest.mark.parametrize("seed", range(3))
def test_writes_meanwhile(pulling: Pulling, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Rows of these buckets that change before, while and after they are fetched are as the last change left them."""
    random, steps = Random(seed), [0]

    def change(step: str) -> None:
        steps[0] += 1
        if steps[0] > 150 or ("lmdb with" in pulling.source.kind and "digest" not in step and steps[0] > 40):
            return  # a small map that grows ends all digests
        keys = random.sample(SPOILED, 5)
        pulling.source.applied(Write("", keys, [random.randbytes(9)] * 5, None, [random.choice([0, 90_000])] * 5))
        pulling.source.applied(Pop("", random.sample(SPOILED, 2)))
        pulling.change(random)

    spoil(pulling)
    at_each_repair(monkeypatch, pulling, change)
    pulling.run()
    mended(pulling)
    assert steps[0] > 20


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_lost_connections(pulling: Pulling, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    """What isn't put right yet is fetched over the next connection, also of a source that was restarted."""
    steps = [0]

    def lose(_: str) -> None:
        steps[0] += 1
        if steps[0] % (3 * cut) == 0 and steps[0] < 60:
            assert pulling.served is not None
            pulling.served.network.cut("127.0.0.1", 5050)

    right = spoil(pulling)
    put = at_each_repair(monkeypatch, pulling, lose)
    pulling.run()
    losses = 0
    for _ in range(500):
        pulling.step()
        if pulling.outcome:
            pulling.ended()
            losses += 1
            check_released(pulling)
            if losses % 2 and isinstance(pulling.source.store, LmdbStore):
                verdict = pulling.pull.verdict
                pulling.source.restart()
                pulling.serve()
                pulling.pull.verdict = verdict
            pulling.run()
        if pulling.pull.verdict.equal:
            break
    assert losses > 0
    mended(pulling)
    assert in_order(put) == in_order(right)  # what was put before isn't put again


@pytest.mark.parametrize("restart_at", [1, 2, 3, 9, 20])
def test_a_target_that_restarts(pulling: Pulling, monkeypatch: pytest.MonkeyPatch, restart_at: int) -> None:
    """Whenever its process ends, no row is wrong that wasn't before. The next process compares, and goes on."""
    steps, right = [0], spoil(pulling)

    def stop(step: str) -> None:
        steps[0] += step in {"before rows", "after rows"}
        if steps[0] == restart_at:
            raise KeyboardInterrupt

    put = at_each_repair(monkeypatch, pulling, stop)
    with monkeypatch.context() as ending:
        ending.setattr(pulling.target.store, "sweep", lambda _: None)
        ending.setattr(pulling.target, "result", lambda _: None)
        pulling.run()
        for _ in range(100):
            try:
                pulling.step()
            except KeyboardInterrupt:
                break
            if steps[0] >= restart_at:
                break
    assert steps[0] == restart_at
    assert not pulling.pull.verdict.equal
    monkeypatch.undo()
    assert pulling.running is not None
    pulling.running.cancel()
    if isinstance(pulling.target.store, LmdbStore):
        pulling.target.restart()
    wrong = set(records(pulling.source, MOVING)) ^ set(records(pulling.target, MOVING))
    assert {(row.index, row.key) for row in wrong} <= {(row.index, row.key) for row in right}
    assert pulling.target.store.ranges.staged["m"].origin.sequence > 0
    pulling.new_pull()
    assert not pulling.pull.verdict.equal
    pulling.run()
    until_equal(pulling)
    assert (pulling.pull.verdict.differed, pulling.pull.progress.copies) == (1, 0)
    assert len(put) < len(right)
    pulling.check()


def test_a_digest_that_ends(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """The view of either side may end, as when a map grows: these buckets are fetched once more."""
    fail = {"theirs": 3, "ours": 2}
    ended, compared, count = list[int](), list[int](), CopyCheck._count
    rows, slices = served_digests.ServedDigests.rows, []

    async def ending(digests: Any, *arguments: Any) -> list[Change]:
        fail["theirs"] -= 1
        if fail["theirs"] == 0:
            digests.close()
        return await rows(digests, *arguments)

    def ours(view: ICopy) -> list[Change] | None:
        slices.append(view)
        ended.append(pulling.pull.verdict.ended)
        fail["ours"] -= 1
        if fail["ours"] == 0:
            raise SnapshotEnded("the map grows")
        return view.page(1000, 20)

    async def counting(check: CopyCheck, copy: ICopy, digests: RowDigests) -> None:
        compared.append(pulling.pull.verdict.ended)
        await count(check, copy, digests)

    spoil(pulling)
    monkeypatch.setattr(served_digests.ServedDigests, "rows", ending)
    monkeypatch.setattr("pyshard.shard.bucket_repair.row_slice", ours)
    monkeypatch.setattr(CopyCheck, "_count", counting)
    pulling.run()
    mended(pulling)
    assert max(fail.values()) < 0
    assert max(ended) >= 1
    assert set(compared) == {0}  # what is fetched at last is the end of a row


def test_a_repair_that_fails(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are lost once more are found once more: it is compared as a whole again before it counts as equal."""
    spoil(pulling)
    store = pulling.target.store
    absorb, lost = store.absorb_staged, list[Change]()

    def absorb_staged(name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        if pulling.pull.verdict.portions and len(lost) < 5:
            lost.extend(group.changes)
            group = replace(group, changes=[])
        return absorb(name, group, sequence, limit)

    monkeypatch.setattr(store, "absorb_staged", absorb_staged)
    pulling.run()
    until_equal(pulling)
    assert len(lost) >= 5
    assert (pulling.pull.verdict.differed, pulling.pull.progress.copies) == (2, 0)
    pulling.check()


def test_no_room(pulling: Pulling) -> None:
    """A row that was lacking needs room, as any other one does."""
    spoil(pulling)
    pulling.limit = 100
    pulling.run()
    for _ in range(100):
        pulling.step()
        if pulling.outcome:
            break
    (found,) = pulling.outcome
    assert found.check(ShardFull)
    assert pulling.served is not None
    pulling.served.network.cut("127.0.0.1", 5050)
    pulling.step()
    check_released(pulling)
    pulling.limit = PLENTY
    pulling.run()
    mended(pulling)


def test_cancelled(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is left, and no row is put behind it."""
    spoil(pulling)
    put, pages = at_each_repair(monkeypatch, pulling, lambda _: None), list[Deferred[None]]()
    read = FollowedShard.digest_rows

    async def third_waits(source: FollowedShard) -> list[Change]:
        page = await read(source)
        pages.append(Deferred())
        if len(pages) == 3:
            await pages[-1]
        return page

    monkeypatch.setattr(FollowedShard, "digest_rows", third_waits)
    pulling.run()
    for _ in range(100):
        pulling.step()
    assert len(pages) == 3
    assert pulling.running is not None
    pulling.running.cancel()
    (found,) = pulling.outcome
    assert found.check(CancelledError)
    before = len(put)
    pulling.step()
    assert len(put) == before
    assert not pulling.pull.verdict.equal


def test_sealed_meanwhile(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seal that comes in between is reached, and nothing more is done until it is taken back."""
    sealed: list[int] = []

    def seal(step: str) -> None:
        if step == "after the digest" and not sealed:
            sealed.append(3)
            pulling.held = 3
            pulling.source.fill(dict.fromkeys(SPOILED[:3], b"last"))
            pulling.source.result(pulling.source.store.seal("m", MOVING, 3))

    spoil(pulling)
    at_each_repair(monkeypatch, pulling, seal)
    pulling.run()
    for _ in range(60):
        pulling.step()
    assert sealed
    assert pulling.sealed == 3
    assert not pulling.pull.verdict.equal
    pulling.source.result(pulling.source.store.unseal("m"))
    pulling.held = 0
    mended(pulling)
