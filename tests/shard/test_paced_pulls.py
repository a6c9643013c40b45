"""A pull leaves others time, whatever the source gives: questions keep a distance, large groups come in pieces."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from shard.pulling import KEYS, MOVING, Pulling
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from pyshard.errors import StorageFailed
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.change_pages import encode_changes, encode_groups
from pyshard.protocol.command_boxes import Command
from pyshard.shard import range_pull
from pyshard.shard.followed_shard import APART, FollowedShard

INSIDE = [key for key in KEYS if in_ranges(slot_of(key), MOVING)][:35]


class QuickSource:
    """A connection whose other end answers at once.

    :ivar asked: when it was asked.
    """

    def __init__(self, clock: Clock, answer: dict[str, Any]) -> None:
        self._clock = clock
        self._answer = answer
        self.asked: list[float] = []

    def call(self, command: type[Command], timeout: float, **arguments: object) -> Deferred[dict[str, Any]]:
        """See `Caller`."""
        self.asked.append(self._clock.seconds())
        return succeed(self._answer)


async def ask_for_rows(followed: FollowedShard, times: int) -> None:
    """Read a copy's pages."""
    for _ in range(times):
        await followed.page()


def page(size: int) -> dict[str, Any]:
    """An answer with a row of so many bytes."""
    return {"changes": encode_changes([Change(0, 5, b"k", 1, 0, bytes(size))])}


def test_questions_keep_a_distance() -> None:
    """Whatever brings little is asked for again only some time after it was asked for."""
    clock = Clock()
    source = QuickSource(clock, page(10))
    asking = Deferred.fromCoroutine(ask_for_rows(FollowedShard(source, "m", MOVING, clock), 10))
    clock.pump([APART / 4] * 50)
    assert asking.called
    assert all(APART * 0.99 < later - earlier < APART * 1.3 for earlier, later in pairwise(source.asked))


@pytest.mark.parametrize("answer", ["digest", "groups"])
def test_answers_that_bring_nothing_on(answer: str) -> None:
    """A digest that is never counted, and groups one by one, keep nobody busy either."""
    clock = Clock()
    groups = encode_groups([ChangeGroup(1, 0, 1, [])])
    given = {"buckets": b"", "rows": 0} if answer == "digest" else {"groups": groups[:1], "newest": 10**9, "more": True}
    source = QuickSource(clock, given)
    followed = FollowedShard(source, "m", MOVING, clock)
    asked = followed.digests([], lambda _: None) if answer == "digest" else followed.groups(0)
    asking: Deferred[Any] = Deferred.fromCoroutine(asked)
    clock.pump([APART] * 100)
    assert 90 <= len(source.asked) <= 101
    asking.addErrback(lambda _: None)
    asking.cancel()


def test_what_brings_much_is_not_held_up() -> None:
    """Its next question comes at once."""
    clock = Clock()
    source = QuickSource(clock, page(100_000))
    asking = Deferred.fromCoroutine(ask_for_rows(FollowedShard(source, "m", MOVING, clock), 10))
    assert asking.called
    assert source.asked == [0.0] * 10


def test_a_large_group_is_taken_in_pieces(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy has it only with the last piece, so one that is interrupted takes all of it again."""
    monkeypatch.setattr(range_pull, "_GROUP_PIECE", 10)
    pulling.run()
    pulling.catch_up()
    pulling.step()
    before, store, sizes = pulling.pull.progress.sequence, pulling.target.store, list[int]()
    places, absorb = list[int](), store.absorb_staged

    def absorbing(name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        sizes.append(len(group.changes))
        places.append(sequence)
        return absorb(name, group, sequence, limit) if len(sizes) < 4 else fail(StorageFailed("the disk failed"))

    monkeypatch.setattr(store, "absorb_staged", absorbing)
    pulling.source.fill(dict.fromkeys(INSIDE, b"record"))
    pulling.step()
    assert (sizes, places) == ([10, 10, 10, 5], [before] * 3 + [pulling.source.store.sequence])
    assert store.ranges.staged["m"].origin.sequence == before
    monkeypatch.setattr(store, "absorb_staged", absorb)
    pulling.run()
    pulling.catch_up()
    pulling.check()


def test_the_last_piece(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has what is left, and brings the copy to the group's number; other groups come as a whole."""
    monkeypatch.setattr(range_pull, "_GROUP_PIECE", 10)
    pulling.run()
    pulling.catch_up()
    store, taken = pulling.target.store, list[tuple[int, int]]()
    before, absorb = pulling.pull.progress.sequence, store.absorb_staged

    def absorbing(name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        taken.append((len(group.changes), sequence))
        return absorb(name, group, sequence, limit)

    monkeypatch.setattr(store, "absorb_staged", absorbing)
    for count in (35, 30, 10, 1):
        pulling.source.fill(dict.fromkeys(INSIDE[:count], b"%d" % count))
        pulling.catch_up()
        pulling.step()
        after = store.ranges.staged["m"].origin.sequence
        whole = (count - 1) // 10
        assert taken == [(10, before)] * whole + [(count - 10 * whole, after)]
        taken.clear()
        before = after
    pulling.check()


def test_groups_that_take_long_leave_turns(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have their turn between pieces, and between groups, once they have lasted for a while."""
    pulling = pulling_in_memory
    monkeypatch.setattr(range_pull, "_GROUP_PIECE", 10)
    pulling.run()
    pulling.catch_up()
    store = pulling.target.store
    absorb, turns, lasted = store.absorb_staged, [0], [list[int]()]

    def absorbing(name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        lasted[0].append(turns[0])
        pulling.clock.rightNow += 0.015
        return absorb(name, group, sequence, limit)

    def count_turns() -> None:
        turns[0] += 1
        pulling.clock.callLater(0.005, count_turns)

    monkeypatch.setattr(store, "absorb_staged", absorbing)
    pulling.source.fill(dict.fromkeys(INSIDE, b"record"))
    count_turns()
    pulling.clock.pump([0.01] * 20)
    pulling.step()
    assert len(lasted[0]) >= 4
    assert max(lasted[0].count(turn) for turn in lasted[0]) <= 2
