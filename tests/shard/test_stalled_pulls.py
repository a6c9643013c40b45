"""A source that answers at once, and brings nothing on, is found out; an honest one never is, however slow it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from shard.compared_copies import until_equal
from shard.pulling import INDEXES, KEYS, MOVING, Pulling
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater

from pyshard.errors import Overloaded
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.settings import settings
from pyshard.shard import range_pull, served_followers
from pyshard.shard.followed_shard import FollowedShard
from pyshard.shard.pulled_rows import refuse_odd_rows

LATER = 20.0  # seconds, for which a source goes on so


async def _same_page(source: FollowedShard) -> list[Change]:
    await deferLater(source._clock, 0.02)
    keys = [key for key in KEYS if in_ranges(slot_of(key), MOVING)]
    return [Change(0, slot_of(key), key, round(source._clock.seconds() * 1000) + 1, 0, b"record") for key in keys]


async def _row_of_no_index(source: FollowedShard) -> list[Change]:
    del source
    return [Change(7, slot_of(key), key, 1, 0, b"record") for key in KEYS if in_ranges(slot_of(key), MOVING)][:1]


async def _no_buckets(source: FollowedShard, indexes: object, counted: Callable[[int], object]) -> list[Any]:
    del indexes
    while True:
        counted(round(source._clock.seconds() * 1e6))
        await deferLater(source._clock, 0.02)


async def _digest_far_ahead(source: FollowedShard, ranges: object) -> ChangeGroup:
    del source, ranges
    return ChangeGroup(2**62, 0, 1, [], {})


async def _groups_for_ever(source: FollowedShard, after: int) -> list[ChangeGroup]:
    source.newest = after + 1_000_000
    return [ChangeGroup(after + 1, 0, 1, await _same_page(source), {})]


HOSTILE: dict[str, dict[str, Any]] = {
    "pages that repeat": {"page": _same_page},
    "rows of an index that there isn't": {"page": _row_of_no_index},
    "a digest without an end": {"digests": _no_buckets},
    "a digest that is never reached": {"open_digest": _digest_far_ahead},
    "groups without an end": {"groups": _groups_for_ever},
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_source_that_brings_nothing_on(
    pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    """All the time counts from the last thing that it brought on."""
    pulling = pulling_in_memory
    pulling.check_rows = lambda changes: refuse_odd_rows(changes, INDEXES, 2)
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    for name, lie in HOSTILE[attack].items():
        monkeypatch.setattr(FollowedShard, name, lie)
    pulling.run()
    pulling.step(2)
    before = pulling.pull.stall.seconds(pulling.clock.seconds())
    pulling.step(LATER)
    assert not pulling.outcome
    assert pulling.pull.stall.seconds(pulling.clock.seconds()) == pytest.approx(before + LATER)


def test_a_source_that_ends_each_connection(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has given nothing new by then, so what is compared first doesn't count again."""
    monkeypatch.setattr(FollowedShard, "digests", _no_buckets)
    pulling = pulling_in_memory
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.run()
    pulling.catch_up()
    stall = pulling.pull.stall
    for _ in range(10):
        pulling.interrupt()
        pulling.clock.advance(1)
        pulling.run()
        pulling.step(0.2)
    assert not pulling.pull.verdict.equal
    assert stall.seconds(pulling.clock.seconds()) > 10


def test_a_slow_source(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page, and each few rows that are compared, bring it on; when the copy is equal nothing has to."""
    monkeypatch.setattr(served_followers, "settings", attrs.evolve(settings, SNAPSHOT_BYTES=1000))
    pulling, page, most = pulling_in_memory, FollowedShard.page, 0.0

    async def slowly(source: FollowedShard) -> list[Change]:
        await deferLater(source._clock, 3)
        return await page(source)

    monkeypatch.setattr(FollowedShard, "page", slowly)
    pulling.source.fill(dict.fromkeys(KEYS, b"r" * 100))
    pulling.run()
    for _ in range(400):
        pulling.step(0.2)
        most = max(most, pulling.pull.stall.seconds(pulling.clock.seconds()))
    assert 2.5 < most < 3.5
    until_equal(pulling)
    pulling.step(30)
    assert pulling.pull.stall.seconds(pulling.clock.seconds()) < 2


def test_what_this_side_waits_for(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """While its own members lack too much, or it holds a seal, that isn't the source's fault."""
    pulling, store = pulling_in_memory, pulling_in_memory.target.store
    absorb, crowded = store.absorb_staged, [True]

    def absorb_later(name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        return fail(Overloaded("wait")) if crowded[0] else absorb(name, group, sequence, limit)

    monkeypatch.setattr(store, "absorb_staged", absorb_later)
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.run()
    pulling.step(30)
    assert pulling.pull.stall.seconds(pulling.clock.seconds()) < 1
    crowded[0] = False
    until_equal(pulling)
    pulling.source.result(pulling.source.store.seal("m", MOVING, 3))
    pulling.held = 3
    pulling.step(30)
    assert pulling.sealed == 3
    assert pulling.pull.stall.seconds(pulling.clock.seconds()) < 1


def test_what_lags_too_far_for_a_seal(pulling_in_memory: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that was found equal comes no further while each answer has more changes than a seal may leave behind."""
    pulling = pulling_in_memory
    pulling.source.fill(dict.fromkeys(KEYS, b"record"))
    pulling.run()
    until_equal(pulling)
    monkeypatch.setattr(range_pull, "BYTES_BEHIND", 0)
    for _ in range(100):
        pulling.source.fill({KEYS[0]: b"other"})
        pulling.source.fill(dict.fromkeys(KEYS, b"other"))
        pulling.step(0.02)
    assert pulling.pull.stall.seconds(pulling.clock.seconds()) > 1.5
