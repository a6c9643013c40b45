"""Copies and digests end when too much is kept for them, or when they come to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from shard.pulling import MOVING
from stores import PLENTY, Bench, at_once
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.errors import SnapshotEnded
from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_operations import Write
from pyshard.settings import settings
from pyshard.shard import store_view
from pyshard.shard.bounded_copies import WHOLE_COPY_PINS, BoundedCopy, WatchedCopies
from pyshard.shard.opening_copies import OpeningTurns
from pyshard.shard.served_digests import ServedDigests
from pyshard.shard.served_followers import ServedFollowers
from pyshard.storage import IStore, MemoryStore, Task
from pyshard.storage.follower_places import FollowedBound

_KEYS = [b"%d" % number for number in range(100)]
_USED = 100 * (1000 + 128)


def write(store: IStore, record: bytes) -> None:
    """Write all documents, some at a time."""
    for begin in range(0, len(_KEYS), 10):
        keys = _KEYS[begin : begin + 10]
        at_once(store.apply([Task(Write("", keys, [record] * 10), 0, [slot_of(key) for key in keys])], PLENTY, PLENTY))


def opened(pins: tuple[int, int] | None, follower: str | None = "m", kept: int = PLENTY) -> tuple[IStore, BoundedCopy]:
    """A store with documents of 1,000 bytes, and a copy of it.

    :param kept: bytes of changes that it keeps for followers.
    """
    store = MemoryStore("1d", Clock().seconds, bound=FollowedBound(kept, 3600.0))
    write(store, b"x" * 1000)
    copy = at_once(store.copy(follower))
    return store, BoundedCopy(copy, store, follower, pins)


def test_what_is_kept_is_bounded() -> None:
    """A copy for which more is kept than a multiple of a bound, or of what is in use, ends: nothing is kept then."""
    store, copy = opened((50_000, 1))
    write(store, b"y" * 900)  # in use are 100,000 bytes then, and as many are kept
    with pytest.raises(SnapshotEnded, match=r"keep more than 10[0-9],[0-9]{3} bytes of old documents"):
        copy.page(1000)
    assert copy.pinned == 0
    with pytest.raises(SnapshotEnded):
        copy.page(1000)


@pytest.mark.parametrize("pins", [(200_000, 1), (50_000, 2), None], ids=["the bound", "times in use", "no bound"])
def test_what_is_less_than_the_bound(pins: tuple[int, int] | None) -> None:
    """A copy for which no more is kept is read to its end, as the store was."""
    store, copy = opened(pins)
    write(store, b"y" * 900)
    records = [change.record for change in copy.page(PLENTY) or []]
    assert records == [b"x" * 1000] * len(_KEYS)
    assert copy.page(PLENTY) == []


@pytest.mark.parametrize("follower", ["m", None], ids=["a follower's", "nobody's"])
def test_changes_that_are_not_kept(follower: str | None) -> None:
    """A copy ends when its follower couldn't go on behind it. One that is for no follower doesn't."""
    store, copy = opened(None, follower, kept=20_000)
    at_once(store.copy("another"))  # so that changes are kept in any case
    assert copy.page(1000)
    write(store, b"y" * 1000)
    if follower is None:
        assert copy.page(1000)
        return
    with pytest.raises(SnapshotEnded, match="no longer kept"):
        copy.page(1000)
    assert copy.pinned == 0


@pytest.mark.parametrize("kind", ["memory", "lmdb"])
def test_all_are_bounded(kind: str, tmp_path: Path) -> None:
    """Copies for moves and replicas, digests and the target's own views are."""
    bench = Bench(kind, tmp_path)
    bench.result(bench.store.own(MOVING))
    clock = Clock()
    followers = ServedFollowers(bench.store, clock)
    digests = ServedDigests(bench.store, clock, followers._turns, lambda: "1", OpeningTurns(clock))
    bench.result(Deferred.fromCoroutine(followers.open_copy("a peer", "m", MOVING)))
    bench.result(Deferred.fromCoroutine(followers.open_whole_copy("a peer", "r")))
    bench.result(Deferred.fromCoroutine(digests.open("a peer", "m", MOVING)))
    view = bench.result(store_view.open_view(bench.store, MOVING))
    copies = [*(opened.copy for opened in followers._copies.values()), digests._open["1"].copy, view]
    of_move = settings.SNAPSHOT_PINS, settings.ADMIN_SNAPSHOT_PINS
    assert [(copy.follower, copy.pins) for copy in copies if isinstance(copy, BoundedCopy)] == [
        ("m", of_move),
        ("r", WHOLE_COPY_PINS),
        (None, of_move),
        (None, of_move),
    ]
    followers.close()
    digests.close()
    view.close()
    bench.close()


