"""Buckets of a copy are put right whatever comes in between: restarts, lost connections, views that end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from shard.compared_copies import TakeErrors, check_released, until_equal
from shard.pulling import MOVING, Pulling, records
from shard.spoiled_copies import (
    PAIRS,
    at_each_repair,
    complete_copy,
    in_order,
    mended,
    spoil,
)
from twisted.internet.defer import CancelledError, Deferred

from pyshard.errors import SnapshotEnded
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.shard import served_digests
from pyshard.shard.copy_check import CopyCheck
from pyshard.shard.followed_shard import FollowedShard
from pyshard.storage import ICopy, LmdbStore


@pytest.fixture(params=PAIRS, ids=" to ".join)
def pulling(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors
) -> Iterator[Pulling]:
    """A complete copy that follows, of several pairs of stores."""
    source, target = request.param
    with complete_copy(source, target, monkeypatch) as made:
        yield made
        logged_errors()


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

    async def counting(check: CopyCheck, *arguments: Any) -> None:
        compared.append(pulling.pull.verdict.ended)
        await count(check, *arguments)

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
