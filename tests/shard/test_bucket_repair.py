"""Buckets of a copy that differ from the source are put right, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from shard.compared_copies import TakeErrors, check_released
from shard.pulling import MOVING, Pulling
from shard.spoiled_copies import (
    GROWING,
    PAIRS,
    SPOILED,
    at_each_repair,
    complete_copy,
    in_order,
    mended,
    spoil,
)
from stores import PLENTY

from pyshard.errors import ShardFull
from pyshard.protocol.batch_operations import Pop, Write
from pyshard.protocol.change_groups import Change
from pyshard.shard import served_digests


@pytest.fixture(params=PAIRS, ids=" to ".join)
def pulling(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors
) -> Iterator[Pulling]:
    """A complete copy that follows, of several pairs of stores."""
    source, target = request.param
    with complete_copy(source, target, monkeypatch) as made:
        yield made
        logged_errors()


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
