"""A copy is compared with its source whatever comes in between: restarts, lost connections, views that end."""

from __future__ import annotations

from typing import Any

import pytest
from shard.compared_copies import (
    FAULTS,
    TakeErrors,
    at_each_slice,
    check_released,
    compare_anew,
    never_done,
    tamper,
    until_equal,
)
from shard.pulling import KEYS, KINDS, MOVING, Pulling
from stores import folder
from twisted.internet.defer import CancelledError, Deferred

from pyshard.errors import SnapshotEnded
from pyshard.shard import copy_check, digest_slices, served_digests
from pyshard.shard.copy_check import CopyCheck
from pyshard.storage import ICopy


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

    async def ending(check: CopyCheck, *arguments: Any) -> None:
        seen.append((check._verdict.differed, check._verdict.ended))
        if ends and ends.pop(0):
            raise SnapshotEnded("the map grows")
        await count(check, *arguments)

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