def test_those_that_nobody_reads(tmp_path: Path) -> None:
    """They end as soon as what is kept for them is too much, or of no use, and nobody looks any more then."""
    bench = Bench("memory", tmp_path)
    bench.result(bench.store.own(MOVING))
    clock = Clock()
    watched = WatchedCopies(clock)
    write(bench.store, b"x" * 1000)
    heavy = watched.watch(BoundedCopy(at_once(bench.store.copy(None)), bench.store, None, (50_000, 1)))
    vain = watched.watch(BoundedCopy(at_once(bench.store.copy("m")), bench.store, "m", None))
    light = watched.watch(BoundedCopy(at_once(bench.store.copy(None)), bench.store, None, (500_000, 1)))
    clock.advance(0.25)
    assert [copy.is_open for copy in (heavy, vain, light)] == [True] * 3
    write(bench.store, b"y" * 1000)
    bench.store.forget("m")
    clock.advance(0.25)
    assert [copy.is_open for copy in (heavy, vain, light)] == [False, False, True]
    assert [copy.pinned for copy in (heavy, vain)] == [0, 0]
    with pytest.raises(SnapshotEnded, match="bytes of old documents"):
        heavy.page(1000)
    with pytest.raises(SnapshotEnded, match="no longer kept"):
        vain.page(1000)
    light.close()
    clock.advance(0.25)
    assert clock.getDelayedCalls() == []
    bench.close()


@pytest.mark.parametrize("kind", ["copy", "whole copy", "digest"])
def test_all_are_watched(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those for moves, for replicas, and digests end though nobody reads them."""
    monkeypatch.setattr(BoundedCopy, "_why_it_ends", lambda _: "of the test")
    bench = Bench("memory", tmp_path)
    bench.result(bench.store.own(MOVING))
    clock = Clock()
    followers = ServedFollowers(bench.store, clock)
    if kind == "digest":
        bench.result(Deferred.fromCoroutine(followers.open_digest("a peer", "m", MOVING)))
        [opened] = followers._digests._open.values()
    elif kind == "copy":
        bench.result(Deferred.fromCoroutine(followers.open_copy("a peer", "m", MOVING)))
        [opened] = followers._copies.values()  # type: ignore[assignment]  # another class; both have a copy
    else:
        bench.result(Deferred.fromCoroutine(followers.open_whole_copy("a peer", "r")))
        [opened] = followers._copies.values()  # type: ignore[assignment]  # as above
    assert isinstance(opened.copy, BoundedCopy)
    clock.advance(0.25)
    assert not opened.copy.is_open
    followers.close()
    bench.close()


def test_late_copies() -> None:
    """A copy is late as long as less of it was given than goes with what is kept behind it."""
    store, copy = opened(None, "m", kept=2 * _USED)
    copy.expected = sum(change.size for change in at_once(store.copy(None, None)).page(PLENTY) or ())
    found = [copy.is_late]
    write(store, b"y" * 1000)
    assert 0.3 < store.followers.filled < 0.6
    found.append(copy.is_late)
    assert found == [False, True]
    late = list[bool]()
    while copy.page(10_000):
        late.append(copy.is_late)
    assert (late[0], late[-1], late) == (True, False, sorted(late, reverse=True))
    other = BoundedCopy(at_once(store.copy(None)), store)
    other.expected = _USED
    assert not other.is_late


@pytest.mark.parametrize("kind", ["memory", "lmdb"])
def test_late_copies_hurry(kind: str, tmp_path: Path) -> None:
    """The turns in which copies are read are shorter apart while one of them is late."""
    bench = Bench(kind, tmp_path)
    bench.result(bench.store.own(MOVING))
    followers = ServedFollowers(bench.store, Clock())
    bench.result(Deferred.fromCoroutine(followers.open_copy("a peer", "m", MOVING)))
    (opened,) = followers._copies.values()
    opened.copy.expected = 1000
    assert not followers._turns._hurried()
    bench.store.followers.filled = 0.5
    assert followers._turns._hurried()
    opened.copy.given = 800
    assert not followers._turns._hurried()
    followers.close()
    bench.close()


@pytest.mark.parametrize("kind", ["memory", "lmdb with a small map"])
def test_what_is_kept_is_told(kind: str, tmp_path: Path) -> None:
    """A store tells which part of the bound it keeps for followers, and nothing when they have all."""
    bench = Bench(kind, tmp_path)
    copy = bench.result(bench.store.copy("m"))
    record = bytes(20_000)
    filled = []
    for _ in range(2):
        for key in _KEYS:
            bench.result(bench.store.apply([Task(Write("", [key], [record]), 0, [slot_of(key)])], PLENTY, PLENTY))
        filled.append(bench.store.followers.filled * settings.FOLLOWED_LOG_BYTES)
    assert 0.8 < filled[0] / 2_000_000 < 1.3
    assert 0.8 < filled[1] / 4_000_000 < 1.3
    assert bench.store.followers.kept / settings.FOLLOWED_LOG_BYTES == pytest.approx(bench.store.followers.filled)
    copy.close()
    bench.store.follow("m", bench.store.sequence)
    for key in _KEYS:
        bench.result(bench.store.apply([Task(Write("", [key], [bytes(2000)]), 0, [slot_of(key)])], PLENTY, PLENTY))
    assert bench.store.followers.filled * settings.FOLLOWED_LOG_BYTES < 500_000
    assert bench.store.followers.kept < 500_000
    assert bench.store.followers.written > 4_000_000
    bench.close()


def test_which_part_of_a_bound_is_used() -> None:
    """That of bytes or that of seconds, whichever is more; a bound of nothing is used by the first byte."""
    bound = FollowedBound(200, 10)
    assert [bound.used(50, 0), bound.used(50, 5), bound.used(200, 5)] == [0.25, 0.5, 1]
    assert FollowedBound(0, 0).used(1, 0) >= 1
    assert FollowedBound(0, 0).used(0, 1) >= 1
